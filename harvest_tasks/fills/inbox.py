"""The tracked books, and the entries that reach them past the input stream: freezes, releases, adoptions, mark prices.

These pass through the inbox, too, so that a position stays a fold over its entries.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis.exceptions import RedisError, WatchError

from harvest_tasks.server import keys
from harvest_tasks.server.client import Client, checked
from harvest_tasks.wire import inbox_entry, symbols
from harvest_tasks.wire.inbox_entry import LOST_INPUT
from harvest_tasks.wire.position import QTY_FIELD, VERSION_FIELD, is_open_qty, read_ledger_counts, read_position
from kernel.positions.entry import Entry, Freeze, Release
from kernel.positions.position import Position


@dataclass(frozen=True, slots=True)
class TrackedBook:
    """A book: its `position` after the commit `version` (0: none yet), and `waiting` entries in its inbox."""

    position: Position
    version: int
    waiting: int

    @property
    def book(self) -> str:
        return self.position.book


@dataclass(frozen=True, slots=True)
class UnreadableBook:
    """A tracked book that cannot be read."""

    book: str
    why: str


def deliver(client: Client, entries: Mapping[str, Entry]) -> None:
    """Put one entry into the inbox of each book, in one atomic step."""
    if not entries:
        return
    with client.pipeline(transaction=True) as pipe:
        queue_entries(pipe, entries)
        pipe.execute()


def known_books(client: Client) -> list[str]:
    """Every book that ever received a fill, in order."""
    return sorted(cast("set[str]", client.smembers(keys.BOOKS)))


def open_books(client: Client) -> list[str]:
    """Every book with an open position, in order."""
    return sorted(cast("set[str]", client.smembers(keys.OPEN)))


def freeze_all(client: Client, lost: int, why: str, now_ms: int) -> list[str]:
    """Freeze every book because `lost` input entries (0: their number is not known) are gone, for the reason `why`.

    Books that appear later are frozen, too, until `release_all`. Returns the frozen books.
    """
    books = known_books(client)
    with client.pipeline(transaction=True) as pipe:
        pipe.hincrby(keys.LOST, "entries", lost)
        pipe.hset(keys.LOST, mapping={"since_ms": str(now_ms), "why": why})
        queue_entries(pipe, dict.fromkeys(books, Freeze("", now_ms, f"{LOST_INPUT}: {why}")))
        pipe.execute()
    return books


def release(client: Client, book: str, now_ms: int) -> None:
    """End the freeze of `book`: it may publish again."""
    deliver(client, {book: Release("", now_ms)})


def release_all(client: Client, now_ms: int) -> list[str]:
    """End the freeze of every book, and forget that input was lost. Returns the books."""
    books = known_books(client)
    with client.pipeline(transaction=True) as pipe:
        pipe.delete(keys.LOST)
        queue_entries(pipe, dict.fromkeys(books, Release("", now_ms)))
        pipe.execute()
    return books


def forget_books(client: Client, books: Sequence[str]) -> list[str]:
    """Stop tracking `books`, so that the next fill decides again whether their symbol nets or has legs.

    Returns the books that are open or have entries in their inbox; if there are any, nothing is forgotten. Positions
    stay in Redis: a book that comes back goes on with the numbers of its lifecycles.
    """
    names = [key for book in books for key in (keys.position(book), keys.inbox(book))]
    with client.pipeline(transaction=True) as pipe:
        while True:
            try:
                pipe.watch(*names)
                busy = [book for book in books if _is_busy(pipe, book)]
                pipe.multi()
                if not busy:
                    pipe.srem(keys.BOOKS, *books)
                pipe.execute()
            except WatchError:
                continue
            return busy


def _is_busy(client: Any, book: str) -> bool:
    return bool(client.xlen(keys.inbox(book))) or is_open_qty(client.hget(keys.position(book), QTY_FIELD))


def queue_entries(pipe: Any, entries: Mapping[str, Entry]) -> None:
    """Queue in the transaction `pipe`: one entry into the inbox of each book."""
    for book, entry in entries.items():
        # No MAXLEN: see route.lua.
        pipe.xadd(keys.inbox(book), {"e": inbox_entry.pack(entry)})
    if entries:
        pipe.sadd(keys.WAITING, *entries)
        pipe.hincrby(keys.COUNTS, "in", len(entries))


def read_tracked_books(client: Client, names: Iterable[str]) -> list[TrackedBook | UnreadableBook]:
    """The books `names`, in order, in one round trip; a book that never had an entry is flat."""
    wanted = list(names)
    with client.pipeline(transaction=True) as pipe:
        for name in wanted:
            pipe.hgetall(keys.position(name))
            pipe.xlen(keys.inbox(name))
        replies = pipe.execute(raise_on_error=False)
    return [_tracked(name, *replies[i * 2 : i * 2 + 2]) for i, name in enumerate(wanted)]


def deliver_if_unchanged(client: Client, tracked: TrackedBook, entries: Sequence[Entry]) -> bool:
    """Put `entries` into the inbox of the book, in one atomic step, and track it from here on.

    Returns False and writes nothing if the book has changed since it was read, or if its symbol is tracked in the other
    mode. Otherwise an entry could follow a position that it was not made for: a release, for example, a new freeze.
    """
    book = tracked.book
    with client.pipeline(transaction=True) as pipe:
        pipe.watch(keys.inbox(book), keys.position(book), keys.BOOKS)
        if not _is_unchanged(pipe, tracked):
            return False
        pipe.multi()
        pipe.sadd(keys.BOOKS, book)
        for entry in entries:
            queue_entries(pipe, {book: entry})
        try:
            pipe.execute()
        except WatchError:
            return False
    return True


def books_in_other_mode(book: str) -> tuple[str, ...]:
    """The books of the same symbol in the other position mode, which cannot be tracked beside `book`."""
    symbol = symbols.symbol_of(book)
    return tuple(other for other in symbols.possible_books(symbol) if (other == symbol) != (book == symbol))


def _is_unchanged(pipe: Any, tracked: TrackedBook) -> bool:
    book = tracked.book
    if pipe.xlen(keys.inbox(book)) or int(pipe.hget(keys.position(book), VERSION_FIELD) or 0) != tracked.version:
        return False
    return not any(pipe.smismember(keys.BOOKS, books_in_other_mode(book)))


def _tracked(name: str, fields: Any, waiting: Any) -> TrackedBook | UnreadableBook:
    for reply in (fields, waiting):
        if isinstance(reply, RedisError):
            return UnreadableBook(name, str(reply))
        checked(reply)
    try:
        return TrackedBook(read_position(name, fields), read_ledger_counts(fields).version, waiting)
    except ValueError as error:
        return UnreadableBook(name, str(error))
