"""One look at tracked positions beside the exchange's record of them; nothing is written."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import cast

from harvest_tasks.fills import inbox
from harvest_tasks.fills.group_position import InputProgress
from harvest_tasks.fills.inbox import TrackedBook, UnreadableBook, in_other_mode
from harvest_tasks.fills.stream import InputStream
from harvest_tasks.reconciling import exchange
from harvest_tasks.reconciling.comparison import Comparison, Difference, Kind, compare
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.server.clock import server_ms
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.exchange_position import ExchangeFlat, ExchangePosition, ExchangeSnapshot, UnreadableSnapshot
from harvest_tasks.wire.symbols import symbol_of


@dataclass(frozen=True, slots=True)
class AuditedBook:
    """A book: how it is tracked, what is on record (None: nothing), and what follows."""

    tracked: TrackedBook
    exchange: ExchangePosition | None
    comparison: Comparison
    was_reported: bool

    @property
    def book(self) -> str:
        return self.tracked.book


@dataclass(frozen=True, slots=True)
class Audit:
    """`intake` is read after the records and before the positions: what a record knew of was in the stream by then, as
    far as its producer had written it.
    """

    now_ms: int
    input: InputProgress
    known: frozenset[str]
    books: tuple[AuditedBook, ...]
    failed: tuple[UnreadableBook, ...]
    has_snapshots: bool


def audit_all(client: Client, settings: Settings, *, vanished_is_flat: bool = False) -> Audit:
    """Every tracked book, and every book of which something open or unreadable is on record.

    A tracked book whose record is gone is flat if it was seen before, or in any case if `vanished_is_flat`.
    """
    known = known_books(client)
    readings = exchange.read_all_exchange_positions(client, settings, known)
    telling = {book for book, found in readings.items() if isinstance(found, ExchangeSnapshot | UnreadableSnapshot)}
    return _audit(client, settings, known, known | telling, readings, vanished_is_flat)


def audit_books(client: Client, settings: Settings, books: Collection[str], *, vanished_is_flat: bool = False) -> Audit:
    """The same of `books` alone, tracked or not, without a search for others."""
    known = known_books(client)
    readings = exchange.read_exchange_positions(client, settings, map(symbol_of, books), known)
    return _audit(client, settings, known, books, readings, vanished_is_flat)


def known_books(client: Client) -> frozenset[str]:
    return frozenset(cast("set[str]", client.smembers(keys.BOOKS)))


def _audit(
    client: Client,
    settings: Settings,
    known: frozenset[str],
    books: Iterable[str],
    readings: dict[str, ExchangePosition],
    vanished_is_flat: bool,
) -> Audit:
    remembered = cast("dict[str, str]", client.hgetall(keys.COMPARED))
    taken_in = InputStream(client, settings).progress()
    now_ms = server_ms(client)
    looked = inbox.tracked_books(client, sorted(books))
    found = [
        _seen(tracked, _read(readings, tracked.book, vanished_is_flat), remembered, known, settings.reconcile_tolerance)
        for tracked in looked
        if isinstance(tracked, TrackedBook)
    ]
    failed = tuple(book for book in looked if isinstance(book, UnreadableBook))
    return Audit(now_ms, taken_in, known, tuple(found), failed, bool(readings))


def _read(readings: Mapping[str, ExchangePosition], book: str, vanished_is_flat: bool) -> ExchangePosition | None:
    found = readings.get(book)
    return ExchangeFlat(book) if vanished_is_flat and (found is None or isinstance(found, ExchangeFlat)) else found


def _seen(
    tracked: TrackedBook,
    read: ExchangePosition | None,
    remembered: Collection[str],
    known: Collection[str],
    tolerance: Decimal,
) -> AuditedBook:
    book, position = tracked.book, tracked.position
    was_on_record = book in remembered
    finding = compare(position, read, tolerance, was_reported=was_on_record)
    if isinstance(finding, Difference) and book not in known and any(other in known for other in in_other_mode(book)):
        finding = replace(finding, kind=Kind.OTHER_MODE)
    return AuditedBook(tracked, read, finding, was_on_record)
