"""Mismatches: a difference between a tracked position and the exchange is noted, and freezes the book if it lasts.

Exchange snapshots come through another service and lag behind fills. So one observation is no reason to act: a second
audit must find exactly the same difference.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from harvest_tasks.fills import inbox
from harvest_tasks.fills.inbox import TrackedBook, UnreadableBook, books_in_other_mode
from harvest_tasks.reconciling import audit as audits
from harvest_tasks.reconciling.audit import Audit, AuditedBook
from harvest_tasks.reconciling.comparison import Agreement, Difference, DifferenceKind, NotReported
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.exchange_position import ExchangeFlat, ExchangeSnapshot, OtherLegOnly, UnreadableSnapshot
from kernel.positions.entry import Freeze
from kernel.positions.position import parse_id
from kernel.positions.quantities import plain

log = logging.getLogger(__name__)

SECOND_LOOK_MS: Final = 5_000
"""A mismatch that lasts this long freezes its book."""

_Fields = dict[Any, Any]  # redis-py's type for a hash is invariant

_COUNTED: Final[Mapping[type, str]] = {
    Agreement: "agreed",
    Difference: "differ",
    NotReported: "unknown",
    UnreadableSnapshot: "unreadable",
}


@dataclass(frozen=True, slots=True)
class Observation:
    """Every audit since `since_ms` (unix ms) found `what`; then the newest input entry was `newest_id`."""

    since_ms: int
    newest_id: str
    what: str

    def has_lasted(self, audit: Audit, at_least_ms: int = SECOND_LOOK_MS) -> bool:
        """Whether `audit` is that much later, and its positions include all input of the first observation."""
        return audit.now_ms - self.since_ms >= at_least_ms and audit.input_progress.has_reached(self.newest_id)

    def to_text(self) -> str:
        """The observation as text, which `continued_observation` reads."""
        return f"{self.since_ms} {self.newest_id} {self.what}"


def continued_observation(notes: Mapping[str, str], book: str, what: str, audit: Audit) -> Observation:
    """The observation noted for `book` if `what` is unchanged, else a new one.

    It is also a new one if the noted one is from the future: the clock was set back.
    """
    before = _observation(notes.get(book, ""))
    if before is not None and before.what == what and before.since_ms <= audit.now_ms:
        return before
    return Observation(audit.now_ms, audit.input_progress.newest_id, what)


def _observation(text: str) -> Observation | None:
    since_ms, _, rest = text.partition(" ")
    newest_id, _, what = rest.partition(" ")
    try:
        parse_id(newest_id)
        return Observation(int(since_ms), newest_id, what)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Reconciled:
    """How many books an audit found in each state, and the books that it froze."""

    counts: Mapping[str, int]
    frozen: Sequence[str]


def reconcile_books(client: Client, settings: Settings) -> Reconciled:
    """Compare every book with an empty inbox. Note new mismatches, and freeze the books of those that lasted."""
    audit = audits.audit_all(client, settings)
    notes = cast("dict[str, str]", client.hgetall(keys.MISMATCHES))
    frozen = _judge(client, audit, notes)
    _remember(client, audit)
    return Reconciled(_counts(audit, frozen), frozen)


def confirm_mismatches(client: Client, settings: Settings) -> list[str]:
    """Compare again the books with a noted mismatch. Returns the books that it froze."""
    notes = cast("dict[str, str]", client.hgetall(keys.MISMATCHES))
    return _judge(client, audits.audit_books(client, settings, notes), notes) if notes else []


def _judge(client: Client, audit: Audit, notes: Mapping[str, str]) -> list[str]:
    """Freeze the books whose mismatch lasted, and note the other mismatches. Returns the books it froze."""
    frozen: list[str] = []
    kept: dict[str, str] = {}
    for audited in _audited_books(client, audit):
        if audited.tracked.waiting:
            kept |= {book: text for book, text in notes.items() if book == audited.book}
        elif isinstance(audited.comparison, Difference):
            observation = continued_observation(notes, audited.book, plain(audited.comparison.excess), audit)
            targets = _unfrozen(client, audited, audited.comparison, audit)
            now_frozen = (
                _freeze(client, targets, audited.comparison, audit.now_ms) if observation.has_lasted(audit) else []
            )
            frozen += now_frozen
            if targets and not now_frozen:
                kept[audited.book] = observation.to_text()
    _note(client, notes, kept)
    return frozen


def _audited_books(client: Client, audit: Audit) -> Sequence[AuditedBook]:
    """The books that a mismatch may freeze: none during an adoption, which resolves mismatches itself."""
    return () if client.exists(keys.ADOPTION) else audit.books


def _unfrozen(client: Client, audited: AuditedBook, difference: Difference, audit: Audit) -> list[TrackedBook]:
    """The books to freeze: the book that differs, or those of its symbol that are tracked in the other mode."""
    if difference.kind is not DifferenceKind.OTHER_MODE:
        found: Sequence[TrackedBook | UnreadableBook] = [audited.tracked]
    else:
        found = inbox.read_tracked_books(
            client, [book for book in books_in_other_mode(audited.book) if book in audit.known]
        )
    return [book for book in found if isinstance(book, TrackedBook) and not book.position.frozen]


def _freeze(client: Client, targets: Sequence[TrackedBook], difference: Difference, now_ms: int) -> list[str]:
    reason = f"reconciliation: tracked {plain(difference.tracked)}, exchange {plain(difference.exchange)}"
    if difference.kind is DifferenceKind.OTHER_MODE:
        reason += f" as {difference.book}"
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
    """Store the result for each open position, so that a snapshot that vanishes is known to have existed."""
    found = {audited.book: _result_text(audited, audit.now_ms) for audited in audit.books if _is_reported(audited)}
    with client.pipeline(transaction=True) as pipe:
        pipe.delete(keys.COMPARED)
        if found:
            pipe.hset(keys.COMPARED, mapping=_Fields(found))
        pipe.execute()


def _is_reported(audited: AuditedBook) -> bool:
    match audited.exchange:
        case ExchangeSnapshot():
            return True
        case ExchangeFlat():
            return audited.tracked.position.is_open
        case OtherLegOnly():
            return False
        case _:
            return audited.was_reported and audited.tracked.position.is_open


def _result_text(audited: AuditedBook, now_ms: int) -> str:
    match audited.comparison:
        case Agreement(_, held, exchange) | Difference(_, held, exchange):
            quantities = f" tracked={plain(held)} exchange={plain(exchange)}"
        case _:
            quantities = ""
    return f"{now_ms} {_COUNTED[type(audited.comparison)]}{quantities}"


def _counts(audit: Audit, frozen: Sequence[str]) -> dict[str, int]:
    kinds = [_COUNTED[type(audited.comparison)] for audited in audit.books if not audited.tracked.waiting]
    kinds += ["unreadable"] * len(audit.unreadable)
    return {
        "compared": len(kinds),
        **{kind: kinds.count(kind) for kind in _COUNTED.values()},
        "frozen": len(frozen),
    }
