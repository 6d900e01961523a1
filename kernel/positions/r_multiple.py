"""R: what a holding has gained, in multiples of what it risks. Every R in decimals is computed here.

R = side * (price - mean entry) / risk per unit, less costs where they are asked for. What always holds of R:
1. It does not depend on the quantity held.
2. A long and its mirrored short have the same R.
3. A level is compared with exactly (`reaches`); the quotient (`in_r`) is only shown, reported and kept as history.
"""

from decimal import ROUND_DOWN, Decimal
from typing import Final

from kernel.positions.holding import Holding
from kernel.positions.position import Position
from kernel.positions.quantities import EXACT, ZERO
from kernel.positions.rules import Rules

BASIS_POINT: Final = Decimal("0.0001")
_SHOWN: Final = Decimal("0.000001")


def profit_per_unit(holding: Holding, price: Decimal, cost_bps: Decimal) -> Decimal:
    """The move from the mean entry to `price` in the holding's favour, less `cost_bps` ten-thousandths of the entry.

    Quote currency; exact. The holding must be open.
    """
    move = price - holding.avg_entry if holding.qty > ZERO else holding.avg_entry - price
    return move - holding.avg_entry * cost_bps * BASIS_POINT if cost_bps else move


def reaches(holding: Holding, price: Decimal, rules: Rules, r: Decimal) -> bool:
    """Whether the holding's R at `price` is `r` or more."""
    return profit_per_unit(holding, price, rules.cost_bps) >= r * holding.risk_per_unit


def price_at(holding: Holding, rules: Rules, r: Decimal) -> Decimal:
    """The price at which the holding's R is `r`: mean entry + side * (r * risk per unit + costs); exact."""
    cost = holding.avg_entry * rules.cost_bps * BASIS_POINT
    return holding.avg_entry + holding.sign * (r * holding.risk_per_unit + cost)


def in_r(profit: Decimal, holding: Holding) -> Decimal:
    """`profit` of one unit (quote currency) as an R multiple: profit / risk per unit, to 80 digits."""
    return EXACT.divide(profit, holding.risk_per_unit)


def r_multiple(position: Position, rules: Rules) -> Decimal:
    """The position's R at its newest mark, net of `rules.cost_bps`; 0 when it is flat or has no mark."""
    holding, mark = position.holding, position.mark
    if mark is None or not holding.qty:
        return ZERO
    return in_r(profit_per_unit(holding, mark.price, rules.cost_bps), holding)


def net_r(holding: Holding) -> Decimal:
    """The R that a lifecycle realized: net profit / (risk per unit * all quantity entered); 0 before the first open."""
    risk = holding.risk_per_unit * holding.base_qty
    return EXACT.divide(holding.net_pnl, risk) if risk else ZERO


def shown_r(r: Decimal) -> Decimal:
    """`r` cut to 6 decimals, never rounded up: 0.4999999 does not read as 0.5."""
    return r.quantize(_SHOWN, rounding=ROUND_DOWN, context=EXACT)
