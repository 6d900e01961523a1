"""How a desk harvests: everything a decision needs to know besides the position and the guards."""

from dataclasses import dataclass, field
from decimal import Decimal

from kernel.ladder import Ladder
from kernel.quantities import GRID, ZERO


@dataclass(frozen=True, slots=True)
class Instrument:
    """An exchange's limits: quantity `step` and `min_qty` (base currency), `min_notional` (quote currency)."""

    step: Decimal = GRID
    min_qty: Decimal = ZERO
    min_notional: Decimal = ZERO

    def accepts(self, qty: Decimal, price: Decimal) -> bool:
        return qty > 0 and qty >= self.min_qty and qty * price >= self.min_notional


@dataclass(frozen=True, slots=True)
class Rules:
    """`be_plus_pct` and `min_stop_move_pct` are ratios of a price, `trail_atr_mult` is a multiple of the ATR.

    `live` reserves what is published; in shadow mode a rung is only spent.
    """

    ladder: Ladder
    set_be_at_r: Decimal = Decimal("0.5")
    be_plus_pct: Decimal = Decimal("0.002")
    trail_atr_mult: Decimal = Decimal("2.0")
    min_stop_move_pct: Decimal = Decimal("0.001")
    instrument: Instrument = field(default_factory=Instrument)
    live: bool = False
