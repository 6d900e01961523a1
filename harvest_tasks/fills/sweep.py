"""The sweep: looks each second for books whose wake-up was lost, for newer mark prices, and for intents without a
reply.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, cast

from harvest_tasks.fills.brain import Brain
from harvest_tasks.fills.inbox import deliver, open_books
from harvest_tasks.fills.lease import LEASE_MS
from harvest_tasks.fills.mark_prices import read_marks
from harvest_tasks.logs import Line
from harvest_tasks.messaging.wakeups import wake
from harvest_tasks.server import keys, liveness
from harvest_tasks.server.client import Client, paced_round_trips
from harvest_tasks.server.clock import server_ms
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.position import TIME_FIELDS, PositionTimes, read_times
from harvest_tasks.wire.symbols import symbol_of
from kernel.positions.entry import Freeze, Mark, Overdue
from kernel.positions.guards import is_fresh
from kernel.positions.mark import FUTURE_TOLERANCE_MS

log = logging.getLogger(__name__)

LOST_INBOX: Final = "lost_inbox"
SWEEP_FOR_SEC: Final = 0.8
"""Less than the second until the next sweep; books that are left then get a wake-up."""


@dataclass(frozen=True, slots=True)
class OpenBook:
    """What the sweep needs to know of an open book, in unix ms: the time of its mark (0: none), and when the oldest
    intent was published that has no reply and is not reported as overdue (None: there is none).
    """

    book: str
    mark_ms: int
    unanswered_ms: int | None


def evaluate(client: Client, settings: Settings, brain: Brain) -> None:
    """Bring fresh marks to open positions, and have `brain` process them and every other book that waits."""
    summary = sweep(client, settings)
    waiting = waiting_books(client)
    unblock(client, sorted(waiting), settings.harvest_lock_ttl_sec * 1000)
    tally, unfinished = brain.process(sorted(waiting | held_books(client)), monotonic() + SWEEP_FOR_SEC)
    wake(unfinished)
    sums = {liveness.SWEPT_PREFIX + name: n for name, n in summary.items() if n}
    liveness.record_sign(client, liveness.SWEPT_MS, server_ms(client), sums)
    liveness.count_failed(client, tally["failed"])
    summary.update({_reported_name(name): n for name, n in tally.items() if n})
    if summary:
        log.debug(Line("evaluated", **dict(sorted(summary.items()))))


def sweep(client: Client, settings: Settings) -> Counter[str]:
    """Put newer marks and overdue intents into the inboxes of open books. Returns how many were scanned, by result."""
    books = read_open(client)
    if not books:
        return Counter()
    now_ms = server_ms(client)
    # A book that waits is processed next anyway; one that cannot be processed must not pile up entries.
    waiting = waiting_books(client)
    deliver_overdue(
        client, [b for b in books if b.book not in waiting], now_ms, settings.harvest_intent_timeout_sec * 1000
    )
    marks = read_marks(client, sorted({symbol_of(book.book) for book in books}), now_ms)
    newer, summary = newer_marks(books, marks, now_ms, settings.harvest_require_fresh_snapshot_sec * 1000)
    deliver(client, {book: mark for book, mark in newer.items() if book not in waiting})
    return summary


def newer_marks(
    books: Sequence[OpenBook], marks: Mapping[str, Mark | str], now_ms: int, fresh_ms: int
) -> tuple[dict[str, Mark], Counter[str]]:
    """The marks to deliver, by book, and the counts of books scanned, evaluated, or left out, by reason."""
    newer: dict[str, Mark] = {}
    summary = Counter(scanned=len(books))
    for book in books:
        mark = marks[symbol_of(book.book)]
        # A mark from the future loses to any mark that arrives before its time.
        known_ms = book.mark_ms if book.mark_ms <= now_ms + FUTURE_TOLERANCE_MS else 0
        if isinstance(mark, Mark) and mark.time_ms > known_ms and is_fresh(mark.time_ms, now_ms, fresh_ms):
            newer[book.book] = mark
            summary["evaluated"] += 1
        elif is_fresh(book.mark_ms, now_ms, fresh_ms):
            # A fresh mark came by the input stream, and was evaluated then.
            summary["current"] += 1
        else:
            summary["stale" if isinstance(mark, Mark) else f"mark_{mark}"] += 1
    return newer, summary


def deliver_overdue(client: Client, books: Sequence[OpenBook], now_ms: int, timeout_ms: int) -> None:
    """Deliver `Overdue` to the books with an intent that had no reply for `timeout_ms`."""
    limit = now_ms - timeout_ms
    late = [book.book for book in books if book.unanswered_ms is not None and book.unanswered_ms <= limit]
    deliver(client, dict.fromkeys(late, Overdue("", now_ms, limit)))


def unblock(client: Client, books: Sequence[str], lock_ms: int) -> None:
    """Shorten the lease and the locks of `books` that would last longer than new ones, as they do after the clock was
    set back. Freeze those of `books` whose inbox was deleted.
    """
    with client.pipeline(transaction=False) as pipe:
        pipe.pexpire(keys.LEASE, LEASE_MS, lt=True)
        for book in books:
            pipe.pexpire(keys.lock(book), lock_ms, lt=True)
            pipe.xlen(keys.inbox(book))
        _, *replies = pipe.execute(raise_on_error=False)
    empty = [book for book, length in zip(books, replies[1::2], strict=True) if length == 0]
    if empty:
        freeze = Freeze("", server_ms(client), LOST_INBOX)
        deliver(client, dict.fromkeys(_without_inbox(client, empty), freeze))


def _without_inbox(client: Client, books: Sequence[str]) -> list[str]:
    """Those of `books` that wait with an empty inbox: a commit that empties an inbox also ends the waiting."""
    with client.pipeline(transaction=True) as pipe:
        for book in books:
            pipe.sismember(keys.WAITING, book)
            pipe.xlen(keys.inbox(book))
        replies = pipe.execute()
    rows = zip(books, replies[::2], replies[1::2], strict=True)
    return [book for book, waits, length in rows if waits and not length]


def waiting_books(client: Client) -> set[str]:
    """Books with entries in the inbox: marks of this sweep, or entries whose wake-up was lost or is on its way."""
    return cast("set[str]", client.smembers(keys.WAITING))


def held_books(client: Client) -> set[str]:
    """Books with a due intent that a guard held back and may allow by now; only those whose mark is still fresh."""
    now_ms = server_ms(client)
    client.zremrangebyscore(keys.HELD, "-inf", f"({now_ms}")
    return set(cast("list[str]", client.zrange(keys.HELD, 0, -1)))


def read_open(client: Client) -> list[OpenBook]:
    """Every open book, in order, in one round trip."""
    books = open_books(client)
    replies = paced_round_trips(client, [("HMGET", keys.position(book), *TIME_FIELDS) for book in books])
    return [_open_book(book, reply) for book, reply in zip(books, replies, strict=True)]


def _open_book(book: str, reply: Any) -> OpenBook:
    """`book` from its fields; if they cannot be read, a book without a mark: the brain reports the problem."""
    times = PositionTimes(None, None) if isinstance(reply, Exception) else read_times(reply)
    return OpenBook(book, times.mark_ms or 0, times.unanswered_ms)


def _reported_name(name: str) -> str:
    return "published" if name == "intents" else name
