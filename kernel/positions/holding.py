"""What a book holds in its current lifecycle, and the arithmetic of adding and reducing.

What always holds of a holding:
1. Entering quantity moves the average entry to the weighted mean; leaving quantity never moves it.
2. `base_qty` is all quantity entered in this lifecycle: it grows on adds and never shrinks.
3. `risk_per_unit` is set once, at the open.
4. Money in another asset than the quote currency is kept apart and never converted.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple

from kernel.positions.entry import Adopt, Fill
from kernel.positions.quantities import GRID, ZERO, on_grid

MIN_STOP_DISTANCE = Decimal("0.0001")
"""A stop nearer to the entry than this share of it measures no risk."""

Amounts = tuple[tuple[str, Decimal], ...]
"""Amounts by asset, in the order of their names."""


class Origin(StrEnum):
    """Where the quantity of a holding comes from."""

    FILLS = "fills"
    ADOPTED = "adopted"
    """From the exchange's record, because the fills do not account for it."""


class Holding(NamedTuple):
    """`qty` is signed (long > 0) in base currency; prices and money are in quote currency, but for `other_fees`.

    `realized_pnl` is gross of `fees` (paid) and `funding` (received); all count from the open of this lifecycle.
    """

    qty: Decimal = ZERO
    avg_entry: Decimal = ZERO
    base_qty: Decimal = ZERO
    risk_per_unit: Decimal = ZERO
    realized_pnl: Decimal = ZERO
    fees: Decimal = ZERO
    opened_ms: int = 0
    funding: Decimal = ZERO
    other_fees: Amounts = ()
    origin: Origin = Origin.FILLS

    @property
    def sign(self) -> int:
        """+1 long, -1 short, 0 flat."""
        return 1 if self.qty > ZERO else -1 if self.qty else 0

    @property
    def net_pnl(self) -> Decimal:
        """What is realized so far, after fees and funding in quote currency."""
        return self.realized_pnl - self.fees + self.funding

    def unrealized_pnl(self, price: Decimal) -> Decimal:
        """What closing all of it at `price` would realize, before fees and funding (quote currency)."""
        return (price - self.avg_entry) * self.qty


@dataclass(frozen=True, slots=True)
class RiskTerms:
    """Where the risk of a new position comes from when its fill carries no usable stop (ratios of the entry)."""

    stop_dist_pct: Decimal | None = None
    fallback_stop_pct: Decimal = Decimal("0.02")

    def per_unit(self, entry: Decimal) -> Decimal:
        """Risk per unit of a position entered at `entry`; rounded to the grid, at least one step of it."""
        distance = self.stop_dist_pct
        if distance is None or distance <= 0:
            distance = self.fallback_stop_pct
        return max(on_grid(entry * distance), GRID)


DEFAULT_TERMS: Final = RiskTerms()


def usable_stop(entry: Decimal, stop: Decimal | None, sign: int) -> Decimal | None:
    """`stop` if it lies on the losing side of `entry` at a distance that measures a risk, else None."""
    if stop is None:
        return None
    distance = (entry - stop) * sign
    if distance < entry * MIN_STOP_DISTANCE or distance >= entry:
        return None
    return stop


def opened(fill: Fill, qty: Decimal, terms: RiskTerms) -> Holding:
    """A new lifecycle: `qty` (> 0) of `fill` enters on the fill's side."""
    stop = usable_stop(fill.price, fill.stop_loss, fill.side.sign)
    risk = terms.per_unit(fill.price) if stop is None else abs(fill.price - stop)
    return Holding(
        qty=qty * fill.side.sign,
        avg_entry=fill.price,
        base_qty=qty,
        risk_per_unit=risk,
        opened_ms=fill.time_ms,
    )


def added(holding: Holding, qty: Decimal, price: Decimal, fee: Decimal = ZERO) -> Holding:
    """`qty` (> 0) more on the holding's own side, for a `fee`. The mean entry is rounded half-even to 12 decimals."""
    held = holding.qty
    moved = qty if held > ZERO else -qty
    mean = (held * holding.avg_entry + moved * price) / (held + moved)
    return Holding(
        held + moved,
        on_grid(mean),
        holding.base_qty + qty,
        holding.risk_per_unit,
        holding.realized_pnl,
        holding.fees + fee if fee else holding.fees,
        holding.opened_ms,
        holding.funding,
        holding.other_fees,
        holding.origin,
    )


def reduced(holding: Holding, qty: Decimal, price: Decimal, fee: Decimal = ZERO) -> Holding:
    """`qty` (0 < qty <= held) less, its profit realized, for a `fee`."""
    moved = -qty if holding.qty > ZERO else qty
    return Holding(
        holding.qty + moved,
        holding.avg_entry,
        holding.base_qty,
        holding.risk_per_unit,
        holding.realized_pnl + (holding.avg_entry - price) * moved,
        holding.fees + fee if fee else holding.fees,
        holding.opened_ms,
        holding.funding,
        holding.other_fees,
        holding.origin,
    )


def charged(holding: Holding, fee: Decimal | None, asset: str | None) -> Holding:
    """`holding` after paying `fee` (negative: a rebate) in `asset`, or in quote currency when that is None."""
    if fee is None:
        return holding
    if asset is None:
        return holding._replace(fees=holding.fees + fee)
    return holding._replace(other_fees=_plus(holding.other_fees, asset, fee))


def funded(holding: Holding, amount: Decimal, asset: str | None) -> Holding:
    """`holding` after receiving `amount` (negative: paying it)."""
    if asset is None:
        return holding._replace(funding=holding.funding + amount)
    return holding._replace(other_fees=_plus(holding.other_fees, asset, -amount))


def adopted(adopt: Adopt, terms: RiskTerms) -> Holding:
    """A new lifecycle of what the exchange says is held (`adopt.qty` != 0)."""
    sign = 1 if adopt.qty > 0 else -1
    stop = usable_stop(adopt.entry, adopt.stop, sign)
    return Holding(
        qty=adopt.qty,
        avg_entry=adopt.entry,
        base_qty=abs(adopt.qty),
        risk_per_unit=terms.per_unit(adopt.entry) if stop is None else abs(adopt.entry - stop),
        opened_ms=adopt.time_ms,
        origin=Origin.ADOPTED,
    )


def corrected(holding: Holding, adopt: Adopt) -> Holding:
    """The same lifecycle with the exchange's quantity, of the same sign or 0. No profit is invented for the
    difference.
    """
    return holding._replace(
        qty=adopt.qty,
        avg_entry=adopt.entry if adopt.qty else holding.avg_entry,
        base_qty=holding.base_qty + max(ZERO, abs(adopt.qty) - abs(holding.qty)),
        origin=Origin.ADOPTED,
    )


def _plus(amounts: Amounts, asset: str, amount: Decimal) -> Amounts:
    sums = dict(amounts)
    return tuple(sorted({**sums, asset: sums.get(asset, ZERO) + amount}.items()))
