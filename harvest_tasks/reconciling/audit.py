"""Audits: compare tracked positions with the exchange snapshots, and write nothing."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import cast

from harvest_tasks.fills import inbox
from harvest_tasks.fills.group_position import InputProgress
from harvest_tasks.fills.inbox import TrackedBook, UnreadableBook, books_in_other_mode
from harvest_tasks.fills.stream import InputStream
from harvest_tasks.reconciling import exchange
from harvest_tasks.reconciling.comparison import Comparison, Difference, DifferenceKind, compare
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.server.clock import server_ms
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.exchange_position import ExchangeFlat, ExchangePosition, ExchangeSnapshot, UnreadableSnapshot
from harvest_tasks.wire.symbols import symbol_of


@dataclass(frozen=True, slots=True)
class AuditedBook:
    """A book as it is tracked and as the exchange reports it (None: not at all).

    `was_reported`: an earlier comparison found an exchange snapshot of it.
    """

    tracked: TrackedBook
    exchange: ExchangePosition | None
    comparison: Comparison
    was_reported: bool

    @property
    def book(self) -> str:
        return self.tracked.book


@dataclass(frozen=True, slots=True)
class Audit:
    """The audited `books`, those that were `unreadable`, and the tracked books (`known`).

    `input_progress` is read after the exchange snapshots and before the positions: by then the input stream had the
    fills that the snapshots reflect, as far as the producer had written them.
    """

    now_ms: int
    input_progress: InputProgress
    known: frozenset[str]
    books: tuple[AuditedBook, ...]
    unreadable: tuple[UnreadableBook, ...]
    has_snapshots: bool


def audit_all(client: Client, settings: Settings, *, vanished_is_flat: bool = False) -> Audit:
    """Audit every tracked book, and every book with an open or unreadable exchange snapshot.

    A tracked book without a snapshot is flat if it had one before, or in any case if `vanished_is_flat`.
    """
    known = frozenset(inbox.known_books(client))
    reported = exchange.read_all_exchange_positions(client, settings, known)
    to_audit = {book for book, found in reported.items() if isinstance(found, ExchangeSnapshot | UnreadableSnapshot)}
    return _audit(client, settings, known, known | to_audit, reported, vanished_is_flat)


def audit_books(client: Client, settings: Settings, books: Collection[str], *, vanished_is_flat: bool = False) -> Audit:
    """Audit `books` alone, tracked or not."""
    known = frozenset(inbox.known_books(client))
    reported = exchange.read_exchange_positions(client, settings, map(symbol_of, books), known)
    return _audit(client, settings, known, books, reported, vanished_is_flat)


def _audit(
    client: Client,
    settings: Settings,
    known: frozenset[str],
    books: Iterable[str],
    reported: dict[str, ExchangePosition],
    vanished_is_flat: bool,
) -> Audit:
    remembered = cast("dict[str, str]", client.hgetall(keys.COMPARED))
    progress = InputStream(client, settings).progress()
    now_ms = server_ms(client)
    books_read = inbox.read_tracked_books(client, sorted(books))
    found = [
        _audited(
            tracked, _report(reported, tracked.book, vanished_is_flat), remembered, known, settings.reconcile_tolerance
        )
        for tracked in books_read
        if isinstance(tracked, TrackedBook)
    ]
    unreadable = tuple(book for book in books_read if isinstance(book, UnreadableBook))
    return Audit(now_ms, progress, known, tuple(found), unreadable, bool(reported))


def _report(reported: Mapping[str, ExchangePosition], book: str, vanished_is_flat: bool) -> ExchangePosition | None:
    found = reported.get(book)
    return ExchangeFlat(book) if vanished_is_flat and (found is None or isinstance(found, ExchangeFlat)) else found


def _audited(
    tracked: TrackedBook,
    report: ExchangePosition | None,
    remembered: Collection[str],
    known: Collection[str],
    tolerance: Decimal,
) -> AuditedBook:
    book, position = tracked.book, tracked.position
    was_reported = book in remembered
    comparison = compare(position, report, tolerance, was_reported=was_reported)
    if (
        isinstance(comparison, Difference)
        and book not in known
        and any(other in known for other in books_in_other_mode(book))
    ):
        comparison = replace(comparison, kind=DifferenceKind.OTHER_MODE)
    return AuditedBook(tracked, report, comparison, was_reported)
