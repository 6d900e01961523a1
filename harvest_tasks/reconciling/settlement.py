"""Settlement: an operator compares the tracked positions with the exchange's, and adopts or releases them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from time import monotonic, sleep
from typing import Final, cast

from redis.exceptions import WatchError

from harvest_tasks.fills import inbox
from harvest_tasks.reconciling import audit as audits
from harvest_tasks.reconciling.adoption import adopt_entry
from harvest_tasks.reconciling.audit import Audit, AuditedBook
from harvest_tasks.reconciling.comparison import Agreement, Difference, DifferenceKind, NotReported
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.exchange_position import ExchangeSnapshot, OtherLegOnly, UnreadableSnapshot
from harvest_tasks.wire.symbols import symbol_of
from kernel.positions.entry import Entry, Release

INPUT_PATIENCE_SEC: Final = 3.0
"""How long to wait for workers that are applying the newest input."""
_PAUSE_SEC: Final = 0.1


class UnreadInput(Exception):
    """The input stream has entries that no worker has read: they may explain every difference."""


@dataclass(frozen=True, slots=True)
class ComparedRow:
    """A compared book. Quantities are signed (long > 0, base currency), prices are mean entries; None: not known.

    `result` is `agrees`, `differs`, `unknown` (open, and the exchange does not report it) or `unreadable`; `why` says
    more.
    """

    book: str
    result: str
    tracked: Decimal | None
    exchange: Decimal | None
    difference: Decimal | None
    entry: Decimal | None
    exchange_entry: Decimal | None
    why: str
    frozen: str
    waiting: int


@dataclass(frozen=True, slots=True)
class SettledBook:
    """What became of a book: `done` is `adopted`, `released` or `refused`, which `why` explains."""

    book: str
    done: str
    tracked: Decimal | None
    exchange: Decimal | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of each book. `forgot_loss`: every book is right now, so the record of lost input was deleted."""

    settled: Sequence[SettledBook]
    forgot_loss: bool


def comparison_rows(audit: Audit) -> list[ComparedRow]:
    """All books of `audit`, in order."""
    failed = [
        ComparedRow(book.book, "unreadable", None, None, None, None, None, book.why, "", 0) for book in audit.unreadable
    ]
    return sorted([*map(_row, audit.books), *failed], key=lambda row: row.book)


def is_named(book: str, names: Collection[str]) -> bool:
    """Whether `names` contain `book` or its symbol; no names stand for all books."""
    return not names or book in names or symbol_of(book) in names


def settle(client: Client, settings: Settings, names: Collection[str]) -> Settlement:
    """Adopt the exchange positions of the books `names` (none: all), and release the books that are right.

    Raises `UnreadInput`.
    """
    lost = client.hgetall(keys.LOST)
    audit = _audit_of_all_input(client, settings)
    settled = [_settled(client, audited, audit.now_ms) for audited in audit.books if is_named(audited.book, names)]
    settled += [SettledBook(book.book, "refused", None, None, book.why) for book in audit.unreadable]
    results = {result.book: result for result in settled if result is not None and is_named(result.book, names)}
    is_right = not audit.unreadable and all(_is_right(audited, results.get(audited.book)) for audited in audit.books)
    return Settlement(list(results.values()), is_right and _forget(client, cast("dict[str, str]", lost)))


def _row(audited: AuditedBook) -> ComparedRow:
    position = audited.tracked.position
    result, exchange, difference, why = _result(audited)
    return ComparedRow(
        book=audited.book,
        result=result,
        tracked=position.holding.qty,
        exchange=exchange,
        difference=difference,
        entry=position.holding.avg_entry if position.is_open else None,
        exchange_entry=audited.exchange.entry if isinstance(audited.exchange, ExchangeSnapshot) else None,
        why=why,
        frozen=position.frozen,
        waiting=audited.tracked.waiting,
    )


def _result(audited: AuditedBook) -> tuple[str, Decimal | None, Decimal | None, str]:
    """The result, what the exchange holds, the difference, and why."""
    match audited.comparison:
        case Agreement(_, _, exchange):
            return "agrees", exchange, None, ""
        case Difference(kind=DifferenceKind.OTHER_MODE, exchange=exchange) as found:
            return "differs", exchange, found.excess, "its symbol is tracked in the other position mode"
        case Difference(exchange=exchange) as found:
            return "differs", exchange, found.excess, ""
        case NotReported():
            why = (
                "the exchange snapshot of its symbol is of the other leg"
                if isinstance(audited.exchange, OtherLegOnly)
                else "the exchange does not report it"
            )
            return "unknown", None, None, why
        case UnreadableSnapshot(why=why):
            return "unreadable", None, None, f"its exchange snapshot: {why}"


def _audit_of_all_input(client: Client, settings: Settings) -> Audit:
    """An audit whose positions include all input. Raises `UnreadInput` after `INPUT_PATIENCE_SEC`."""
    deadline = monotonic() + INPUT_PATIENCE_SEC
    while True:
        audit = audits.audit_all(client, settings)
        if audit.input_progress.has_reached(audit.input_progress.newest_id):
            return audit
        if monotonic() > deadline:
            raise UnreadInput(f"entries of {settings.stream_execution_result} are unread")
        sleep(_PAUSE_SEC)


def _settled(client: Client, audited: AuditedBook, now_ms: int) -> SettledBook | None:
    """Adopt or release the book, or say why not; None if there is nothing to do."""
    held, frozen = audited.tracked.position.holding.qty, audited.tracked.position.frozen
    result, exchange, _, why = _result(audited)
    if result in ("unknown", "unreadable") or (why and result == "differs"):
        return SettledBook(audited.book, "refused", held, exchange, why)
    if result == "agrees" and not frozen:
        return None
    if audited.tracked.waiting:
        return SettledBook(
            audited.book, "refused", held, exchange, f"entries wait in its inbox: {audited.tracked.waiting}"
        )
    release = Release("", now_ms)
    entries: list[Entry] = [release] if result == "agrees" else [adopt_entry(audited, now_ms), release]
    if not inbox.deliver_if_unchanged(client, audited.tracked, entries):
        return SettledBook(audited.book, "refused", held, exchange, "it has just changed")
    if result == "agrees":
        return SettledBook(audited.book, "released", held, exchange, frozen)
    return SettledBook(audited.book, "adopted", held, exchange)


def _is_right(audited: AuditedBook, settled: SettledBook | None) -> bool:
    if settled is not None:
        return settled.done != "refused"
    return isinstance(audited.comparison, Agreement) and not audited.tracked.waiting


def _forget(client: Client, lost: Mapping[str, str]) -> bool:
    """Delete the record `lost` of lost input, unless more was lost since it was read. Returns whether it is deleted."""
    with client.pipeline(transaction=True) as pipe:
        pipe.watch(keys.LOST)
        if not lost or pipe.hgetall(keys.LOST) != lost:
            return False
        pipe.multi()
        pipe.delete(keys.LOST)
        try:
            pipe.execute()
        except WatchError:
            return False
    return True
