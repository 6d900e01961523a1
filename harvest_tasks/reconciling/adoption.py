"""Adoption: positions that were open before Harvest first ran are taken over from the exchange snapshots.

The input stream may hold only the last fills of such a position: if it was opened before the oldest entry, its exit
looks like a short. So every book begins frozen. It is released when all input up to then was applied and the position
is what the exchange reports, either already or because the exchange snapshot was adopted.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from redis.exceptions import WatchError

from harvest_tasks.fills import inbox
from harvest_tasks.fills.group_position import NOWHERE
from harvest_tasks.fills.inbox import books_in_other_mode, queue_entries
from harvest_tasks.fills.stream import InputStream
from harvest_tasks.reconciling import audit as audits
from harvest_tasks.reconciling import exchange
from harvest_tasks.reconciling.audit import Audit, AuditedBook
from harvest_tasks.reconciling.comparison import Agreement, Difference, NotReported
from harvest_tasks.reconciling.mismatch import continued_observation
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.server.clock import server_ms
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.exchange_position import ExchangePosition, ExchangeSnapshot, UnreadableSnapshot
from harvest_tasks.wire.inbox_entry import ADOPTING
from kernel.positions.entry import Adopt, Freeze, Release
from kernel.positions.quantities import ZERO, plain

log = logging.getLogger(__name__)

UNREADABLE_PATIENCE_MS: Final = 60_000
"""How long adoption waits for an exchange snapshot that cannot be read."""

_SINCE, _UNTIL, _INTRODUCED = "since_ms", "until", "introduced"


@dataclass(frozen=True, slots=True)
class _Acts:
    """The book gets this entry now."""

    entry: Adopt | Release


@dataclass(frozen=True, slots=True)
class _Waits:
    """The book gets nothing yet; the next audit reads `note`."""

    note: str


@dataclass(frozen=True, slots=True)
class _Stuck:
    """The book gets nothing as long as its exchange snapshot cannot be read."""

    note: str
    why: str


_Verdict = _Acts | _Waits | _Stuck


def begin_adoption(client: Client, settings: Settings) -> None:
    """Begin an adoption if the exchange reports an open position. Call it before the consumer group is created.

    From here on route.lua freezes every new book.
    """
    reported = exchange.read_all_exchange_positions(client, settings, frozenset(inbox.known_books(client)))
    found = sum(isinstance(reading, ExchangeSnapshot) for reading in reported.values())
    if not found:
        return
    until = InputStream(client, settings).progress().newest_id
    with client.pipeline(transaction=True) as pipe:
        pipe.hsetnx(keys.ADOPTION, _SINCE, str(server_ms(client)))
        pipe.hset(keys.ADOPTION, _UNTIL, until)
        pipe.execute()
    log.info("adopting open positions of the exchange=%d input until=%s", found, until)


def advance_adoption(client: Client, settings: Settings) -> Sequence[str]:
    """Do the next step of an adoption that has begun; call it each second. Returns the books to wake."""
    if not client.exists(keys.ADOPTION):
        return ()
    with client.pipeline(transaction=True) as pipe:
        # A book that becomes known meanwhile is frozen, too: the adoption must not end without it.
        pipe.watch(keys.ADOPTION, keys.BOOKS)
        state = cast("dict[str, str]", pipe.hgetall(keys.ADOPTION))
        if not state or not InputStream(client, settings).progress().has_reached(state.get(_UNTIL, NOWHERE)):
            return ()
        if _INTRODUCED not in state:
            return _introduce(pipe, client, settings)
        return _settle(pipe, client, settings, state)


def adopt_entry(audited: AuditedBook, now_ms: int) -> Adopt:
    """The entry that makes the position what the exchange reports, unless the position has changed since."""
    held, snapshot = audited.tracked.position.holding.qty, audited.exchange
    if isinstance(snapshot, ExchangeSnapshot):
        return Adopt("", now_ms - (snapshot.age_ms or 0), held, snapshot.qty, snapshot.entry, snapshot.stop)
    return Adopt("", now_ms, held, ZERO, ZERO)


def _introduce(pipe: Any, client: Client, settings: Settings) -> Sequence[str]:
    """Track the open positions that no input entry has named, as frozen books. Returns these.

    Only the input says which symbols have legs, so all of it must have been applied.
    """
    known = frozenset(inbox.known_books(client))
    reported = exchange.read_all_exchange_positions(client, settings, known)
    new = [book for book, found in reported.items() if _is_missing(book, found, known)]
    now_ms = server_ms(client)
    pipe.multi()
    for book in new:
        pipe.sadd(keys.BOOKS, book)
        queue_entries(pipe, {book: Freeze("", now_ms, ADOPTING)})
    pipe.hset(keys.ADOPTION, _INTRODUCED, "1")
    return new if _is_executed(pipe) else ()


def _is_missing(book: str, found: ExchangePosition, known: frozenset[str]) -> bool:
    return isinstance(found, ExchangeSnapshot) and book not in known and known.isdisjoint(books_in_other_mode(book))


def _settle(pipe: Any, client: Client, settings: Settings, state: Mapping[str, str]) -> Sequence[str]:
    """Do the next step for each book that waits for adoption, and end the adoption when no book has a next step.

    Returns the books to wake.
    """
    audit = audits.audit_books(client, settings, frozenset(inbox.known_books(client)), vanished_is_flat=True)
    verdicts = {audited.book: verdict for audited in audit.books if (verdict := _verdict(audited, audit, state))}
    changed = [
        audited.book
        for audited in audit.books
        if isinstance(verdict := verdicts.get(audited.book), _Acts) and _deliver(client, audited, verdict.entry)
    ]
    pipe.multi()
    if all(isinstance(verdict, _Stuck) for verdict in verdicts.values()):
        pipe.delete(keys.ADOPTION)
        if _is_executed(pipe):
            _conclude({book: verdict.why for book, verdict in verdicts.items() if isinstance(verdict, _Stuck)})
    else:
        notes = {book: verdict.note for book, verdict in verdicts.items() if isinstance(verdict, _Waits | _Stuck)}
        _note(pipe, state.keys() & audit.known, notes)
        _is_executed(pipe)
    return changed


def _verdict(audited: AuditedBook, audit: Audit, notes: Mapping[str, str]) -> _Verdict | None:
    """What happens to a book now; None if it does not wait for adoption, or no longer does."""
    tracked, comparison = audited.tracked, audited.comparison
    if tracked.waiting:
        # The first entry of a new book freezes it.
        waits_for_adoption = tracked.position.frozen == ADOPTING or not tracked.version
        return _Waits(notes.get(audited.book, "")) if waits_for_adoption else None
    if tracked.position.frozen != ADOPTING:
        return None
    match comparison:
        case Agreement():
            return _Acts(Release("", audit.now_ms))
        case Difference():
            observation = continued_observation(notes, audited.book, plain(comparison.excess), audit)
            return (
                _Acts(adopt_entry(audited, audit.now_ms))
                if observation.has_lasted(audit)
                else _Waits(observation.to_text())
            )
        case UnreadableSnapshot(why=why):
            return _until_readable(audited, audit, notes, why)
        case NotReported():
            return _until_readable(audited, audit, notes, "the exchange snapshot of its symbol is of the other leg")


def _until_readable(audited: AuditedBook, audit: Audit, notes: Mapping[str, str], why: str) -> _Waits | _Stuck:
    """Wait `UNREADABLE_PATIENCE_MS` for a readable snapshot: the service that writes it may be starting, too."""
    observation = continued_observation(notes, audited.book, "unreadable", audit)
    note = observation.to_text()
    return _Stuck(note, why) if observation.has_lasted(audit, UNREADABLE_PATIENCE_MS) else _Waits(note)


def _deliver(client: Client, audited: AuditedBook, entry: Adopt | Release) -> bool:
    if not inbox.deliver_if_unchanged(client, audited.tracked, [entry]):
        return False
    if isinstance(entry, Adopt):
        log.info("adopting book=%s tracked=%s exchange=%s", audited.book, plain(entry.tracked_qty), plain(entry.qty))
    else:
        log.info(
            "adoption: as on the exchange, released book=%s qty=%s",
            audited.book,
            plain(audited.tracked.position.holding.qty),
        )
    return True


def _note(pipe: Any, before: Iterable[str], notes: Mapping[str, str]) -> None:
    dropped = [book for book in before if book not in notes]
    if dropped:
        pipe.hdel(keys.ADOPTION, *dropped)
    if notes:
        pipe.hset(keys.ADOPTION, mapping=dict(notes))


def _conclude(stuck: Mapping[str, str]) -> None:
    for book, why in stuck.items():
        log.warning("not adopted, stays frozen book=%s: %s; see harvest reconcile", book, why)
    log.info("adoption ended stuck=%d", len(stuck))


def _is_executed(pipe: Any) -> bool:
    """Execute the transaction. Returns False if something changed meanwhile, which the next step then finds."""
    try:
        pipe.execute()
    except WatchError:
        return False
    return True
