"""What does a cycle of proposals read? All inputs of its symbols, in one round trip, or in two if some are tracked."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from harvest_tasks.proposing.skip_reason import HashReply
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client, Command, checked, is_wrong_type, pairs_to_dict, round_trip
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire import symbols
from harvest_tasks.wire.fields import Fields

STREAM_DEPTH = 100
"""A symbol's position is looked for in this many of the newest stream entries."""


class Inputs(NamedTuple):
    """What Redis held about one symbol; an empty hash stands for a key that does not exist.

    `streamed` is the symbol's newest entry in the execution stream, `tracked` holds a hash for each tracked book.
    """

    symbol: str
    market: HashReply
    risk: HashReply
    state: HashReply
    tracked: Mapping[str, HashReply]
    streamed: HashReply


def read_inputs(client: Client, settings: Settings, names: Sequence[str]) -> list[Inputs]:
    """The inputs of all symbols, in order. Raises redis-py's errors, except those of keys of a wrong type."""
    if not names:
        return []
    books = [book for name in names for book in symbols.possible_books(name)]
    prefixes = settings.marketstate_prefix, settings.riskproposal_prefix, keys.POSITION_STATE_PREFIX
    commands: list[Command] = [
        ("XREVRANGE", keys.STREAM_EXECUTION, "+", "-", "COUNT", STREAM_DEPTH),
        ("SMISMEMBER", keys.BOOKS, *books),
        *[("HGETALL", prefix + name) for name in names for prefix in prefixes],
    ]
    streamed, known, *hashes = _replies(client, commands)
    # When that set is another type of key, any book may be tracked.
    maybe_tracked = books if isinstance(known, ResponseError) else list(compress(books, known))
    newest, tracked, found = _Newest.of(streamed), _tracked(client, maybe_tracked), map(_hash, hashes)
    return [
        Inputs(name, market, risk, state, tracked.get(name, {}), newest.entry(name))
        for name, market, risk, state in zip(names, found, found, found, strict=True)
    ]


def _tracked(client: Client, books: Sequence[str]) -> dict[str, dict[str, HashReply]]:
    """The hash of each of `books`, by symbol."""
    tracked: dict[str, dict[str, HashReply]] = {}
    for book, reply in zip(books, _replies(client, [("HGETALL", keys.position(book)) for book in books]), strict=True):
        tracked.setdefault(symbols.symbol_of(book), {})[book] = _hash(reply)
    return tracked


def _replies(client: Client, commands: Sequence[Command]) -> list[Any]:
    """The replies as the server sent them, also the errors of keys of a wrong type. Raises any other error."""
    return [reply if is_wrong_type(reply) else checked(reply) for reply in round_trip(client, commands)]


def _hash(reply: Any) -> HashReply:
    return reply if isinstance(reply, ResponseError) else pairs_to_dict(reply)


@dataclass(frozen=True, slots=True)
class _Newest:
    """The newest stream entry of each symbol, or why the stream cannot be read."""

    entries: Mapping[str, Fields]
    error: ResponseError | None = None

    @classmethod
    def of(cls, reply: Iterable[tuple[str, Sequence[str]]] | ResponseError) -> "_Newest":
        if isinstance(reply, ResponseError):
            return cls({}, reply)
        entries: dict[str, Fields] = {}
        for found in (pairs_to_dict(flat) for _, flat in reply):
            entries.setdefault(found.get("symbol", ""), found)
        return cls(entries)

    def entry(self, name: str) -> HashReply:
        return self.error or self.entries.get(name, {})
