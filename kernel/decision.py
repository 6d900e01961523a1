"""Which intents a position owes now, and what becomes of it when they are published or held back.

What always holds of a decision:
1. Each rung of a lifecycle is published at most once per attempt; rungs crossed together make one intent.
2. What is decided depends on the position, the rules and the guards alone.
3. A refusal is worth recording once per action and reason; a publication always.
4. Deciding again with the same guards decides nothing.
"""

from dataclasses import dataclass, replace

from kernel.guards import Guards, Refusal
from kernel.harvest import due_harvest
from kernel.intent import Intent, IntentKind
from kernel.position import Position
from kernel.progress import Progress, Reservation
from kernel.quote import Quote
from kernel.rules import Rules
from kernel.stops import at_break_even, break_even_price, due_stop, is_tighter, with_stop


@dataclass(frozen=True, slots=True)
class Decision:
    """One due action: published when `refusal` is None, else held back for that reason.

    `intent` is what was due; None when there was nothing to ask for (nothing left, below the minimum).
    """

    position_id: str
    action: str
    intent: Intent | None
    refusal: Refusal | None


Decided = tuple[Position, Guards, list[Decision]]

_IN_ORDER = (due_harvest, due_stop, due_stop)
"""A move to break-even may make a trailing one due: whatever is due is decided in one look, so that looking again
at the same entries decides nothing more."""


def decide(position: Position, rules: Rules, guards: Guards) -> Decided:
    """The position after deciding, what is left of the guards, and the decisions worth recording.

    Runs in the caller's decimal context, which must be exact (see `quantities.exact`).
    """
    made: list[Decision] = []
    quote = position.quote
    if quote is None or not position.holding.qty:
        return position, guards, made
    position = _past_break_even(position, quote, rules)
    for owed in _IN_ORDER:
        found = owed(position, quote, rules)
        if found is None:
            continue
        action, due = found
        refusal = due if isinstance(due, Refusal) else guards.refusal(due, position)
        intent = None if isinstance(due, Refusal) else due
        if refusal is None and intent is not None:
            position, guards = published(position, intent, rules), guards.spent()
        elif refusal is None or (action, refusal.value) in position.progress.held:
            continue
        else:
            position = replace(position, progress=position.progress.held_back(action, refusal.value))
        made.append(Decision(position.position_id, action, intent, refusal))
    return position, guards, made


def published(position: Position, intent: Intent, rules: Rules) -> Position:
    """`position` once `intent` is out: its rungs spent and, live, its quantity reserved; or its stop moved."""
    progress = position.progress.let_go(intent.action)
    if intent.kind is IntentKind.HARVEST:
        progress = _harvested(progress, intent, rules.live)
    elif intent.stop_price is not None:
        progress = with_stop(progress, intent.stop_price)
    return replace(position, progress=progress)


def _harvested(progress: Progress, intent: Intent, live: bool) -> Progress:
    reservations = progress.reservations
    if live:
        reservations += (Reservation(intent.intent_id, intent.qty, intent.rungs, intent.time_ms, intent.carried),)
    return replace(
        progress,
        spent=progress.spent + intent.rungs,
        carry=progress.carry - intent.carried,
        reservations=reservations,
    )


def _past_break_even(position: Position, quote: Quote, rules: Rules) -> Position:
    """A stop that is already beyond break-even needs no move to it: trailing may begin."""
    if position.progress.break_even or not at_break_even(position, quote, rules):
        return position
    if is_tighter(position, break_even_price(position, rules)):
        return position
    return replace(position, progress=replace(position.progress, break_even=True))
