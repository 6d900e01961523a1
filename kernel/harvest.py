"""The ladder applied to a position: which rungs are due, and how much they take.

What always holds of a harvest:
1. A rung is due at R >= its level while it is armed; rungs due together make one intent.
2. Its quantity is positive, on the instrument's step, and at most what is held and not reserved.
3. What rounding leaves over is carried to the next rung; a remainder under the minimum is closed along.
"""

from collections.abc import Sequence
from decimal import Decimal

from kernel.entry import Side
from kernel.guards import Refusal
from kernel.intent import Intent, IntentKind, harvest_action, intent_id, r_multiple, reason_text
from kernel.ladder import Basis, Rung
from kernel.position import Position
from kernel.quantities import ZERO, floor_to_step, on_grid
from kernel.quote import Quote
from kernel.rules import Rules


def due_rungs(position: Position, quote: Quote, rules: Rules) -> list[Rung]:
    """The armed rungs at or under the position's R, in ascending order."""
    holding, spent = position.holding, position.progress.spent
    move = (quote.mark - holding.avg_entry) * holding.sign
    return [r for r in rules.ladder.rungs if move >= r.r * holding.risk_per_unit and r.name not in spent]


def due_harvest(position: Position, quote: Quote, rules: Rules) -> tuple[str, Intent | Refusal] | None:
    """The action that is due with its intent, or with what prevents one; None when no rung is due."""
    rungs = due_rungs(position, quote, rules)
    if not rungs:
        return None
    names = tuple(rung.name for rung in rungs)
    action = harvest_action(names, position.progress.attempt(names))
    if position.available <= 0:
        return action, Refusal.NOTHING_LEFT
    wanted = _wanted(position, rungs, rules.ladder.basis)
    rounded = floor_to_step(max(wanted, ZERO), rules.instrument.step)
    qty = min(position.available, rounded)
    if not rules.instrument.accepts(qty, quote.mark):
        return action, Refusal.BELOW_MINIMUM
    rest = position.available - qty
    if rest and not rules.instrument.accepts(rest, quote.mark):
        qty = position.available
    return action, _intent(position, quote, action, names, qty, wanted - rounded)


def _wanted(position: Position, rungs: Sequence[Rung], basis: Basis) -> Decimal:
    """The quantity the rungs ask for, with what earlier ones left over."""
    whole = position.holding.base_qty if basis is Basis.ORIGINAL else position.available
    return whole * sum((rung.fraction for rung in rungs), ZERO) + position.progress.carry


def _intent(
    position: Position, quote: Quote, action: str, names: tuple[str, ...], qty: Decimal, left_over: Decimal
) -> Intent:
    holding = position.holding
    return Intent(
        intent_id=intent_id(position.position_id, action),
        position_id=position.position_id,
        kind=IntentKind.HARVEST,
        action=action,
        book=position.book,
        side=Side.SELL if holding.qty > 0 else Side.BUY,
        qty=qty,
        rungs=names,
        reason=reason_text(r_multiple(position), names[-1]),
        mark=quote.mark,
        time_ms=quote.time_ms,
        entry_price=holding.avg_entry,
        unrealized_pnl=on_grid((quote.mark - holding.avg_entry) * holding.qty),
        carried=position.progress.carry - left_over,
    )
