"""The rules of harvesting: everything a decision needs besides the position and the guards."""

from dataclasses import dataclass, field
from decimal import Decimal

from kernel.positions.instrument import Instrument
from kernel.positions.ladder import Ladder
from kernel.positions.quantities import ZERO


@dataclass(frozen=True, slots=True)
class Rules:
    """How positions of one symbol are harvested, and how their stop moves.

    The stop goes to break-even at R multiple `set_be_at_r`: to the entry plus `be_plus_pct` (a ratio of it; 0.002 is
    0.2 %). Then it trails the best price by `trail_atr_mult` ATRs, in moves of at least `min_stop_move_pct` (a ratio of
    the stop). `atr` (a price difference) counts while no fill has named one. `cost_bps` is what entry and exit cost
    together, in ten-thousandths of the entry; R is net of it.

    A harvest above the instrument's maximum is split into at most `max_parts` intents. `live`: what is published is
    reserved until its order ends; otherwise (shadow mode) its rung is only spent. `overrides` is text for the journal:
    which of these rules are the symbol's own.
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
