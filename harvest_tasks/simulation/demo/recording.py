"""The recording of a session: all entries sent to Harvest, and all intents, positions and counts it produced."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from harvest_tasks.fills.inbox import known_books
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.fields import Fields

_PAGE: Final = 1_000
_PUBLICATION_FIELDS: Final = frozenset(("trace_id", "timestamp", "expires_at"))
"""Fields of an intent that depend on the time; all others are the same in every run."""


@dataclass(frozen=True, slots=True)
class Recording:
    """`entries` of the input stream with their ids, JSON payloads of `intents`, and hashes of `positions` by book."""

    entries: Sequence[tuple[str, Fields]]
    intents: Sequence[str]
    positions: Mapping[str, Fields]
    counts: Mapping[str, int]

    @property
    def digest(self) -> str:
        """A hash of all intents without their times: identical runs have the same digest."""
        intents = [
            {n: value for n, value in parse_intent(each).items() if n not in _PUBLICATION_FIELDS}
            for each in self.intents
        ]
        intents.sort(key=lambda intent: str(intent["intent_id"]))
        return sha256(json.dumps(intents).encode()).hexdigest()[:16]


def parse_intent(payload: str) -> dict[str, Any]:
    """An intent from its JSON payload. Numbers stay text, so that no digit is lost."""
    intent: dict[str, Any] = json.loads(payload, parse_float=str, parse_int=str)
    return intent


def record(client: Client, settings: Settings) -> Recording:
    """Read the recording of a finished session from the server."""
    counts: Any = client.hgetall(keys.COUNTS)
    return Recording(
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
        page: Any = client.xrange(stream, min=begin, count=_PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        begin = f"({page[-1][0]}"
