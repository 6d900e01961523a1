"""Parses what is read before a plan is made: the state of the guards, and each book with its waiting entries."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from harvest_tasks.fills.plan import Delivered, UnreadableEntry
from harvest_tasks.server.client import checked, pairs_to_dict
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire import inbox_entry
from harvest_tasks.wire.numbers import stop_distance
from harvest_tasks.wire.position import UnreadablePosition, read_ledger_counts, read_position
from kernel.positions.entry import Entry
from kernel.positions.guards import Guards
from kernel.positions.holding import RiskTerms
from kernel.positions.position import Position

WINDOW_MS: Final = 60_000
"""The rate limit counts intents in a sliding minute."""
SWITCH_OFF: Final = (None, "", "0")
"""Values of the kill switch that allow publishing, as in commit.lua; None is an absent key."""


@dataclass(frozen=True, slots=True)
class LoadedBook:
    """A book as it was read: `version` is what a commit must still find."""

    book: str
    version: int
    trades_generation: int
    position: Position
    waiting: Sequence[Delivered]
    terms: RiskTerms


@dataclass(frozen=True, slots=True)
class BusyBook:
    """A book whose lock another worker holds: that worker's commit will find what is left."""

    book: str


@dataclass(frozen=True, slots=True)
class FailedBook:
    """A book that could not be read, planned or written; its entries stay in the inbox."""

    book: str
    error: Exception


def guard_state(time: Any, switch: Any, oldest: Any, settings: Settings, now_ms: int | None) -> Guards:
    """The guards from three replies: TIME, the kill switch, and the publish time (unix ms) of the oldest intent in a
    full window, None if the window is not full.

    A switch that cannot be read is on. A window that is not full counts as empty: how much is left of it matters only
    to plans with several intents, and commit.lua checks those.
    """
    seconds, micros = map(int, checked(time))
    now = seconds * 1000 + micros // 1000 if now_ms is None else now_ms
    used_up = checked(oldest) is not None and published_in_window([int(oldest)], now) > 0
    return Guards(
        now_ms=now,
        fresh_ms=settings.harvest_require_fresh_snapshot_sec * 1000,
        killed=switch not in SWITCH_OFF,
        budget=0 if used_up else settings.harvest_max_actions_per_min,
    )


def published_in_window(published_ms: Iterable[float], now_ms: int) -> int:
    """How many intents with these publish times (unix ms) count against the rate limit at `now_ms`, as in commit.lua.

    Publish times ahead of the clock count, too: the clock was set back.
    """
    return sum(at > now_ms - WINDOW_MS for at in published_ms)


def loaded_book(name: str, replies: Sequence[Any], fallback_stop_pct: Decimal) -> LoadedBook | BusyBook | FailedBook:
    """A book from the four replies about it: the lock, the position's hash, the inbox, the published stop distance."""
    locked, flat, inbox, stop_dist_pct = replies
    for reply in (locked, flat, inbox):
        if isinstance(reply, Exception):
            return FailedBook(name, reply)
    if not locked:
        return BusyBook(name)
    fields = pairs_to_dict(flat)
    try:
        position = read_position(name, fields)
    except UnreadablePosition as error:
        return FailedBook(name, error)
    version, trades_generation = read_ledger_counts(fields)
    return LoadedBook(
        book=name,
        version=version,
        trades_generation=trades_generation,
        position=position,
        waiting=[Delivered(inbox_id, _entry(values)) for inbox_id, values in inbox],
        terms=RiskTerms(stop_distance(stop_dist_pct), fallback_stop_pct),
    )


def _entry(flat: Sequence[str]) -> Entry | UnreadableEntry:
    values = pairs_to_dict(flat)
    raw = values.get("e", "")
    try:
        return inbox_entry.unpack(raw)
    except inbox_entry.BadInboxEntry:
        return UnreadableEntry(raw or repr(values))
