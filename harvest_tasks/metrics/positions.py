"""Tracked books: positions and their R, what holds them back, and what waits for them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import Metric

from harvest_tasks.metrics.families import gauge, gauges, word
from harvest_tasks.metrics.replies import Command, Replies
from harvest_tasks.server import keys
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.position import reservations
from kernel.positions.guards import Refusal
from kernel.positions.ladder_state import Reservation

MOST: Final = 500
"""Books with series of their own, those furthest from their entry first."""
FIELDS: Final = ("qty", "avg_entry", "risk_per_unit", "mark", "mark_ms", "held", "frozen", "reservations")
COMPARED: Final = ("agreed", "differ", "unknown", "unreadable")
BASIS_POINT: Final = 0.0001
NEVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Figures:
    """A book in floats: `qty` is signed, `mark_ms` None without a mark, `held` why what is due is held back."""

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
    """For each book its record, and for those that wait their inbox."""
    known, waiting = (sorted(replies.get(name, ())) for name in ("known", "waiting"))
    return {
        **{_record(book): ("HMGET", keys.position(book), *FIELDS) for book in known},
        **{_length(book): ("XLEN", keys.inbox(book)) for book in waiting},
        **{_oldest(book): ("XRANGE", keys.inbox(book), "-", "+", "COUNT", 1) for book in waiting},
    }


def families(replies: Replies, more: Replies, settings: Settings, now_ms: int) -> Iterator[Metric]:
    known = sorted(replies.get("known", ()))
    found = [_figures(book, more.get(_record(book)), settings) for book in known]
    books = [figures for figures in found if figures is not None]
    positions = sorted((b for b in books if b.qty), key=lambda b: (-abs(b.r), b.book))
    yield _states(replies, books, len(known) - len(books))
    yield from _positions(positions, now_ms)
    yield from _obstacles(books)
    yield from _intents(books, now_ms)
    yield from _inboxes(replies, more, now_ms)
    yield _comparison(replies)


def _figures(book: str, fields: Sequence[str | None] | None, settings: Settings) -> Figures | None:
    """None if the record is not one that the ledger wrote."""
    if fields is None:
        return None
    if not any(fields):
        return Figures(book, 0.0, 0.0, None, (), "", ())
    qty, entry, risk, mark, mark_ms, held, frozen, reserved = (text or "" for text in fields)
    try:
        held_qty = float(qty)
        return Figures(
            book,
            held_qty,
            _r(held_qty, float(entry), float(risk), float(mark), settings) if held_qty and mark else 0.0,
            int(mark_ms) if mark_ms else None,
            tuple(pair.rpartition("=")[2] for pair in held.split(",") if pair),
            frozen,
            reservations(reserved),
        )
    except (ValueError, TypeError, ArithmeticError):
        return None


def _r(qty: float, entry: float, risk: float, mark: float, settings: Settings) -> float:
    """As `kernel.positions.r_multiple` has it, in floats."""
    cost = entry * float(settings.harvest_cost_bps) * BASIS_POINT
    return ((mark - entry) * (1 if qty > 0 else -1) - cost) / risk


def _states(replies: Replies, books: Sequence[Figures], unreadable: int) -> Metric:
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
        "Books by state, some in several: held ones have a due intent that a guard holds back; frozen ones publish "
        "nothing until harvest release BOOK; unreadable ones have a record that Harvest did not write.",
        ("state",),
        {(state,): count for state, count in counts.items()},
    )


def _positions(positions: Sequence[Figures], now_ms: int) -> Iterator[Metric]:
    shown = positions[:MOST]
    yield gauges(
        "position_r",
        "R multiple of the position at its mark, net of costs.",
        ("book",),
        {(b.book,): b.r for b in shown},
    )
    yield gauges(
        "position_quantity",
        "Quantity held, in base currency; negative for a short.",
        ("book",),
        {(b.book,): b.qty for b in shown},
    )
    yield gauges(
        "position_mark_age_seconds",
        "Age of the newest price; too old, nothing is published. Does the price feed write?",
        ("book",),
        {(b.book,): NEVER if b.mark_ms is None else max(0, now_ms - b.mark_ms) / 1000 for b in shown},
    )
    yield gauge(
        "positions_left_out",
        f"Open positions beyond the {MOST} shown, which have the largest R.",
        len(positions) - len(shown),
    )


def _obstacles(books: Sequence[Figures]) -> Iterator[Metric]:
    frozen = sorted((book for book in books if book.frozen), key=lambda b: (not b.qty, b.book))[:MOST]
    yield gauges(
        "book_frozen",
        "1 for each frozen book, and what froze it: see harvest explain BOOK, harvest reconcile, harvest release.",
        ("book", "cause"),
        {(book.book, word(book.frozen)): 1.0 for book in frozen},
    )
    held = Counter(reason for book in books if book.qty for reason in book.held)
    yield gauges(
        "held_back_actions",
        "Due harvests and stop moves that a guard holds back now, by its reason: see harvest explain BOOK.",
        ("reason",),
        {(reason.value,): float(held[reason.value]) for reason in Refusal},
    )


def _intents(books: Sequence[Figures], now_ms: int) -> Iterator[Metric]:
    reserved = [reservation for book in books for reservation in book.reserved]
    yield gauge("intents_open", "Live intents that are not filled, rejected or ended yet.", len(reserved))
    yield gauge(
        "intents_unanswered",
        "Of those, the ones that were unanswered for HARVEST_INTENT_TIMEOUT_SEC: does the executor run?",
        sum(reservation.overdue for reservation in reserved),
    )
    yield gauge(
        "intents_oldest_open_seconds",
        "Time since the price that the oldest of them was published for; 0 without one.",
        max((now_ms - reservation.placed_ms for reservation in reserved), default=0) / 1000,
    )


def _inboxes(replies: Replies, more: Replies, now_ms: int) -> Iterator[Metric]:
    waiting = replies.get("waiting", ())
    first = [entries[0][0] for book in waiting if (entries := more.get(_oldest(book)))]
    yield gauge(
        "inbox_entries",
        "Entries in the inboxes of books, which no worker has applied yet. If it grows: is the queue fills consumed?",
        sum(more.get(_length(book), 0) for book in waiting),
    )
    yield gauge(
        "inbox_oldest_seconds",
        "Age of the oldest of them; 0 without one.",
        max((now_ms - int(entry_id.partition("-")[0]) for entry_id in first), default=0) / 1000,
    )


def _comparison(replies: Replies) -> Metric:
    kinds = Counter(word(text.partition(" ")[2]) for text in replies.get("compared", {}).values())
    return gauges(
        "reconciled_books",
        "Open books by what the newest comparison with the exchange's record found: see harvest reconcile.",
        ("result",),
        {(kind,): float(kinds[kind]) for kind in COMPARED},
    )


def _record(book: str) -> str:
    return f"position {book}"


def _length(book: str) -> str:
    return f"inbox length {book}"


def _oldest(book: str) -> str:
    return f"inbox head {book}"
