"""Differences between tracked positions and the exchange's record: noted at the first look, and a reason to freeze the
book when a second look finds exactly the same.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from harvest_tasks.fills import inbox
from harvest_tasks.fills.inbox import TrackedBook, UnreadableBook, in_other_mode
from harvest_tasks.reconciling import audit as audits
from harvest_tasks.reconciling.audit import Audit, AuditedBook
from harvest_tasks.reconciling.comparison import Agreement, Difference, Kind, NotReported
from harvest_tasks.reconciling.sighting import observed
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.exchange_position import ExchangeFlat, ExchangeSnapshot, OtherLegOnly, UnreadableSnapshot
from kernel.positions.entry import Freeze
from kernel.positions.quantities import plain

log = logging.getLogger(__name__)

_Fields = dict[Any, Any]  # redis-py's type for a hash is invariant

_COUNTED: Final[Mapping[type, str]] = {
    Agreement: "agreed",
    Difference: "differ",
    NotReported: "unknown",
    UnreadableSnapshot: "unreadable",
}


@dataclass(frozen=True, slots=True)
class Reconciled:
    """How many books a comparison found in each state, and those that it froze."""

    counts: Mapping[str, int]
    frozen: Sequence[str]


def reconcile_books(client: Client, settings: Settings) -> Reconciled:
    """Compare every book that has nothing waiting in its inbox; note what differs, and freeze what differed before."""
    audit = audits.audit_all(client, settings)
    notes = cast("dict[str, str]", client.hgetall(keys.MISMATCHES))
    frozen = _pursue(client, audit, notes)
    _remember(client, audit)
    return Reconciled(_counts(audit, frozen), frozen)


def confirm_mismatches(client: Client, settings: Settings) -> list[str]:
    """Look again at the books whose positions differed at the last look; those that are frozen now."""
    notes = cast("dict[str, str]", client.hgetall(keys.MISMATCHES))
    return _pursue(client, audits.audit_books(client, settings, notes), notes) if notes else []


def _pursue(client: Client, audit: Audit, notes: Mapping[str, str]) -> list[str]:
    """Freeze the books of `audit` that differ as noted, and note the others that differ; the books frozen."""
    frozen: list[str] = []
    kept: dict[str, str] = {}
    for seen in _conclusive(client, audit):
        if seen.tracked.waiting:
            kept |= {book: text for book, text in notes.items() if book == seen.book}
        elif isinstance(seen.comparison, Difference):
            sighting = observed(notes, seen.book, plain(seen.comparison.missed), audit)
            targets = _unfrozen(client, seen, seen.comparison, audit)
            now_frozen = _freeze(client, targets, seen.comparison, audit.now_ms) if sighting.has_lasted(audit) else []
            frozen += now_frozen
            if targets and not now_frozen:
                kept[seen.book] = sighting.to_text()
    _note(client, notes, kept)
    return frozen


def _conclusive(client: Client, audit: Audit) -> Sequence[AuditedBook]:
    """What may lead to a freeze: nothing while open positions are adopted, for what differs is being put right."""
    return () if client.exists(keys.ADOPTION) else audit.books


def _unfrozen(client: Client, seen: AuditedBook, finding: Difference, audit: Audit) -> list[TrackedBook]:
    """The books to freeze: that of the difference, or those that are tracked in its place."""
    if finding.kind is not Kind.OTHER_MODE:
        found: Sequence[TrackedBook | UnreadableBook] = [seen.tracked]
    else:
        found = inbox.tracked_books(client, [book for book in in_other_mode(seen.book) if book in audit.known])
    return [book for book in found if isinstance(book, TrackedBook) and not book.position.frozen]


def _freeze(client: Client, targets: Sequence[TrackedBook], finding: Difference, now_ms: int) -> list[str]:
    reason = f"reconciliation: tracked {plain(finding.tracked)}, exchange {plain(finding.exchange)}"
    if finding.kind is Kind.OTHER_MODE:
        reason += f" as {finding.book}"
    frozen = [book.book for book in targets if inbox.deliver_if_unchanged(client, book, [Freeze("", now_ms, reason)])]
    for book in frozen:
        log.error("froze book=%s %s: see harvest reconcile", book, reason)
    return frozen


def _note(client: Client, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    dropped = before.keys() - after.keys()
    with client.pipeline(transaction=True) as pipe:
        if dropped:
            pipe.hdel(keys.MISMATCHES, *dropped)
        if after:
            pipe.hset(keys.MISMATCHES, mapping=_Fields(after))
        pipe.execute()


def _remember(client: Client, audit: Audit) -> None:
    """Keep what was found where a position is open, so that a record that vanishes is known to have been there."""
    found = {seen.book: _told(seen, audit.now_ms) for seen in audit.books if _is_on_record(seen)}
    with client.pipeline(transaction=True) as pipe:
        pipe.delete(keys.COMPARED)
        if found:
            pipe.hset(keys.COMPARED, mapping=_Fields(found))
        pipe.execute()


def _is_on_record(seen: AuditedBook) -> bool:
    match seen.exchange:
        case ExchangeSnapshot():
            return True
        case ExchangeFlat():
            return seen.tracked.position.is_open
        case OtherLegOnly():
            return False
        case _:
            return seen.was_reported and seen.tracked.position.is_open


def _told(seen: AuditedBook, now_ms: int) -> str:
    match seen.comparison:
        case Agreement(_, held, exchange) | Difference(_, held, exchange):
            quantities = f" tracked={plain(held)} exchange={plain(exchange)}"
        case _:
            quantities = ""
    return f"{now_ms} {_COUNTED[type(seen.comparison)]}{quantities}"


def _counts(audit: Audit, frozen: Sequence[str]) -> dict[str, int]:
    kinds = [_COUNTED[type(seen.comparison)] for seen in audit.books if not seen.tracked.waiting]
    kinds += ["unreadable"] * len(audit.failed)
    return {
        "compared": len(kinds),
        **{kind: kinds.count(kind) for kind in _COUNTED.values()},
        "frozen": len(frozen),
    }
