"""The parameters of the proposal formulas."""

from dataclasses import dataclass
from enum import StrEnum

from kernel.errors import InvalidTheta
from kernel.proposals import bounds


class LockMode(StrEnum):
    """Where a profit lock puts the stop."""

    BREAK_EVEN = "break_even"
    """At the entry plus `be_plus_pct` of it."""
    R_MULTIPLE = "r_multiple"
    """`lock_R` risk units from the entry: at the market itself when R_net has just reached `lock_R`."""


_LEVELS = ("T1_R", "T2_R", "T3_R", "lock_R")
_SCALES = ("sigma_ref", "max_age_sec", "softmax_temp")
_WEIGHTS = ("weight_regime_flip", "weight_sigma_spike", "weight_ts_drop", "weight_age_penalty")
_LOGITS = ("u1", "u2", "u3")


@dataclass(frozen=True, slots=True)
class HarvestTheta:
    """`*_R` count risk units, `*_pct` are shares of the entry (0.002 is 0.2 %), `cost_bps` its ten-thousandths.

    `T1_R` < `T2_R` < `T3_R` are the levels of the partial exits, `lock_R` that of the profit lock. `trend_min` and
    `counter_trend_min` say when the regime has flipped; these, `sigma_ref`, `ts_ref` and `max_age_sec` (seconds) give
    the components of the kill score, `weight_*` weigh them, and from `kill_threshold` on the action is a full close.
    `u1` to `u3` and `softmax_temp` give the tranche weights. Raises `InvalidNumber`, or `InvalidTheta` for parameters
    that contradict each other.
    """

    T1_R: float = 2.0
    T2_R: float = 4.0
    T3_R: float = 6.0
    fallback_stop_pct: float = 0.02
    cost_bps: float = 10.0
    lock_R: float = 1.5
    lock_mode: LockMode = LockMode.BREAK_EVEN
    be_plus_pct: float = 0.002
    kill_threshold: float = 0.6
    trend_min: float = 0.3
    counter_trend_min: float = 0.5
    sigma_ref: float = 0.01
    ts_ref: float = 0.3
    max_age_sec: float = 86400.0
    weight_regime_flip: float = 1.0
    weight_sigma_spike: float = 0.5
    weight_ts_drop: float = 0.5
    weight_age_penalty: float = 0.3
    u1: float = 1.0
    u2: float = 1.0
    u3: float = 1.0
    softmax_temp: float = 1.0

    def __post_init__(self) -> None:
        bounds.POSITIVE.check(self, (*_LEVELS, *_SCALES))
        bounds.FRACTION.check(self, ("fallback_stop_pct",))
        bounds.NON_NEGATIVE.check(self, ("cost_bps", "be_plus_pct", *_WEIGHTS))
        bounds.PROBABILITY.check(self, ("kill_threshold", "trend_min"))
        bounds.FINITE.check(self, ("counter_trend_min", "ts_ref", *_LOGITS))
        self._check_order()

    def _check_order(self) -> None:
        if not self.T1_R < self.T2_R < self.T3_R:
            raise InvalidTheta(f"partial levels must ascend: {self.T1_R:g}, {self.T2_R:g}, {self.T3_R:g}")
        if self.be_plus_pct >= 1:
            raise InvalidTheta(f"be_plus_pct is a share of the entry, below 1, not {self.be_plus_pct:g}")
        if self.lock_mode not in tuple(LockMode):
            raise InvalidTheta(f"lock_mode must be break_even or r_multiple, not {self.lock_mode!r}")
