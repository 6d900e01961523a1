"""The kill score K: one number for how much speaks for closing a position in full.

K = sigmoid(sum of weight * component), over four components that are never negative. What always holds:
1. K is at least 0.5, which means that nothing speaks for closing.
2. With the default weights K is at most 0.93 (sigmoid(2.55)): 1 is never reached.
3. K never falls when a component grows.
4. `regime_flip` is 0 or 1; `sigma_spike` lies in [0, 2], `ts_drop` in [0, 0.5], `age_penalty` in [0, 1].
"""

from dataclasses import dataclass
from math import exp

from kernel.proposals.market import MarketState
from kernel.proposals.theta import HarvestTheta


@dataclass(frozen=True, slots=True)
class KillComponents:
    """What speaks for closing; each is a pure number in the range of rule 4."""

    regime_flip: float
    sigma_spike: float
    ts_drop: float
    age_penalty: float


def kill_components(market: MarketState, age_sec: float, theta: HarvestTheta) -> KillComponents:
    """`age_sec` is the position's age in seconds.

    * `regime_flip`: 1 if `p_trend` < `trend_min` and `p_chop` + `p_mr` > `counter_trend_min`, else 0
    * `sigma_spike`: sigma / `sigma_ref` - 1
    * `ts_drop`: `ts_ref` - ts
    * `age_penalty`: age / `max_age_sec`
    """
    flipped = market.p_trend < theta.trend_min and market.p_chop + market.p_mr > theta.counter_trend_min
    return KillComponents(
        1.0 if flipped else 0.0,
        _clamp(market.sigma / theta.sigma_ref - 1.0, 2.0),
        _clamp(theta.ts_ref - market.ts, 0.5),
        _clamp(age_sec / theta.max_age_sec, 1.0),
    )


def kill_score(components: KillComponents, theta: HarvestTheta) -> float:
    """K = 1 / (1 + exp(-sum of weight * component))."""
    return 1.0 / (
        1.0
        + exp(
            -theta.weight_regime_flip * components.regime_flip
            - theta.weight_sigma_spike * components.sigma_spike
            - theta.weight_ts_drop * components.ts_drop
            - theta.weight_age_penalty * components.age_penalty
        )
    )


def _clamp(value: float, high: float) -> float:
    """`value` within [0, high]."""
    if value <= 0.0:
        return 0.0
    return value if value < high else high
