"""How a desk harvests: everything a decision needs to know besides the position and the guards."""

from dataclasses import dataclass, field
from decimal import Decimal

from kernel.positions.instrument import Instrument
from kernel.positions.ladder import Ladder
from kernel.positions.quantities import ZERO


@dataclass(frozen=True, slots=True)
class Rules:
    """`be_plus_pct` and `min_stop_move_pct` are ratios of a price, `trail_atr_mult` is a multiple of the ATR, `atr` the
    ATR (a price difference) to trail by while no fill has named one, `cost_bps` what a way in and out costs, in 1/10000
    of the entry: it is taken off R.

    `live` reserves what is published; in shadow mode a rung is only spent. A harvest above the instrument's maximum is
    split into at most `max_parts` intents. `overrides` says in words which of these rules are the symbol's own.
    """

    ladder: Ladder
    set_be_at_r: Decimal = Decimal("0.5")
    be_plus_pct: Decimal = Decimal("0.002")
    trail_atr_mult: Decimal = Decimal("2.0")
    min_stop_move_pct: Decimal = Decimal("0.001")
    atr: Decimal | None = None
    cost_bps: Decimal = ZERO
    instrument: Instrument = field(default_factory=Instrument)
    max_parts: int = 30
    live: bool = False
    overrides: str = ""
