"""Adoption: positions that were open before Harvest first ran, taken over from the exchange's record.

What is left of the input stream may tell such a position only in part: the exit of one that was opened before the
oldest entry looks like a short. So every book begins frozen, until all input of that time was applied and the position
is what the exchange says, by itself or because the record was adopted.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from redis.exceptions import WatchError

from harvest_tasks.fills import inbox
from harvest_tasks.fills.group_position import NOWHERE
from harvest_tasks.fills.inbox import in_other_mode, queue_entries
from harvest_tasks.fills.router import ADOPTING
from harvest_tasks.fills.stream import InputStream
from harvest_tasks.reconciling import audit as audits
from harvest_tasks.reconciling import exchange
from harvest_tasks.reconciling.audit import Audit, AuditedBook
from harvest_tasks.reconciling.comparison import Agreement, Difference, NotReported
from harvest_tasks.reconciling.sighting import observed
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.server.clock import server_ms
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.exchange_position import ExchangePosition, ExchangeSnapshot, UnreadableSnapshot
from kernel.positions.entry import Adopt, Freeze, Release
from kernel.positions.quantities import ZERO, plain

log = logging.getLogger(__name__)

UNREADABLE_PATIENCE_MS: Final = 60_000
"""How long adoption waits for a record that cannot be read."""

_SINCE, _UNTIL, _INTRODUCED = "since_ms", "until", "introduced"


@dataclass(frozen=True, slots=True)
class _Acts:
    """The book gets one step further now."""

    entry: Adopt | Release


@dataclass(frozen=True, slots=True)
class _Waits:
    """It does not yet; `note` is what the next look needs to know."""

    note: str


@dataclass(frozen=True, slots=True)
class _Stuck:
    """It does not, as long as its record cannot be read."""

    note: str
    why: str


_Verdict = _Acts | _Waits | _Stuck


def begin_adoption(client: Client, settings: Settings) -> None:
    """Call before the group of the input is created for the first time. Does nothing unless a position is on record.

    From here on every book that becomes known is frozen, as route.lua has it.
    """
    readings = exchange.read_all_exchange_positions(client, settings, audits.known_books(client))
    found = sum(isinstance(reading, ExchangeSnapshot) for reading in readings.values())
    if not found:
        return
    until = InputStream(client, settings).progress().newest_id
    with client.pipeline(transaction=True) as pipe:
        pipe.hsetnx(keys.ADOPTION, _SINCE, str(server_ms(client)))
        pipe.hset(keys.ADOPTION, _UNTIL, until)
        pipe.execute()
    log.info("adopting open positions on record=%d input until=%s", found, until)


def advance_adoption(client: Client, settings: Settings) -> Sequence[str]:
    """One step of an adoption that has begun: call it each second. Returns the books to ring."""
    if not client.exists(keys.ADOPTION):
        return ()
    with client.pipeline(transaction=True) as pipe:
        # A book that becomes known meanwhile is frozen, too, so the adoption must not end without it.
        pipe.watch(keys.ADOPTION, keys.BOOKS)
        state = cast("dict[str, str]", pipe.hgetall(keys.ADOPTION))
        if not state or not InputStream(client, settings).progress().has_taken(state.get(_UNTIL, NOWHERE)):
            return ()
        if _INTRODUCED not in state:
            return _introduce(pipe, client, settings)
        return _settle(pipe, client, settings, state)


def adopt_entry(seen: AuditedBook, now_ms: int) -> Adopt:
    """The entry that makes the position of `seen` what is on record, unless it has moved since."""
    held, found = seen.tracked.position.holding.qty, seen.exchange
    if isinstance(found, ExchangeSnapshot):
        return Adopt("", now_ms - (found.age_ms or 0), held, found.qty, found.entry, found.stop)
    return Adopt("", now_ms, held, ZERO, ZERO)


def _introduce(pipe: Any, client: Client, settings: Settings) -> Sequence[str]:
    """Track, frozen, what is open on record and no entry of the input has named. Only the input knows what symbols have
    legs, so this comes after it.
    """
    known = audits.known_books(client)
    readings = exchange.read_all_exchange_positions(client, settings, known)
    new = [book for book, found in readings.items() if _is_missing(book, found, known)]
    now_ms = server_ms(client)
    pipe.multi()
    for book in new:
        pipe.sadd(keys.BOOKS, book)
        queue_entries(pipe, {book: Freeze("", now_ms, ADOPTING)})
    pipe.hset(keys.ADOPTION, _INTRODUCED, "1")
    return new if _is_executed(pipe) else ()


def _is_missing(book: str, found: ExchangePosition, known: frozenset[str]) -> bool:
    return isinstance(found, ExchangeSnapshot) and book not in known and known.isdisjoint(in_other_mode(book))


def _settle(pipe: Any, client: Client, settings: Settings, state: Mapping[str, str]) -> Sequence[str]:
    """Bring each book that waits one step further, and end the adoption when none can be."""
    audit = audits.audit_books(client, settings, audits.known_books(client), vanished_is_flat=True)
    verdicts = {seen.book: verdict for seen in audit.books if (verdict := _verdict(seen, audit, state))}
    told = [
        seen.book
        for seen in audit.books
        if isinstance(verdict := verdicts.get(seen.book), _Acts) and _deliver(client, seen, verdict.entry)
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
    return told


def _verdict(seen: AuditedBook, audit: Audit, notes: Mapping[str, str]) -> _Verdict | None:
    """None for a book that does not wait for adoption (any more)."""
    tracked, finding = seen.tracked, seen.comparison
    if tracked.waiting:
        # The first entry of a new book freezes it.
        is_concerned = tracked.position.frozen == ADOPTING or not tracked.version
        return _Waits(notes.get(seen.book, "")) if is_concerned else None
    if tracked.position.frozen != ADOPTING:
        return None
    match finding:
        case Agreement():
            return _Acts(Release("", audit.now_ms))
        case Difference():
            sighting = observed(notes, seen.book, plain(finding.missed), audit)
            return _Acts(adopt_entry(seen, audit.now_ms)) if sighting.has_lasted(audit) else _Waits(sighting.to_text())
        case UnreadableSnapshot(why=why):
            return _hesitant(seen, audit, notes, why)
        case NotReported():
            return _hesitant(seen, audit, notes, "its symbol's record is of the other leg")


def _hesitant(seen: AuditedBook, audit: Audit, notes: Mapping[str, str], why: str) -> _Waits | _Stuck:
    """Records are written by a service that may be starting, too, so one that cannot be read gets some time."""
    sighting = observed(notes, seen.book, "unreadable", audit)
    note = sighting.to_text()
    return _Stuck(note, why) if sighting.has_lasted(audit, UNREADABLE_PATIENCE_MS) else _Waits(note)


def _deliver(client: Client, seen: AuditedBook, entry: Adopt | Release) -> bool:
    if not inbox.deliver_if_unchanged(client, seen.tracked, [entry]):
        return False
    if isinstance(entry, Adopt):
        log.info("adopting book=%s tracked=%s exchange=%s", seen.book, plain(entry.seen_qty), plain(entry.qty))
    else:
        log.info("adoption: as on record, released book=%s qty=%s", seen.book, plain(seen.tracked.position.holding.qty))
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
    """False if something moved meanwhile: the next look finds it."""
    try:
        pipe.execute()
    except WatchError:
        return False
    return True
