"""Verifies Harvest against the kernel: folds the same entries here, in one process, without a server.

The comparison is exact: every field of every position, every byte of every intent in each symbol's order, and the
counts. The profit is also compared with the cash moved by the fills, which is computed without positions.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import zip_longest
from typing import Final

from harvest_tasks.fills.symbol_rules import base_rules
from harvest_tasks.settings.model import Settings
from harvest_tasks.simulation.demo.recording import Recording, parse_intent
from harvest_tasks.wire.execution_result import Refused, Routed, parse
from harvest_tasks.wire.fields import Fields
from harvest_tasks.wire.intent import Delivery, intent_payload
from harvest_tasks.wire.position import LEDGER_FIELDS, position_fields
from harvest_tasks.wire.symbols import possible_books
from kernel.positions.decision import decide
from kernel.positions.entry import Entry, Fill
from kernel.positions.guards import Guards
from kernel.positions.position import Position, apply
from kernel.positions.quantities import ZERO, exact, plain
from kernel.positions.rules import Rules

ROUNDING: Final = Decimal("0.000001")
"""Mean entries are rounded to 12 decimals, so cash and profit may differ by less than this."""
_MAX_SHOWN: Final = 5
UNLIMITED: Final = 1_000


@dataclass(slots=True)
class FoldedSession:
    """The kernel's result for a session: positions by book, intent payloads by symbol, counts named as Harvest's."""

    rules: Rules
    delivery: Delivery
    positions: dict[str, Position] = field(default_factory=dict)
    intents: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter[str] = field(default_factory=Counter)
    fills: int = 0
    cash: Decimal = ZERO
    lifecycles: list[Decimal] = field(default_factory=list)
    """Net profit of each closed position."""
    _trades: set[tuple[str, str]] = field(default_factory=set)

    @exact
    def apply_entry(self, entry_id: str, fields: Fields) -> None:
        parsed = parse(entry_id, fields)
        if isinstance(parsed, Routed):
            self._route(parsed)
        else:
            self.counts.update(("in", "deadlettered" if isinstance(parsed, Refused) else "ignored"))

    def _route(self, routed: Routed) -> None:
        if routed.book is not None:
            self.positions.setdefault(routed.book, Position(routed.book))
            reached = [routed.book]
        else:
            reached = [book for book in possible_books(routed.symbol) if book in self.positions]
        for book in reached:
            self.counts.update(("in", self._deliver(book, routed.entry)))
        if not reached:
            self.counts.update(("in", "ignored"))

    def _deliver(self, book: str, entry: Entry) -> str:
        """Apply `entry` to `book`, decide, and return the name of the count for it."""
        if isinstance(entry, Fill) and entry.trade_id is not None:
            if (book, entry.trade_id) in self._trades:
                return "duplicate"
            self._trades.add((book, entry.trade_id))
        position = apply(self.positions[book], entry)
        if position is self.positions[book]:
            return "duplicate"
        if isinstance(entry, Fill):
            self._account(entry, position)
        self.positions[book], _, decisions = decide(position, self.rules, _permissive(position))
        cause = f"{position.applied[0]}-{position.applied[1]}"
        for decision in decisions:
            for intent in decision.intents if decision.refusal is None else ():
                self.intents[intent.symbol].append(intent_payload(intent, self.delivery, cause))
        return "applied"

    def _account(self, fill: Fill, position: Position) -> None:
        self.fills += 1
        self.cash -= fill.side.sign * fill.qty * fill.price + (fill.fee or ZERO)
        if not position.is_open:
            self.lifecycles.append(position.holding.realized_pnl - position.holding.fees)

    @property
    @exact
    def pnl(self) -> Decimal:
        """Realized, net of fees, in quote currency."""
        books = self.positions.values()
        return sum((p.banked_pnl + p.holding.realized_pnl - p.holding.fees for p in books), ZERO)


def _permissive(position: Position) -> Guards:
    """Guards that hold nothing back."""
    now_ms = 0 if position.mark is None else position.mark.time_ms
    return Guards(now_ms=now_ms, fresh_ms=1, killed=False, budget=UNLIMITED)


def fold_entries(entries: Iterable[tuple[str, Fields]], settings: Settings) -> FoldedSession:
    timeout_ms = int(settings.harvest_intent_timeout_sec * 1000)
    folded = FoldedSession(base_rules(settings), Delivery(settings.is_live, settings.harvest_live_stops, timeout_ms))
    for entry_id, fields in entries:
        folded.apply_entry(entry_id, fields)
    return folded


def differences(recording: Recording, folded: FoldedSession) -> list[str]:
    """Each difference between Harvest and the kernel; empty if verified."""
    return [
        *_positions(recording, folded),
        *_intents(recording, folded),
        *_counts(recording, folded),
        *_cash(folded),
    ]


def _positions(recording: Recording, folded: FoldedSession) -> Iterator[str]:
    for book in sorted(set(recording.positions) | set(folded.positions)):
        tracked = {n: text for n, text in recording.positions.get(book, {}).items() if n not in LEDGER_FIELDS}
        expected = position_fields(folded.positions[book]) if book in folded.positions else {}
        for name in sorted(set(tracked) | set(expected)):
            if tracked.get(name) != expected.get(name):
                yield f"{book} {name}: tracked {tracked.get(name)!r}, folded {expected.get(name)!r}"


def _intents(recording: Recording, folded: FoldedSession) -> Iterator[str]:
    published: defaultdict[str, list[str]] = defaultdict(list)
    for text in recording.intents:
        published[parse_intent(text)["symbol"]].append(text)
    for symbol in sorted(set(published) | set(folded.intents)):
        yield from _different_intents(symbol, published[symbol], folded.intents[symbol])


def _different_intents(symbol: str, published: Sequence[str], expected: Sequence[str]) -> Iterator[str]:
    pairs = enumerate(zip_longest(published, expected), start=1)
    different = [(n, actual, folded) for n, (actual, folded) in pairs if actual != folded]
    for n, actual, folded in different[:_MAX_SHOWN]:
        yield f"{symbol} intent {n}: {_different_fields(actual, folded)}"
    if len(different) > _MAX_SHOWN:
        yield f"{symbol}: {len(different) - _MAX_SHOWN} more intents differ"


def _different_fields(published: str | None, folded: str | None) -> str:
    """The fields in which two payloads differ."""
    if published is None or folded is None:
        return f"published {published or 'nothing'}, folded {folded or 'nothing'}"
    actual, expected = parse_intent(published), parse_intent(folded)
    names = [name for name in sorted(set(actual) | set(expected)) if actual.get(name) != expected.get(name)]
    parts = (f"{name} published {actual.get(name)}, folded {expected.get(name)}" for name in names)
    return "; ".join(parts) or "other bytes"


def _counts(recording: Recording, folded: FoldedSession) -> Iterator[str]:
    for name in ("in", "applied", "duplicate", "deadlettered", "ignored"):
        if recording.counts.get(name, 0) != folded.counts[name]:
            yield f"{name}: counted {recording.counts.get(name, 0)}, folded {folded.counts[name]}"


def _cash(folded: FoldedSession) -> Iterator[str]:
    still_open = sorted(book for book, position in folded.positions.items() if position.is_open)
    if still_open:
        yield f"still open: {', '.join(still_open)}"
    elif abs(folded.cash - folded.pnl) > ROUNDING:
        yield f"the fills moved {plain(folded.cash)} of cash, the positions realized {plain(folded.pnl)}"
