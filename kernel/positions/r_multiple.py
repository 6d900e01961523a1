"""What a holding has gained, per unit and in multiples of its risk: the R that rungs and stops are compared with.

What always holds of R:
1. It does not depend on the quantity held.
2. A long and its mirrored short have the same R.
3. A level is compared with exactly (`reaches`); the quotient (`r_multiple`) is only shown.
"""

from decimal import Decimal

from kernel.positions.holding import Holding
from kernel.positions.position import Position
from kernel.positions.quantities import EXACT, ZERO
from kernel.positions.rules import Rules

BASIS_POINT = Decimal("0.0001")


def per_unit(holding: Holding, mark: Decimal, rules: Rules) -> Decimal:
    """The move from the mean entry to `mark` in the holding's favour, less costs (quote currency)."""
    move = mark - holding.avg_entry if holding.qty > ZERO else holding.avg_entry - mark
    return move - holding.avg_entry * rules.cost_bps * BASIS_POINT if rules.cost_bps else move


def reaches(holding: Holding, mark: Decimal, rules: Rules, r: Decimal) -> bool:
    """Whether the holding's R at `mark` is `r` or more."""
    return per_unit(holding, mark, rules) >= r * holding.risk_per_unit


def price_at(holding: Holding, rules: Rules, r: Decimal) -> Decimal:
    """The mark at which the holding's R is `r`; exact."""
    cost = holding.avg_entry * rules.cost_bps * BASIS_POINT
    return holding.avg_entry + holding.sign * (r * holding.risk_per_unit + cost)


def r_multiple(position: Position, rules: Rules) -> Decimal:
    """Profit per unit over risk per unit; 0 when flat or without a mark."""
    holding, mark = position.holding, position.mark
    if mark is None or not holding.qty:
        return ZERO
    return EXACT.divide(per_unit(holding, mark.price, rules), holding.risk_per_unit)
