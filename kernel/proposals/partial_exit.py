"""The partial exit that a position's R multiple has earned.

What always holds of a partial exit:
1. A level counts at R_net >= its R; a higher R_net never gives a smaller target.
2. Targets are cumulative shares of the original quantity: repeating a proposal asks for nothing more.
3. Tranche weights are not negative and sum to 1.
"""

from enum import StrEnum
from functools import lru_cache
from math import exp

from kernel.proposals.theta import HarvestTheta

TrancheWeights = tuple[float, float, float]


class HarvestAction(StrEnum):
    """What a proposal suggests: nothing, to close a share of the original quantity, or all of it."""

    NONE = "NONE"
    PARTIAL_25 = "PARTIAL_25"
    PARTIAL_50 = "PARTIAL_50"
    PARTIAL_75 = "PARTIAL_75"
    FULL_CLOSE_PROPOSED = "FULL_CLOSE_PROPOSED"

    @property
    def target(self) -> float:
        """The share of the original quantity that is closed once this action is done."""
        return _TARGETS[self]


_TARGETS = {
    HarvestAction.NONE: 0.0,
    HarvestAction.PARTIAL_25: 0.25,
    HarvestAction.PARTIAL_50: 0.5,
    HarvestAction.PARTIAL_75: 0.75,
    HarvestAction.FULL_CLOSE_PROPOSED: 1.0,
}


def partial_action(r_net: float, theta: HarvestTheta) -> HarvestAction:
    """The highest of the levels `T1_R`, `T2_R` and `T3_R` (risk units) that `r_net` has reached."""
    if r_net >= theta.T3_R:
        return HarvestAction.PARTIAL_75
    if r_net >= theta.T2_R:
        return HarvestAction.PARTIAL_50
    if r_net >= theta.T1_R:
        return HarvestAction.PARTIAL_25
    return HarvestAction.NONE


@lru_cache(maxsize=32)
def tranche_weights(u1: float, u2: float, u3: float, temperature: float) -> TrancheWeights:
    """The softmax of the levels' utilities u1, u2 and u3, for the record only: no action depends on it."""
    top = max(u1, u2, u3)
    e1, e2, e3 = (exp((u - top) / temperature) for u in (u1, u2, u3))
    total = e1 + e2 + e3
    return e1 / total, e2 / total, e3 / total
