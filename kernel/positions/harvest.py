"""The ladder applied to a position: which rungs are due, and the quantity they take.

What always holds of a harvest:
1. A rung is due at R >= its level while it is armed; rungs due together make one harvest.
2. Its quantity is positive, on the instrument's step, and at most what is held and not reserved.
3. What rounding leaves over is carried to the next rung; a rest below the minimum is closed too.
4. A quantity above the instrument's maximum is published in parts that count as one attempt.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from kernel.positions.entry import Side
from kernel.positions.guards import Refusal
from kernel.positions.intent import Intent, IntentKind, harvest_action, intent_id, part_of, reason_text
from kernel.positions.ladder import Basis, Rung
from kernel.positions.ladder_state import Claim
from kernel.positions.mark import MarkState
from kernel.positions.position import Position
from kernel.positions.quantities import ZERO, on_grid
from kernel.positions.r_multiple import profit_per_unit, r_multiple
from kernel.positions.rules import Rules


class DueHarvest(NamedTuple):
    """A harvest that is due: its parts (`intents`), the `claims` of its rungs, and what rounding leaves over."""

    action: str
    intents: tuple[Intent, ...]
    claims: tuple[Claim, ...]
    left_over: Decimal


def due_rungs(position: Position, mark: MarkState, rules: Rules) -> list[Rung]:
    """The armed rungs at or below the position's R, in ascending order."""
    holding, due = position.holding, []
    profit = profit_per_unit(holding, mark.price, rules.cost_bps)
    for rung in rules.ladder.rungs:
        if profit < rung.r * holding.risk_per_unit:
            break
        if rung.name not in position.ladder_state.spent:
            due.append(rung)
    return due


def due_harvest(position: Position, mark: MarkState, rules: Rules) -> tuple[str, DueHarvest | Refusal] | None:
    """The action that is due, with its harvest or the reason why there cannot be one; None if no rung is due."""
    rungs = due_rungs(position, mark, rules)
    if not rungs:
        return None
    names = tuple(rung.name for rung in rungs)
    action = harvest_action(names, position.ladder_state.firing(names))
    if position.available <= 0:
        return action, Refusal.NOTHING_LEFT
    claims = _claims(position, rungs, rules.ladder.basis)
    wanted = sum((claim.share for claim in claims), position.ladder_state.carry)
    qty = _takeable_qty(position, max(wanted, ZERO), mark, rules)
    if qty is None:
        return action, Refusal.BELOW_MINIMUM
    intents = _intents(position, mark, rules, action, names, qty)
    return action, DueHarvest(action, intents, claims, _left_over(position, wanted, rules))


def _claims(position: Position, rungs: Sequence[Rung], basis: Basis) -> tuple[Claim, ...]:
    """A rung that is armed again asks for what it is owed, any other one for its fraction of the basis."""
    whole = position.holding.base_qty if basis is Basis.ORIGINAL else position.available
    failures, owed = dict(position.ladder_state.failures), dict(position.ladder_state.owed)
    return tuple(Claim(r.name, failures.get(r.name, 0) + 1, owed.get(r.name, r.fraction * whole)) for r in rungs)


def _most(rules: Rules) -> Decimal | None:
    """The most that one harvest can take (base currency): the maximum of an order times `max_parts`."""
    most = rules.instrument.max_qty
    return None if most is None else rules.instrument.floor(most) * rules.max_parts


def _takeable_qty(position: Position, wanted: Decimal, mark: MarkState, rules: Rules) -> Decimal | None:
    """The part of `wanted` that can be taken; None if that is below the minimum."""
    instrument, available, most = rules.instrument, position.available, _most(rules)
    qty = min(available, instrument.floor(wanted))
    if most is not None:
        qty = min(qty, most)
    if not instrument.accepts(qty, mark.price):
        return None
    rest = available - qty
    if rest and not instrument.accepts(rest, mark.price) and (most is None or available <= most):
        return available
    return qty


def _left_over(position: Position, wanted: Decimal, rules: Rules) -> Decimal:
    """What is carried to the next rung: what rounding left over, and what is above the most that one harvest takes."""
    rounded, most = rules.instrument.floor(max(wanted, ZERO)), _most(rules)
    cut_off = ZERO if most is None else max(ZERO, min(rounded, position.available) - most)
    return wanted - rounded + cut_off


def _intents(
    position: Position, mark: MarkState, rules: Rules, action: str, names: tuple[str, ...], qty: Decimal
) -> tuple[Intent, ...]:
    parts = rules.instrument.parts(qty)
    holding = position.holding
    return tuple(
        Intent(
            intent_id=intent_id(position.position_id, part_of(action, k, len(parts))),
            position_id=position.position_id,
            kind=IntentKind.HARVEST,
            action=part_of(action, k, len(parts)),
            book=position.book,
            side=Side.SELL if holding.qty > 0 else Side.BUY,
            qty=part,
            rungs=names,
            reason=reason_text(r_multiple(position, rules), names[-1]),
            mark=mark.price,
            time_ms=mark.time_ms,
            entry_price=holding.avg_entry,
            unrealized_pnl=on_grid(holding.unrealized_pnl(mark.price)),
        )
        for k, part in enumerate(parts, start=1)
    )
