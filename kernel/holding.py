"""What a book holds in its current lifecycle, and the arithmetic of adding and reducing.

What always holds of a holding:
1. Entering quantity moves the average entry to the weighted mean; leaving quantity never moves it.
2. `base_qty` is all quantity entered in this lifecycle: it grows on adds and never shrinks.
3. `risk_per_unit` is set once, at the open.
"""

from dataclasses import dataclass, replace
from decimal import Decimal

from kernel.entry import Fill
from kernel.quantities import GRID, ZERO, on_grid

MIN_STOP_DISTANCE = Decimal("0.0001")
"""A stop nearer to the entry than this share of it measures no risk."""


@dataclass(frozen=True, slots=True)
class Holding:
    """`qty` is signed (long > 0) in base currency; prices and money are in quote currency.

    `realized_pnl` is gross of `fees`; both count from the open of this lifecycle.
    """

    qty: Decimal = ZERO
    avg_entry: Decimal = ZERO
    base_qty: Decimal = ZERO
    risk_per_unit: Decimal = ZERO
    realized_pnl: Decimal = ZERO
    fees: Decimal = ZERO
    opened_ms: int = 0

    @property
    def sign(self) -> int:
        """+1 long, -1 short, 0 flat."""
        return (self.qty > 0) - (self.qty < 0)


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


def usable_stop(fill: Fill) -> Decimal | None:
    """The fill's stop if it lies on the losing side at a distance that measures a risk, else None."""
    if fill.stop_loss is None:
        return None
    distance = (fill.price - fill.stop_loss) * fill.side.sign
    if distance < fill.price * MIN_STOP_DISTANCE or distance >= fill.price:
        return None
    return fill.stop_loss


def opened(fill: Fill, qty: Decimal, terms: RiskTerms) -> Holding:
    """A new lifecycle: `qty` (> 0) of `fill` enters on the fill's side."""
    stop = usable_stop(fill)
    risk = terms.per_unit(fill.price) if stop is None else abs(fill.price - stop)
    return Holding(
        qty=qty * fill.side.sign,
        avg_entry=fill.price,
        base_qty=qty,
        risk_per_unit=risk,
        opened_ms=fill.time_ms,
    )


def added(holding: Holding, qty: Decimal, price: Decimal) -> Holding:
    """`qty` (> 0) more on the holding's own side. The mean entry is rounded half-even to 12 decimals."""
    held = abs(holding.qty)
    mean = (held * holding.avg_entry + qty * price) / (held + qty)
    return Holding(
        holding.qty + qty * holding.sign,
        on_grid(mean),
        holding.base_qty + qty,
        holding.risk_per_unit,
        holding.realized_pnl,
        holding.fees,
        holding.opened_ms,
    )


def reduced(holding: Holding, qty: Decimal, price: Decimal) -> Holding:
    """`qty` (0 < qty <= held) less, its profit realized."""
    sign = holding.sign
    return Holding(
        holding.qty - qty * sign,
        holding.avg_entry,
        holding.base_qty,
        holding.risk_per_unit,
        holding.realized_pnl + (price - holding.avg_entry) * qty * sign,
        holding.fees,
        holding.opened_ms,
    )


def charged(holding: Holding, fee: Decimal | None) -> Holding:
    """`holding` after paying `fee` (negative: a rebate)."""
    return holding if fee is None else replace(holding, fees=holding.fees + fee)
