"""The protective stop: to break-even once, then after the peak at a distance of ATRs.

What always holds of a stop:
1. It only tightens, and never crosses to the wrong side of the mark.
2. It trails only after break-even is set, and moves only by more than `min_stop_move_pct`.
"""

from dataclasses import replace
from decimal import Decimal

from kernel.entry import Side
from kernel.intent import Intent, IntentKind, intent_id, r_multiple, reason_text, stop_action
from kernel.position import Position
from kernel.progress import Progress
from kernel.quantities import on_grid, plain
from kernel.quote import Quote
from kernel.rules import Rules


def due_stop(position: Position, quote: Quote, rules: Rules) -> tuple[str, Intent] | None:
    """The action that is due now with its intent, or None."""
    owed = _trailing if position.progress.break_even else _break_even
    intent = owed(position, quote, rules)
    return None if intent is None else (intent.action, intent)


def with_stop(progress: Progress, stop_price: Decimal) -> Progress:
    """After a published stop move: every move implies that break-even is behind."""
    return replace(progress, stop=stop_price, break_even=True)


def at_break_even(position: Position, quote: Quote, rules: Rules) -> bool:
    """Whether the mark is at or beyond the R at which break-even is set."""
    holding = position.holding
    move = (quote.mark - holding.avg_entry) * holding.sign
    return move >= rules.set_be_at_r * holding.risk_per_unit


def break_even_price(position: Position, rules: Rules) -> Decimal:
    """The entry plus, for a short minus, `be_plus_pct`; rounded half-even to 12 decimals."""
    return on_grid(position.holding.avg_entry * (1 + rules.be_plus_pct * position.holding.sign))


def is_tighter(position: Position, stop_price: Decimal) -> bool:
    """Whether `stop_price` protects more than the stop in place."""
    stop = position.progress.stop
    return stop is None or (stop_price - stop) * position.holding.sign > 0


def _break_even(position: Position, quote: Quote, rules: Rules) -> Intent | None:
    if not at_break_even(position, quote, rules):
        return None
    stop_price = break_even_price(position, rules)
    if not is_tighter(position, stop_price) or not _protects(position, quote, stop_price):
        return None
    return _move(position, quote, IntentKind.MOVE_SL_BE, stop_price, plain(rules.set_be_at_r))


def _trailing(position: Position, quote: Quote, rules: Rules) -> Intent | None:
    atr, stop = position.progress.atr, position.progress.stop
    if atr is None or stop is None:
        return None
    long = position.holding.qty > 0
    distance = rules.trail_atr_mult * atr
    stop_price = on_grid(quote.peak - distance if long else quote.trough + distance)
    moved = abs(stop_price - stop) > stop * rules.min_stop_move_pct
    if stop_price <= 0 or not moved or not is_tighter(position, stop_price):
        return None
    if not _protects(position, quote, stop_price):
        return None
    return _move(position, quote, IntentKind.TRAIL_UPDATE, stop_price, plain(rules.set_be_at_r))


def _protects(position: Position, quote: Quote, stop_price: Decimal) -> bool:
    return (quote.mark - stop_price) * position.holding.sign > 0


def _move(position: Position, quote: Quote, kind: IntentKind, stop_price: Decimal, level: str) -> Intent:
    holding = position.holding
    action = stop_action(kind, stop_price)
    return Intent(
        intent_id=intent_id(position.position_id, action),
        position_id=position.position_id,
        kind=kind,
        action=action,
        book=position.book,
        side=Side.SELL if holding.qty > 0 else Side.BUY,
        qty=abs(holding.qty),
        rungs=(),
        reason=reason_text(r_multiple(position), level),
        mark=quote.mark,
        time_ms=quote.time_ms,
        entry_price=holding.avg_entry,
        unrealized_pnl=on_grid((quote.mark - holding.avg_entry) * holding.qty),
        stop_price=stop_price,
    )
