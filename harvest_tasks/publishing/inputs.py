"""Everything that a cycle of proposals reads, in one round trip for all its symbols."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from harvest_tasks import keys, symbols
from harvest_tasks.connection import Client
from harvest_tasks.publishing.reading import Fields, Reply
from harvest_tasks.settings import Settings

STREAM_DEPTH = 100
"""A symbol's position is looked for in this many of the newest stream entries."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What Redis held about one symbol; an empty hash stands for a key that does not exist.

    `streamed` is the symbol's newest entry in the execution stream, `tracked` holds a hash for each book.
    """

    symbol: str
    market: Reply
    risk: Reply
    state: Reply
    tracked: Mapping[str, Reply]
    streamed: Reply


def read(client: Client, settings: Settings, names: Sequence[str]) -> list[Inputs]:
    """The inputs of all symbols, in order. Raises redis-py's errors, except those of keys of a wrong type."""
    with client.pipeline(transaction=False) as pipe:
        pipe.xrevrange(keys.STREAM_EXECUTION, count=STREAM_DEPTH)
        for name in names:
            for key in _hash_keys(settings, name):
                pipe.hgetall(key)
        replies = iter([_checked(reply) for reply in pipe.execute(raise_on_error=False)])
    newest = _Newest.of(next(replies))
    return [_inputs(name, replies, newest) for name in names]


def _hash_keys(settings: Settings, name: str) -> Iterator[str]:
    yield settings.marketstate_prefix + name
    yield settings.riskproposal_prefix + name
    yield keys.position_state(name)
    yield from map(keys.position, symbols.books(name))


def _inputs(name: str, replies: Iterator[Any], newest: "_Newest") -> Inputs:
    return Inputs(
        symbol=name,
        market=next(replies),
        risk=next(replies),
        state=next(replies),
        tracked={book: next(replies) for book in symbols.books(name)},
        streamed=newest.entry(name),
    )


def _checked(reply: Any) -> Any:
    """`reply`, which may be the error of a key of a wrong type; any other error is raised."""
    if isinstance(reply, Exception) and not str(reply).startswith("WRONGTYPE"):
        raise reply
    return reply


@dataclass(frozen=True, slots=True)
class _Newest:
    """The newest stream entry of each symbol, or why the stream cannot be read."""

    entries: Mapping[str, Fields]
    error: ResponseError | None = None

    @classmethod
    def of(cls, reply: Iterable[tuple[str, Fields]] | ResponseError) -> "_Newest":
        if isinstance(reply, ResponseError):
            return cls({}, reply)
        entries: dict[str, Fields] = {}
        for _, found in reply:
            entries.setdefault(found.get("symbol", ""), found)
        return cls(entries)

    def entry(self, name: str) -> Reply:
        return self.error or self.entries.get(name, {})
