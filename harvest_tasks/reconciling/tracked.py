"""A tracked book as it stands, and entries for it that are delivered only if it still stands so.

What was concluded from a position must not reach the book after anything else has: not a release after a new freeze,
not another position after a new fill.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError, WatchError

from harvest_tasks.fills.inbox import queue
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.wire.position import from_fields
from harvest_tasks.wire.symbols import books, of_book
from kernel.positions.entry import Entry
from kernel.positions.position import Position


@dataclass(frozen=True, slots=True)
class Tracked:
    """`position` after the commit `version` (0: none yet); `waiting` entries are in the inbox."""

    position: Position
    version: int
    waiting: int

    @property
    def book(self) -> str:
        return self.position.book


@dataclass(frozen=True, slots=True)
class Failed:
    """The book cannot be read."""

    book: str
    why: str


def look(client: Client, names: Iterable[str]) -> list[Tracked | Failed]:
    """The books `names`, in order, in one round trip; one that was never seen is flat."""
    wanted = list(names)
    with client.pipeline(transaction=True) as pipe:
        for name in wanted:
            pipe.hgetall(keys.position(name))
            pipe.xlen(keys.inbox(name))
        replies = pipe.execute(raise_on_error=False)
    return [_tracked(name, *replies[i * 2 : i * 2 + 2]) for i, name in enumerate(wanted)]


def deliver(client: Client, tracked: Tracked, entries: Sequence[Entry]) -> bool:
    """Put `entries` into the inbox of the book, in one atomic step, and track it from here on; False, and nothing is
    written, if anything has happened to it since, or its symbol is tracked in the other mode.
    """
    book = tracked.book
    with client.pipeline(transaction=True) as pipe:
        pipe.watch(keys.inbox(book), keys.position(book), keys.BOOKS)
        if not _stands(pipe, tracked):
            return False
        pipe.multi()
        pipe.sadd(keys.BOOKS, book)
        for entry in entries:
            queue(pipe, {book: entry})
        try:
            pipe.execute()
        except WatchError:
            return False
    return True


def in_other_mode(book: str) -> tuple[str, ...]:
    """The books that cannot be tracked beside `book`."""
    symbol = of_book(book)
    return tuple(other for other in books(symbol) if (other == symbol) != (book == symbol))


def _stands(pipe: Any, tracked: Tracked) -> bool:
    book = tracked.book
    if pipe.xlen(keys.inbox(book)) or int(pipe.hget(keys.position(book), "version") or 0) != tracked.version:
        return False
    return not any(pipe.smismember(keys.BOOKS, in_other_mode(book)))


def _tracked(name: str, fields: Any, waiting: Any) -> Tracked | Failed:
    for reply in (fields, waiting):
        if isinstance(reply, RedisError):
            return Failed(name, str(reply))
        if isinstance(reply, Exception):
            raise reply
    try:
        return Tracked(from_fields(name, fields), int(fields.get("version", "0")), waiting)
    except ValueError as error:
        return Failed(name, str(error))
