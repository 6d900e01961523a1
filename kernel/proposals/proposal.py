"""What a harvest of a position would look like: the action, the stop, and why.

What always holds of a proposal:
1. It is a function of its inputs alone.
2. The action is the partial exit earned, unless the kill score triggers: then it is FULL_CLOSE_PROPOSED.
3. Reason codes come in one order: the partial, the lock, the kill score and, only after it, its components.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from kernel.proposals.kill_score import KillComponents, kill_components, kill_score
from kernel.proposals.market import MarketState, P1Proposal
from kernel.proposals.partial_exit import HarvestAction, TrancheWeights, partial_action, tranche_weights
from kernel.proposals.profit_lock import locked_stop
from kernel.proposals.r_net import cost_estimate, r_net, risk_unit
from kernel.proposals.snapshot import PositionSnapshot
from kernel.proposals.theta import HarvestTheta


class ReasonCode(StrEnum):
    HARVEST_PARTIAL_25 = "harvest_partial_25"
    HARVEST_PARTIAL_50 = "harvest_partial_50"
    HARVEST_PARTIAL_75 = "harvest_partial_75"
    PROFIT_LOCK = "profit_lock"
    KILL_SCORE_TRIGGERED = "kill_score_triggered"
    REGIME_FLIP = "regime_flip"
    SIGMA_SPIKE = "sigma_spike"
    TS_DROP = "ts_drop"
    AGE_PENALTY = "age_penalty"


@dataclass(frozen=True, slots=True)
class HarvestProposal:
    """Prices, `risk_unit` and `cost_est` are in quote currency per unit; `R_net` counts risk units."""

    harvest_action: HarvestAction
    new_sl_proposed: float | None
    R_net: float
    risk_unit: float
    cost_est: float
    kill_score: float
    reason_codes: tuple[ReasonCode, ...]
    k_components: KillComponents
    tranche_weights: TrancheWeights


DEFAULT_THETA = HarvestTheta()

_PARTIAL_CODES = {
    HarvestAction.PARTIAL_25: ReasonCode.HARVEST_PARTIAL_25,
    HarvestAction.PARTIAL_50: ReasonCode.HARVEST_PARTIAL_50,
    HarvestAction.PARTIAL_75: ReasonCode.HARVEST_PARTIAL_75,
}


def compute_harvest_proposal(
    position: PositionSnapshot,
    market_state: MarketState,
    p1_proposal: P1Proposal | None = None,
    theta: HarvestTheta | None = None,
) -> HarvestProposal:
    theta = theta or DEFAULT_THETA
    risk = risk_unit(position.entry_price, p1_proposal, theta)
    cost = cost_estimate(position.entry_price, theta)
    r = r_net(position, cost, risk)
    partial = partial_action(r, theta)
    stop = locked_stop(position, r, risk, theta)
    components = kill_components(market_state, position.age_sec, theta)
    score = kill_score(components, theta)
    killed = score >= theta.kill_threshold
    return HarvestProposal(
        harvest_action=HarvestAction.FULL_CLOSE_PROPOSED if killed else partial,
        new_sl_proposed=stop,
        R_net=r,
        risk_unit=risk,
        cost_est=cost,
        kill_score=score,
        reason_codes=tuple(_reasons(partial, stop is not None, components if killed else None)),
        k_components=components,
        tranche_weights=tranche_weights(theta.u1, theta.u2, theta.u3, theta.softmax_temp),
    )


def _reasons(partial: HarvestAction, locked: bool, killers: KillComponents | None) -> Iterator[ReasonCode]:
    if code := _PARTIAL_CODES.get(partial):
        yield code
    if locked:
        yield ReasonCode.PROFIT_LOCK
    if killers:
        yield ReasonCode.KILL_SCORE_TRIGGERED
        yield from _kill_reasons(killers)


def _kill_reasons(components: KillComponents) -> Iterator[ReasonCode]:
    if components.regime_flip > 0:
        yield ReasonCode.REGIME_FLIP
    if components.sigma_spike > 0.5:
        yield ReasonCode.SIGMA_SPIKE
    if components.ts_drop > 0.2:
        yield ReasonCode.TS_DROP
    if components.age_penalty > 0.5:
        yield ReasonCode.AGE_PENALTY
