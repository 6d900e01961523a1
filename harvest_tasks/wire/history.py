"""What came of a book's harvests and lifecycles? One row each, derived from the position before and after an entry.

In live mode a harvest is a row once its intent is done: filled, ended, or overtaken by the position's close. In shadow
mode nobody fills intents, so a row says what was suggested. Pure.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from kernel.positions import holding as holdings
from kernel.positions.entry import Entry, Fill
from kernel.positions.holding import Holding
from kernel.positions.intent import Intent
from kernel.positions.ladder_state import Reservation
from kernel.positions.position import Position
from kernel.positions.quantities import EXACT, on_grid, plain
from kernel.positions.r_multiple import in_r, net_r, shown_r

ROWS_KEPT: Final = 100
"""How many rows of each kind are kept for a symbol."""


class HarvestKind(StrEnum):
    EXECUTED = "executed"
    SUGGESTED = "suggested"


@dataclass(frozen=True, slots=True)
class HarvestRow:
    """`qty` (base currency) taken at the mean `price`, with the gross profit `pnl` (quote currency), at the R multiple
    `r`, cut to 6 decimals. The `price` of a suggested harvest is the mark.
    """

    kind: HarvestKind
    time_ms: int
    book: str
    position_id: str
    intent_id: str
    rungs: tuple[str, ...]
    qty: Decimal
    price: Decimal
    r: Decimal
    pnl: Decimal


@dataclass(frozen=True, slots=True)
class LifecycleRow:
    """A position from its open to its close. `net_pnl` is `realized_pnl` - `fees` + `funding` (quote currency), without
    `other_fees`. `net_r` is `net_pnl` in units of the risk of all quantity entered, cut to 6 decimals.
    """

    book: str
    position_id: str
    side: str
    origin: str
    opened_ms: int
    closed_ms: int
    base_qty: Decimal
    entry: Decimal
    risk_per_unit: Decimal
    realized_pnl: Decimal
    fees: Decimal
    funding: Decimal
    other_fees: Mapping[str, Decimal]
    net_pnl: Decimal
    net_r: Decimal


HistoryRow = HarvestRow | LifecycleRow


def row_json(row: HistoryRow) -> str:
    """`row` as JSON text; decimals are plain text in it."""
    values = {name: getattr(row, name) for name in row.__slots__}
    return _ENCODE(values)


def ended_rows(before: Position, after: Position, entry: Entry) -> Iterator[HistoryRow]:
    """Rows of the harvests and of the lifecycle that `entry` ended, in this order."""
    if not before.is_open:
        return
    ended = after.epoch != before.epoch or not after.is_open
    still_open = () if ended else after.ladder_state.reservations
    # If the entry does not concern them, they are the same object.
    if still_open is not before.ladder_state.reservations:
        kept = {reservation.intent_id for reservation in still_open}
        for reservation in before.ladder_state.reservations:
            if reservation.intent_id not in kept:
                yield from _executed(before, entry, reservation)
    if ended:
        yield _closed(before, _final(before, after, entry), entry.time_ms)


def suggested_row(position: Position, intent: Intent) -> HarvestRow:
    """The row of an intent that was published in shadow mode."""
    profit = (intent.mark - intent.entry_price) * position.holding.sign
    return HarvestRow(
        HarvestKind.SUGGESTED,
        intent.time_ms,
        intent.book,
        intent.position_id,
        intent.intent_id,
        intent.rungs,
        intent.qty,
        intent.mark,
        shown_r(in_r(profit, position.holding)),
        profit * intent.qty,
    )


def _executed(before: Position, entry: Entry, reservation: Reservation) -> Iterator[HarvestRow]:
    """The row of an intent that is done, unless it was never filled."""
    done = _with_last_fill(before.holding, entry, reservation)
    if not done.filled:
        return
    yield HarvestRow(
        HarvestKind.EXECUTED,
        entry.time_ms,
        before.book,
        before.position_id,
        done.intent_id,
        tuple(claim.rung for claim in done.claims),
        done.filled,
        on_grid(EXACT.divide(done.value, done.filled)),
        shown_r(in_r(EXACT.divide(done.pnl, done.filled), before.holding)),
        done.pnl,
    )


def _with_last_fill(held: Holding, entry: Entry, reservation: Reservation) -> Reservation:
    if not isinstance(entry, Fill) or entry.intent_id != reservation.intent_id:
        return reservation
    qty = min(entry.qty, abs(held.qty))
    return reservation.after(qty, entry.price, (entry.price - held.avg_entry) * qty * held.sign)


def _final(before: Position, after: Position, entry: Entry) -> Holding:
    """The holding at the end of the lifecycle. The fee of a flip is not in it: it counts in the new lifecycle."""
    if after.epoch == before.epoch:
        return after.holding
    if isinstance(entry, Fill):
        return holdings.reduced(before.holding, abs(before.holding.qty), entry.price)
    return before.holding


def _closed(before: Position, final: Holding, time_ms: int) -> LifecycleRow:
    return LifecycleRow(
        book=before.book,
        position_id=before.position_id,
        side="LONG" if before.holding.sign > 0 else "SHORT",
        origin=final.origin.value,
        opened_ms=final.opened_ms,
        closed_ms=time_ms,
        base_qty=final.base_qty,
        entry=final.avg_entry,
        risk_per_unit=final.risk_per_unit,
        realized_pnl=final.realized_pnl,
        fees=final.fees,
        funding=final.funding,
        other_fees=dict(final.other_fees),
        net_pnl=final.net_pnl,
        net_r=shown_r(net_r(final)),
    )


def _plain(value: Any) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


_ENCODE: Final = json.JSONEncoder(separators=(",", ":"), default=_plain).encode
