"""Profit counted in units of the risk that was taken.

What always holds of R_net:
1. It does not depend on the size of the position: profit per unit over risk per unit.
2. A long and its mirrored short have the same R_net.
"""

from kernel.proposals.market import P1Proposal
from kernel.proposals.snapshot import PositionSnapshot
from kernel.proposals.theta import HarvestTheta


def risk_unit(entry_price: float, p1_proposal: P1Proposal | None, theta: HarvestTheta) -> float:
    """What one unit risks: entry * the published stop distance, or `fallback_stop_pct` (quote currency, > 0)."""
    given = p1_proposal.stop_dist_pct if p1_proposal else None
    return entry_price * (given if given is not None and given > 0 else theta.fallback_stop_pct)


def cost_estimate(entry_price: float, theta: HarvestTheta) -> float:
    """What closing one unit costs: entry * `cost_bps` / 10000 (quote currency)."""
    return entry_price * (theta.cost_bps / 10000.0)


def r_net(position: PositionSnapshot, cost: float, risk: float) -> float:
    """R multiple net of costs: (unrealized profit / quantity - cost) / risk, all of one unit in quote currency."""
    return (position.unrealized_pnl / position.qty - cost) / risk
