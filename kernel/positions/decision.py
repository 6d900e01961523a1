"""Which intents a position owes now, and what becomes of it when they are published or held back.

What always holds of a decision:
1. Each rung of a lifecycle is published at most once per attempt; rungs crossed together make one harvest.
2. What is decided depends on the position, the rules and the guards alone.
3. A refusal is news once per action and reason; a publication always.
4. Deciding again with the same guards publishes nothing and brings no news.
"""

from collections.abc import Callable
from decimal import getcontext, localcontext
from typing import NamedTuple

from kernel.positions.guards import Guards, Refusal
from kernel.positions.harvest import DueHarvest, due_harvest
from kernel.positions.intent import Intent
from kernel.positions.ladder_state import Reservation
from kernel.positions.mark import MarkState
from kernel.positions.position import Position
from kernel.positions.quantities import DIGITS, EXACT
from kernel.positions.r_multiple import reaches
from kernel.positions.rules import Rules
from kernel.positions.stops import break_even_price, due_stop, is_tighter, with_stop


class Decision(NamedTuple):
    """One due action: published when `refusal` is None, else held back for that reason.

    `intents` are what was due; none when there was nothing to ask for (nothing left, below the minimum). `noted`: the
    same was refused for the same reason when it was looked at last.
    """

    position_id: str
    action: str
    intents: tuple[Intent, ...]
    refusal: Refusal | None
    noted: bool = False


Decided = tuple[Position, Guards, list[Decision]]


class _Due(NamedTuple):
    """An action that is due: its intents, or what prevents them, and the position once they are out."""

    action: str
    intents: tuple[Intent, ...]
    prevented: Refusal | None
    published: Callable[[], Position]


def decide(position: Position, rules: Rules, guards: Guards) -> Decided:
    """The position after deciding, what is left of the guards, and what was decided."""
    if getcontext().prec < DIGITS:
        with localcontext(EXACT):
            return decide(position, rules, guards)
    made: list[Decision] = []
    mark = position.mark
    if mark is None or not position.holding.qty:
        return position, guards, made
    stops = position.ladder_state.break_even or reaches(position.holding, mark.price, rules, rules.set_be_at_r)
    if stops:
        position = _past_break_even(position, rules)
    for owed in _IN_ORDER if stops else _BEFORE_BREAK_EVEN:
        due = owed(position, mark, rules)
        if due is None:
            if owed is _stop:
                break
            continue
        refusal = due.prevented or guards.refusal(due.intents, position)
        noted = refusal is not None and (due.action, refusal.value) in position.ladder_state.held
        if refusal is None:
            position = due.published()
            guards = guards.spent(len(due.intents))
        elif not noted:
            position = position._replace(ladder_state=position.ladder_state.held_back(due.action, refusal.value))
        made.append(Decision(position.position_id, due.action, due.intents, refusal, noted))
    return position, guards, made


def _harvest(position: Position, mark: MarkState, rules: Rules) -> _Due | None:
    found = due_harvest(position, mark, rules)
    if found is None:
        return None
    action, due = found
    if isinstance(due, Refusal):
        return _Due(action, (), due, lambda: position)
    return _Due(action, due.intents, None, lambda: harvested(position, due, rules.live))


def _stop(position: Position, mark: MarkState, rules: Rules) -> _Due | None:
    intent = due_stop(position, mark, rules)
    if intent is None:
        return None
    # Held back by what it is for, not by its price: that may be another one at each tick.
    action = intent.action.partition(":")[0]
    return _Due(action, (intent,), None, lambda: moved(position, action, intent))


_IN_ORDER = (_harvest, _stop, _stop)
"""A move to break-even may make a trailing one due: whatever is due is decided in one look, so that looking again
at the same entries decides nothing more."""
_BEFORE_BREAK_EVEN = (_harvest,)
"""No stop moves before the mark was at break-even."""


def harvested(position: Position, harvest: DueHarvest, live: bool) -> Position:
    """`position` once `harvest` is out: its rungs are spent and, live, each part's quantity is reserved."""
    placed = tuple(Reservation(i.intent_id, i.qty, harvest.claims, i.time_ms) for i in harvest.intents) if live else ()
    return position._replace(ladder_state=position.ladder_state.fired(harvest.claims, harvest.left_over, placed))


def moved(position: Position, action: str, intent: Intent) -> Position:
    """`position` once the stop move `intent` is out."""
    state = position.ladder_state.let_go(action)
    if intent.stop_price is not None:
        state = with_stop(state, intent.stop_price, intent.qty)
    return position._replace(ladder_state=state)


def _past_break_even(position: Position, rules: Rules) -> Position:
    """A stop that is already beyond break-even needs no move to it: trailing may begin."""
    if position.ladder_state.break_even or is_tighter(position, break_even_price(position, rules)):
        return position
    return position._replace(ladder_state=position.ladder_state._replace(break_even=True))
