"""Tracked books: positions and their R, guards and freezes that block them, open intents, and inboxes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import Metric

from harvest_tasks.metrics.families import MAX_SERIES, NEVER, gauge, gauges, leading_word
from harvest_tasks.metrics.replies import Replies
from harvest_tasks.server import keys
from harvest_tasks.server.client import Command
from harvest_tasks.server.streams import time_ms
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.position import FIGURE_FIELDS, PositionFigures, UnreadablePosition, read_figures
from kernel.positions.guards import Refusal
from kernel.positions.holding import Holding
from kernel.positions.ladder_state import Reservation
from kernel.positions.r_multiple import in_r, profit_per_unit

COMPARISON_RESULTS: Final = ("agreed", "differ", "unknown", "unreadable")


@dataclass(frozen=True, slots=True)
class BookFigures:
    """A book in floats. `qty` is signed, `mark_ms` is None without a mark, `held` has a reason per held action."""

    book: str
    qty: float
    r: float
    mark_ms: int | None
    held: Sequence[str]
    frozen: str
    reserved: Sequence[Reservation]


def commands() -> dict[str, Command]:
    return {
        "known": ("SMEMBERS", keys.BOOKS),
        "open": ("SMEMBERS", keys.OPEN),
        "waiting": ("SMEMBERS", keys.WAITING),
        "compared": ("HGETALL", keys.COMPARED),
    }


def more_commands(replies: Replies) -> dict[str, Command]:
    """Commands for the position of each book, and for the inbox of each book with waiting entries."""
    known, waiting = (sorted(replies.get(name, ())) for name in ("known", "waiting"))
    return {
        **{_position_name(book): ("HMGET", keys.position(book), *FIGURE_FIELDS) for book in known},
        **{_inbox_length_name(book): ("XLEN", keys.inbox(book)) for book in waiting},
        **{_inbox_head_name(book): ("XRANGE", keys.inbox(book), "-", "+", "COUNT", 1) for book in waiting},
    }


def families(replies: Replies, more: Replies, settings: Settings, now_ms: int) -> Iterator[Metric]:
    known = sorted(replies.get("known", ()))
    found = [_figures(book, more.get(_position_name(book)), settings) for book in known]
    books = [figures for figures in found if figures is not None]
    positions = sorted((b for b in books if b.qty), key=lambda b: (-abs(b.r), b.book))
    yield _states(replies, books, len(known) - len(books))
    yield from _positions(positions, now_ms)
    yield from _blocked(books)
    yield from _intents(books, now_ms)
    yield from _inboxes(replies, more, now_ms)
    yield _comparison(replies)


def _figures(book: str, fields: Sequence[str | None] | None, settings: Settings) -> BookFigures | None:
    """The figures of a position hash; None if it is unreadable."""
    if fields is None:
        return None
    try:
        read = read_figures(book, fields)
        r = _r(read, settings)
    except (UnreadablePosition, ArithmeticError):
        return None
    return BookFigures(book, float(read.qty), r, read.mark_ms, read.held, read.frozen, read.reservations)


def _r(read: PositionFigures, settings: Settings) -> float:
    if not read.qty or read.mark is None:
        return 0.0
    holding = Holding(read.qty, read.avg_entry, risk_per_unit=read.risk_per_unit)
    return float(in_r(profit_per_unit(holding, read.mark, settings.harvest_cost_bps), holding))


def _states(replies: Replies, books: Sequence[BookFigures], unreadable: int) -> Metric:
    counts = {
        "known": len(replies.get("known", ())),
        "open": len(replies.get("open", ())),
        "waiting": len(replies.get("waiting", ())),
        "held": sum(bool(book.held) and bool(book.qty) for book in books),
        "frozen": sum(bool(book.frozen) for book in books),
        "unreadable": unreadable,
    }
    return gauges(
        "books",
        "Books by state; a book may be in several. held: a guard holds back a due intent. frozen: publishes nothing "
        "until harvest release BOOK. unreadable: its position hash was not written by Harvest.",
        ("state",),
        {(state,): count for state, count in counts.items()},
    )


def _positions(positions: Sequence[BookFigures], now_ms: int) -> Iterator[Metric]:
    shown = positions[:MAX_SERIES]
    yield gauges(
        "position_r",
        "R multiple of the position at its mark price, net of costs.",
        ("book",),
        {(b.book,): b.r for b in shown},
    )
    yield gauges(
        "position_quantity",
        "Position size in base currency; negative for a short.",
        ("book",),
        {(b.book,): b.qty for b in shown},
    )
    yield gauges(
        "position_mark_age_seconds",
        "Age of the mark price. Nothing is published at a stale price: check the price feed.",
        ("book",),
        {(b.book,): NEVER if b.mark_ms is None else max(0, now_ms - b.mark_ms) / 1000 for b in shown},
    )
    yield gauge(
        "positions_left_out",
        f"Open positions without their own series: only the {MAX_SERIES} with the largest absolute R have one.",
        len(positions) - len(shown),
    )


def _blocked(books: Sequence[BookFigures]) -> Iterator[Metric]:
    frozen = sorted((book for book in books if book.frozen), key=lambda b: (not b.qty, b.book))[:MAX_SERIES]
    yield gauges(
        "book_frozen",
        "1 for each frozen book, by cause: see harvest explain BOOK, harvest reconcile, harvest release.",
        ("book", "cause"),
        {(book.book, leading_word(book.frozen)): 1.0 for book in frozen},
    )
    held = Counter(reason for book in books if book.qty for reason in book.held)
    yield gauges(
        "held_back_actions",
        "Due harvests and stop moves that a guard holds back now, by reason: see harvest explain BOOK.",
        ("reason",),
        {(reason.value,): float(held[reason.value]) for reason in Refusal},
    )


def _intents(books: Sequence[BookFigures], now_ms: int) -> Iterator[Metric]:
    reserved = [reservation for book in books for reservation in book.reserved]
    yield gauge("intents_open", "Live intents that are not filled, rejected, canceled or expired yet.", len(reserved))
    yield gauge(
        "intents_unanswered",
        "Open intents without a reply for HARVEST_INTENT_TIMEOUT_SEC: check the executor.",
        sum(reservation.overdue for reservation in reserved),
    )
    yield gauge(
        "intents_oldest_open_seconds",
        "Age of the oldest open intent, from the price that made it due; 0 if there is none.",
        max((now_ms - reservation.placed_ms for reservation in reserved), default=0) / 1000,
    )


def _inboxes(replies: Replies, more: Replies, now_ms: int) -> Iterator[Metric]:
    waiting = replies.get("waiting", ())
    first = [entries[0][0] for book in waiting if (entries := more.get(_inbox_head_name(book)))]
    yield gauge(
        "inbox_entries",
        "Entries in inboxes, not applied yet. If this grows, check that a worker consumes the queue fills.",
        sum(more.get(_inbox_length_name(book), 0) for book in waiting),
    )
    yield gauge(
        "inbox_oldest_seconds",
        "Age of the oldest entry in an inbox; 0 if there is none.",
        max((now_ms - time_ms(entry_id) for entry_id in first), default=0) / 1000,
    )


def _comparison(replies: Replies) -> Metric:
    kinds = Counter(leading_word(text.partition(" ")[2]) for text in replies.get("compared", {}).values())
    return gauges(
        "reconciled_books",
        "Open books by the result of the last comparison with the exchange's record: see harvest reconcile.",
        ("result",),
        {(kind,): float(kinds[kind]) for kind in COMPARISON_RESULTS},
    )


def _position_name(book: str) -> str:
    return f"position {book}"


def _inbox_length_name(book: str) -> str:
    return f"inbox length {book}"


def _inbox_head_name(book: str) -> str:
    return f"inbox head {book}"
