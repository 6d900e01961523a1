"""What reaches a book other than through the input stream: freezes, releases and mark prices.

They enter the inbox like everything else, so that a position stays a fold over its entries.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from redis.exceptions import WatchError

from harvest_tasks.fills.router import LOST_INPUT
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.wire import inbox_entry
from kernel.positions.entry import Entry, Freeze, Release


def deliver(client: Client, entries: Mapping[str, Entry]) -> None:
    """Put one entry into the inbox of each book, in one atomic step."""
    if not entries:
        return
    with client.pipeline(transaction=True) as pipe:
        queue(pipe, entries)
        pipe.execute()


def known_books(client: Client) -> list[str]:
    """Every book that ever received a fill, in order."""
    return sorted(cast("set[str]", client.smembers(keys.BOOKS)))


def open_books(client: Client) -> list[str]:
    """Every book with an open position, in order."""
    return sorted(cast("set[str]", client.smembers(keys.OPEN)))


def freeze_all(client: Client, lost: int, why: str, now_ms: int) -> list[str]:
    """Freeze every book because `lost` input entries (0: nobody knows how many) are gone, and say `why`; books that
    appear later are frozen, too.

    Returns the frozen books. Lasts until `release_all`.
    """
    books = known_books(client)
    with client.pipeline(transaction=True) as pipe:
        pipe.hincrby(keys.LOST, "entries", lost)
        pipe.hset(keys.LOST, mapping={"since_ms": str(now_ms), "why": why})
        queue(pipe, dict.fromkeys(books, Freeze("", now_ms, f"{LOST_INPUT}: {why}")))
        pipe.execute()
    return books


def release(client: Client, book: str, now_ms: int) -> None:
    """Let `book` publish again."""
    deliver(client, {book: Release("", now_ms)})


def release_all(client: Client, now_ms: int) -> list[str]:
    """Let every book publish again, and forget that input was lost. Returns the books."""
    books = known_books(client)
    with client.pipeline(transaction=True) as pipe:
        pipe.delete(keys.LOST)
        queue(pipe, dict.fromkeys(books, Release("", now_ms)))
        pipe.execute()
    return books


def forget_books(client: Client, books: Sequence[str]) -> list[str]:
    """Track `books` no more, so that the next fill decides anew whether their symbol nets or has legs.

    Only if all of them are flat with empty inboxes; returns those that are not. Their records stay: should a book come
    back, its lifecycles count on.
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
    return bool(client.xlen(keys.inbox(book))) or client.hget(keys.position(book), "qty") not in (None, "0")


def queue(pipe: Any, entries: Mapping[str, Entry]) -> None:
    """Have the transaction `pipe` put one entry into the inbox of each book."""
    for book, entry in entries.items():
        # No MAXLEN: see route.lua.
        pipe.xadd(keys.inbox(book), {"e": inbox_entry.pack(entry)})
    if entries:
        pipe.sadd(keys.WAITING, *entries)
        pipe.hincrby(keys.COUNTS, "in", len(entries))
