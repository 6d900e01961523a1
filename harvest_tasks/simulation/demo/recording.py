"""What a session left on the server: everything that went in, and everything that Harvest made of it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from harvest_tasks.fills.inbox import known_books
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings

PAGE: Final = 1_000
OF_ITS_TIME: Final = frozenset(("trace_id", "timestamp", "expires_at"))
"""What an intent says of when it was made; all else is the same in every run."""

Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Evidence:
    """`entries` of the input stream with their ids; `intents` are payloads; `positions` are hashes by book."""

    entries: Sequence[tuple[str, Fields]]
    intents: Sequence[str]
    positions: Mapping[str, Fields]
    counts: Mapping[str, int]

    @property
    def digest(self) -> str:
        """Of all intents in the order of their ids, but for their times: two runs alike have the same."""
        told = [{n: said for n, said in read(each).items() if n not in OF_ITS_TIME} for each in self.intents]
        told.sort(key=lambda intent: str(intent["intent_id"]))
        return sha256(json.dumps(told).encode()).hexdigest()[:16]


def read(payload: str) -> dict[str, Any]:
    """An intent; its numbers are text."""
    intent: dict[str, Any] = json.loads(payload, parse_float=str, parse_int=str)
    return intent


def gather(client: Client, settings: Settings) -> Evidence:
    counts: Any = client.hgetall(keys.COUNTS)
    return Evidence(
        entries=list(_entries(client, settings.stream_execution_result)),
        intents=[fields["payload"] for _, fields in _entries(client, settings.stream_trade_intent)],
        positions={book: _position(client, book) for book in known_books(client)},
        counts={name: int(n) for name, n in counts.items()},
    )


def _position(client: Client, book: str) -> Fields:
    fields: Any = client.hgetall(keys.position(book))
    return dict(fields)


def _entries(client: Client, stream: str) -> Iterator[tuple[str, Fields]]:
    begin = "-"
    while True:
        page: Any = client.xrange(stream, min=begin, count=PAGE)
        yield from page
        if len(page) < PAGE:
            return
        begin = f"({page[-1][0]}"
