"""The protective stop: once to break-even, then it trails the best price at a distance of ATRs.

What always holds of a stop:
1. It only tightens, and never crosses to the wrong side of the mark.
2. It trails only after break-even is set, in moves of at least `min_stop_move_pct`.
3. Its price is on the instrument's tick, rounded towards the market.
4. It is published again for another quantity only if that differs by a tenth or more, and no open intent may change
   it again.
"""

from decimal import Decimal

from kernel.positions.entry import Side
from kernel.positions.intent import Intent, IntentKind, intent_id, reason_text, resize_action, stop_action
from kernel.positions.ladder_state import LadderState
from kernel.positions.mark import MarkState
from kernel.positions.position import Position
from kernel.positions.quantities import on_grid, plain
from kernel.positions.r_multiple import r_multiple
from kernel.positions.rules import Rules

MIN_RESIZE = Decimal("0.1")
"""A stop follows the quantity held in steps of this share: many small fills must not use up the rate limit."""


def due_stop(position: Position, mark: MarkState, rules: Rules) -> Intent | None:
    """The stop move that is due now, or None. Call it for a position whose R is, or was, at `set_be_at_r` or more."""
    if not position.ladder_state.break_even:
        return _break_even(position, mark, rules)
    return _trailing(position, mark, rules) or _resized(position, mark, rules)


def with_stop(state: LadderState, stop_price: Decimal, qty: Decimal) -> LadderState:
    """`state` after a stop move is published. After any move, break-even is set."""
    return state._replace(stop=stop_price, stop_qty=qty, break_even=True)


def break_even_price(position: Position, rules: Rules) -> Decimal:
    """Mean entry * (1 + side * `be_plus_pct`), on the tick (quote currency)."""
    holding = position.holding
    return rules.instrument.stop_price(holding.avg_entry * (1 + rules.be_plus_pct * holding.sign), holding.sign)


def trailing_distance(position: Position, rules: Rules) -> Decimal | None:
    """`trail_atr_mult` * ATR (quote currency): how far the stop trails the best price; None while no ATR is known."""
    atr = position.ladder_state.atr or rules.atr
    return None if atr is None else rules.trail_atr_mult * atr


def is_tighter(position: Position, stop_price: Decimal) -> bool:
    """Whether `stop_price` protects more than the stop in place."""
    stop = position.ladder_state.stop
    return stop is None or (stop_price - stop) * position.holding.sign > 0


def _break_even(position: Position, mark: MarkState, rules: Rules) -> Intent | None:
    stop_price = break_even_price(position, rules)
    if not is_tighter(position, stop_price) or not _protects(position, mark, stop_price):
        return None
    action = stop_action(IntentKind.MOVE_SL_BE, stop_price)
    reason = reason_text(r_multiple(position, rules), plain(rules.set_be_at_r))
    return _move(position, mark, IntentKind.MOVE_SL_BE, action, stop_price, reason)


def _trailing(position: Position, mark: MarkState, rules: Rules) -> Intent | None:
    stop, distance = position.ladder_state.stop, trailing_distance(position, rules)
    if distance is None or stop is None:
        return None
    sign = position.holding.sign
    best = mark.peak if sign > 0 else mark.trough
    wanted = best - distance * sign
    if wanted <= 0:
        return None
    stop_price = rules.instrument.stop_price(wanted, sign)
    if abs(stop_price - stop) < stop * rules.min_stop_move_pct or not is_tighter(position, stop_price):
        return None
    if not _protects(position, mark, stop_price):
        return None
    action = stop_action(IntentKind.TRAIL_UPDATE, stop_price)
    reason = f"{plain(distance)} behind {plain(best)}"
    return _move(position, mark, IntentKind.TRAIL_UPDATE, action, stop_price, reason)


def _resized(position: Position, mark: MarkState, rules: Rules) -> Intent | None:
    """The stop in place, for the quantity held now; None while a reservation may still change that."""
    stop, stop_qty = position.ladder_state.stop, position.ladder_state.stop_qty
    if stop is None or stop_qty is None or position.ladder_state.reservations:
        return None
    holding = position.holding
    qty = abs(holding.qty)
    if abs(qty - stop_qty) < stop_qty * MIN_RESIZE:
        return None
    if not _protects(position, mark, stop):
        return None
    action = resize_action(stop, holding.base_qty, qty)
    reason = f"for {plain(qty)}, it was for {plain(stop_qty)}"
    return _move(position, mark, IntentKind.TRAIL_UPDATE, action, stop, reason)


def _protects(position: Position, mark: MarkState, stop_price: Decimal) -> bool:
    return (mark.price - stop_price) * position.holding.sign > 0


def _move(
    position: Position, mark: MarkState, kind: IntentKind, action: str, stop_price: Decimal, reason: str
) -> Intent:
    holding = position.holding
    return Intent(
        intent_id=intent_id(position.position_id, action),
        position_id=position.position_id,
        kind=kind,
        action=action,
        book=position.book,
        side=Side.SELL if holding.qty > 0 else Side.BUY,
        qty=abs(holding.qty),
        rungs=(),
        reason=reason,
        mark=mark.price,
        time_ms=mark.time_ms,
        entry_price=holding.avg_entry,
        unrealized_pnl=on_grid(holding.unrealized_pnl(mark.price)),
        stop_price=stop_price,
    )
