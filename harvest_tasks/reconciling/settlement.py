"""Tracked positions beside the exchange's record, for an operator to compare and to settle."""

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
from harvest_tasks.reconciling.comparison import Agreement, Difference, Kind, NotReported
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.exchange_position import ExchangeSnapshot, OtherLegOnly, UnreadableSnapshot
from harvest_tasks.wire.symbols import symbol_of
from kernel.positions.entry import Entry, Release

INPUT_PATIENCE_SEC: Final = 3.0
"""How long to wait for workers that are just taking in what was written last."""
_PAUSE_SEC: Final = 0.1


class UnreadInput(Exception):
    """The input stream has entries that no worker has taken in: they may explain every difference."""


@dataclass(frozen=True, slots=True)
class ComparedRow:
    """A book: quantities are signed (long > 0, base currency), prices are mean entries, None is not known. `result` is
    `agrees`, `differs`, `unknown` (open, and nothing is on record) or `unreadable`; `why` says more.
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
class Settled:
    """What became of a book: `done` is `adopted`, `released` or `refused`, which `why` explains."""

    book: str
    done: str
    tracked: Decimal | None
    exchange: Decimal | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Settlement:
    """`forgot_loss`: that input was lost is forgotten, since every book is right."""

    settled: Sequence[Settled]
    forgot_loss: bool


def comparison_rows(audit: Audit) -> list[ComparedRow]:
    """All books of `audit`, in order."""
    failed = [
        ComparedRow(book.book, "unreadable", None, None, None, None, None, book.why, "", 0) for book in audit.failed
    ]
    return sorted([*map(_row, audit.books), *failed], key=lambda row: row.book)


def is_named(book: str, names: Collection[str]) -> bool:
    """Whether `names` name `book`, by itself or by its symbol; no names name all."""
    return not names or book in names or symbol_of(book) in names


def settle(client: Client, settings: Settings, names: Collection[str]) -> Settlement:
    """Adopt what is on record for the books `names` (none: all), and release those that are right. Raises `Unread`."""
    lost = client.hgetall(keys.LOST)
    audit = _taken_in(client, settings)
    settled = [_settled(client, seen, audit.now_ms) for seen in audit.books if is_named(seen.book, names)]
    settled += [Settled(book.book, "refused", None, None, book.why) for book in audit.failed]
    results = {result.book: result for result in settled if result is not None and is_named(result.book, names)}
    is_right = not audit.failed and all(_is_right(seen, results.get(seen.book)) for seen in audit.books)
    return Settlement(list(results.values()), is_right and _forget(client, cast("dict[str, str]", lost)))


def _row(seen: AuditedBook) -> ComparedRow:
    position = seen.tracked.position
    result, exchange, difference, why = _told(seen)
    return ComparedRow(
        book=seen.book,
        result=result,
        tracked=position.holding.qty,
        exchange=exchange,
        difference=difference,
        entry=position.holding.avg_entry if position.is_open else None,
        exchange_entry=seen.exchange.entry if isinstance(seen.exchange, ExchangeSnapshot) else None,
        why=why,
        frozen=position.frozen,
        waiting=seen.tracked.waiting,
    )


def _told(seen: AuditedBook) -> tuple[str, Decimal | None, Decimal | None, str]:
    """The result, what the exchange holds, the difference, and why."""
    match seen.comparison:
        case Agreement(_, _, exchange):
            return "agrees", exchange, None, ""
        case Difference(kind=Kind.OTHER_MODE, exchange=exchange) as found:
            return "differs", exchange, found.missed, "its symbol is tracked in the other position mode"
        case Difference(exchange=exchange) as found:
            return "differs", exchange, found.missed, ""
        case NotReported():
            why = (
                "its symbol's record is of the other leg"
                if isinstance(seen.exchange, OtherLegOnly)
                else "it has no record"
            )
            return "unknown", None, None, why
        case UnreadableSnapshot(why=why):
            return "unreadable", None, None, f"its record: {why}"


def _taken_in(client: Client, settings: Settings) -> Audit:
    """An audit of positions that know all of the input."""
    deadline = monotonic() + INPUT_PATIENCE_SEC
    while True:
        audit = audits.audit_all(client, settings)
        if audit.input.has_taken(audit.input.newest_id):
            return audit
        if monotonic() > deadline:
            raise UnreadInput(f"entries of {settings.stream_execution_result} are unread")
        sleep(_PAUSE_SEC)


def _settled(client: Client, seen: AuditedBook, now_ms: int) -> Settled | None:
    """What was done about `seen`; None if there is nothing to do."""
    held, frozen = seen.tracked.position.holding.qty, seen.tracked.position.frozen
    result, exchange, _, why = _told(seen)
    if result in ("unknown", "unreadable") or (why and result == "differs"):
        return Settled(seen.book, "refused", held, exchange, why)
    if result == "agrees" and not frozen:
        return None
    if seen.tracked.waiting:
        return Settled(seen.book, "refused", held, exchange, f"entries wait in its inbox: {seen.tracked.waiting}")
    release = Release("", now_ms)
    entries: list[Entry] = [release] if result == "agrees" else [adopt_entry(seen, now_ms), release]
    if not inbox.deliver_if_unchanged(client, seen.tracked, entries):
        return Settled(seen.book, "refused", held, exchange, "it has just moved")
    if result == "agrees":
        return Settled(seen.book, "released", held, exchange, frozen)
    return Settled(seen.book, "adopted", held, exchange)


def _is_right(seen: AuditedBook, settled: Settled | None) -> bool:
    if settled is not None:
        return settled.done != "refused"
    return isinstance(seen.comparison, Agreement) and not seen.tracked.waiting


def _forget(client: Client, lost: Mapping[str, str]) -> bool:
    """Forget `lost`, unless more was lost since it was read."""
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
