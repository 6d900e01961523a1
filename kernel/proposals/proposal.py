"""A proposal for a position: the action, the stop, and the reasons.

What always holds of a proposal:
1. It is a function of its arguments alone.
2. The action is the partial exit earned, unless the kill score triggers: then it is FULL_CLOSE_PROPOSED.
3. Reason codes come in one order: the partial exit, the lock, the kill score, and after that its components.
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
    """Why a proposal says what it does."""

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
    """What is suggested. `new_sl_proposed` is a price (quote currency), or None to leave the stop where it is.

    `risk_unit` and `cost_est` are of one unit, in quote currency; `R_net` counts risk units, after costs. `kill_score`
    is from 0.5 to 1, with its `k_components`. `tranche_weights` (three shares that sum to 1) are for the record only.
    """

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
    """The proposal for `position` in this market, computed in floats.

    * risk unit = entry price * `p1_proposal.stop_dist_pct`, or `fallback_stop_pct` if that is not given
    * R_net = (unrealized profit / quantity - entry price * `cost_bps` / 10000) / risk unit
    * the partial exit: the highest level of `theta` that R_net has reached
    * the stop: `profit_lock.locked_stop`
    * the kill score: `kill_score.kill_score`; from `kill_threshold` on the action is FULL_CLOSE_PROPOSED

    `theta` defaults to `HarvestTheta()`. Raises nothing: each argument has checked its numbers when it was made.
    """
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
