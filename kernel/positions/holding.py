"""What a book holds in its current lifecycle, and the arithmetic of adding to it and reducing it.

A lifecycle goes from the open of a position to its close. What always holds of a holding:
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
"""A stop nearer to the entry than this share of the entry does not measure a risk."""

Amounts = tuple[tuple[str, Decimal], ...]
"""Amounts by asset, ordered by the asset's name."""


class Origin(StrEnum):
    """Where the quantity of a holding comes from."""

    FILLS = "fills"
    ADOPTED = "adopted"
    """The exchange snapshot, which the fills do not explain."""


class Holding(NamedTuple):
    """What is held: `qty` is signed (long > 0), `avg_entry` the mean entry price, `base_qty` all quantity entered.

    Quantities are in base currency, prices and money in quote currency; `other_fees` are in other assets.
    `risk_per_unit` is the distance from the entry to the stop when the position opened. `realized_pnl` is before `fees`
    (paid) and `funding` (received). All count from the open of this lifecycle, at `opened_ms` (unix ms).
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
        """Realized so far, after fees and funding: `realized_pnl` - `fees` + `funding` (quote currency)."""
        return self.realized_pnl - self.fees + self.funding

    def unrealized_pnl(self, price: Decimal) -> Decimal:
        """Profit of closing all of it at `price`: (price - mean entry) * signed quantity (quote currency)."""
        return (price - self.avg_entry) * self.qty


@dataclass(frozen=True, slots=True)
class RiskTerms:
    """The risk of a position that opens without a usable stop: a ratio of its entry price.

    `stop_dist_pct` is the distance that was published for the symbol; without one, or if it is 0 or less,
    `fallback_stop_pct` counts (0.02 is 2 %).
    """

    stop_dist_pct: Decimal | None = None
    fallback_stop_pct: Decimal = Decimal("0.02")

    def per_unit(self, entry: Decimal) -> Decimal:
        """Risk per unit (quote currency, > 0) of a position entered at `entry`; half-even to 12 decimals."""
        distance = self.stop_dist_pct
        if distance is None or distance <= 0:
            distance = self.fallback_stop_pct
        return max(on_grid(entry * distance), GRID)


DEFAULT_TERMS: Final = RiskTerms()


def usable_stop(entry: Decimal, stop: Decimal | None, sign: int) -> Decimal | None:
    """`stop` if it is on the losing side of `entry`, by `MIN_STOP_DISTANCE` or more and less than `entry`; else None.

    `sign` is that of the position: +1 long, -1 short.
    """
    if stop is None:
        return None
    distance = (entry - stop) * sign
    if distance < entry * MIN_STOP_DISTANCE or distance >= entry:
        return None
    return stop


def opened(fill: Fill, qty: Decimal, terms: RiskTerms) -> Holding:
    """A new lifecycle: `qty` (> 0, base currency) of `fill` is held on the fill's side."""
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
    """`holding` with `qty` (> 0) more on its own side, for a `fee` (quote currency).

    The mean entry is (held * mean entry + qty * price) / (held + qty), rounded half-even to 12 decimals.
    """
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
    """`holding` with `qty` (0 < qty <= held) less, for a `fee` (quote currency).

    The profit realized is side * qty * (price - mean entry).
    """
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
    """`holding` after receiving `amount` (negative: paid) in `asset`, or in quote currency when that is None."""
    if asset is None:
        return holding._replace(funding=holding.funding + amount)
    return holding._replace(other_fees=_plus(holding.other_fees, asset, -amount))


def adopted(adopt: Adopt, terms: RiskTerms) -> Holding:
    """A new lifecycle of what the exchange snapshot says is held (`adopt.qty` != 0)."""
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
    """The same lifecycle with the exchange's quantity, of the same sign or 0.

    No profit is realized: the prices of the fills that are missing are not known.
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
