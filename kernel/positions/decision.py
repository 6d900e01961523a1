"""Which intents of a position are due now, and the position after they are published or held back.

What always holds of a decision:
1. Each rung of a lifecycle is published at most once per attempt; rungs crossed together make one harvest.
2. It depends on the position, the rules and the guards alone.
3. A refusal is new (not `repeated`) once per action and reason.
4. Deciding again with the same guards publishes nothing, and every refusal is `repeated`.
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
    """One action that is due: published if `refusal` is None, else held back for that reason.

    `intents` are what is due; there are none if nothing can be asked for (nothing left, below the minimum). `repeated`:
    the same reason held the action back the last time.
    """

    position_id: str
    action: str
    intents: tuple[Intent, ...]
    refusal: Refusal | None
    repeated: bool = False


Decided = tuple[Position, Guards, list[Decision]]
"""The position and the guards after deciding, and the decisions in order."""


class _Due(NamedTuple):
    """An action that is due: its intents or, if there cannot be any, the `refusal`; and the position once published."""

    action: str
    intents: tuple[Intent, ...]
    refusal: Refusal | None
    published: Callable[[], Position]


def decide(position: Position, rules: Rules, guards: Guards) -> Decided:
    """Decide what is due of `position`. Returns the position and the guards after that, and the decisions.

    Harvests come first, then moves of the stop. Nothing is due of a position that is flat or has no mark. Exact in any
    decimal context. Pure: the caller publishes the intents of each decision without a `refusal`.
    """
    if getcontext().prec < DIGITS:
        with localcontext(EXACT):
            return decide(position, rules, guards)
    decisions: list[Decision] = []
    mark = position.mark
    if mark is None or not position.holding.qty:
        return position, guards, decisions
    stops = position.ladder_state.break_even or reaches(position.holding, mark.price, rules, rules.set_be_at_r)
    if stops:
        position = _past_break_even(position, rules)
    for step in _IN_ORDER if stops else _BEFORE_BREAK_EVEN:
        due = step(position, mark, rules)
        if due is None:
            if step is _stop:
                break
            continue
        position, guards, decision = _decided(position, guards, due)
        decisions.append(decision)
        if step is _stop and decision.refusal:
            break
    return position, guards, decisions


def _decided(position: Position, guards: Guards, due: _Due) -> tuple[Position, Guards, Decision]:
    refusal = due.refusal or guards.refusal(due.intents, position)
    repeated = refusal is not None and (due.action, refusal.value) in position.ladder_state.held
    if refusal is None:
        position = due.published()
        guards = guards.spent(len(due.intents))
    elif not repeated:
        position = position._replace(ladder_state=position.ladder_state.held_back(due.action, refusal.value))
    return position, guards, Decision(position.position_id, due.action, due.intents, refusal, repeated)


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
    # Held back under its kind alone: its price may change at each tick.
    action = intent.action.partition(":")[0]
    return _Due(action, (intent,), None, lambda: stop_moved(position, action, intent))


_IN_ORDER = (_harvest, _stop, _stop)
"""A published move to break-even may make a trailing one due. Both are decided in one call, so that deciding again
about the same entries publishes nothing more."""
_BEFORE_BREAK_EVEN = (_harvest,)
"""No stop moves before R has reached `set_be_at_r`."""


def harvested(position: Position, harvest: DueHarvest, live: bool) -> Position:
    """`position` once `harvest` is published: its rungs are spent and, if `live`, each part's quantity is reserved."""
    placed = tuple(Reservation(i.intent_id, i.qty, harvest.claims, i.time_ms) for i in harvest.intents) if live else ()
    return position._replace(ladder_state=position.ladder_state.fired(harvest.claims, harvest.left_over, placed))


def stop_moved(position: Position, action: str, intent: Intent) -> Position:
    """`position` once the stop move `intent` is published."""
    state = position.ladder_state.not_held_back(action)
    if intent.stop_price is not None:
        state = with_stop(state, intent.stop_price, intent.qty)
    return position._replace(ladder_state=state)


def _past_break_even(position: Position, rules: Rules) -> Position:
    """`position` with break-even set if its stop is at that price or beyond it already, so that trailing may begin."""
    if position.ladder_state.break_even or is_tighter(position, break_even_price(position, rules)):
        return position
    return position._replace(ladder_state=position.ladder_state._replace(break_even=True))
