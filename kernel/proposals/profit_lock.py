"""The profit lock: where the stop goes once R_net has reached `lock_R`.

What always holds of a lock:
1. It is proposed only at R_net >= `lock_R`.
2. It only tightens: strictly above the current stop of a long, strictly below that of a short.
3. A long and its mirrored short have mirrored locks.
"""

from kernel.proposals.snapshot import PositionSide, PositionSnapshot
from kernel.proposals.theta import HarvestTheta, LockMode


def locked_stop(position: PositionSnapshot, r_net: float, risk: float, theta: HarvestTheta) -> float | None:
    """The stop price (quote currency) that locks profit in; None if none is due or the current stop is as tight.

    `risk` is what one unit risks (quote currency). By `theta.lock_mode` the price is
    * entry * (1 + side * `be_plus_pct`), or
    * entry + side * `lock_R` * risk.
    """
    if r_net < theta.lock_R:
        return None
    stop = _lock_price(position, risk, theta)
    return stop if stop > 0 and _tightens(position, stop) else None


def _lock_price(position: PositionSnapshot, risk: float, theta: HarvestTheta) -> float:
    sign = position.side.sign
    if theta.lock_mode == LockMode.R_MULTIPLE:
        return position.entry_price + sign * theta.lock_R * risk
    return position.entry_price * (1.0 + sign * theta.be_plus_pct)


def _tightens(position: PositionSnapshot, stop: float) -> bool:
    if position.current_sl is None:
        return True
    return stop > position.current_sl if position.side is PositionSide.LONG else stop < position.current_sl
