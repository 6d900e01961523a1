"""A Redis stream read from its newest entry backwards."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from harvest_tasks.server.client import Client

PAGE: Final = 1_000
SEARCHED: Final = 20_000
"""A search covers this many of the newest entries: a stream may hold millions."""

StreamEntry = tuple[str, Mapping[str, str]]


def newest_first(client: Client, stream: str) -> Iterator[StreamEntry]:
    """The newest `SEARCHED` entries; what is added after the first one was read does not appear."""
    return islice(_backwards(client, stream), SEARCHED)


def time_ms(entry_id: str) -> int:
    """Unix ms at which the entry was added."""
    return int(entry_id.partition("-")[0])


def _backwards(client: Client, stream: str) -> Iterator[StreamEntry]:
    end = "+"
    while True:
        page: Any = client.xrevrange(stream, max=end, count=PAGE)
        yield from page
        if len(page) < PAGE:
            return
        end = f"({page[-1][0]}"
