"""Why a position publishes what it does, and what it waits for: the kernel's own decision, on a copy. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Final

from kernel.positions.decision import Decision, decide
from kernel.positions.guards import Guards, Refusal
from kernel.positions.harvest import due_harvest, due_rungs
from kernel.positions.holding import RiskTerms
from kernel.positions.intent import Intent
from kernel.positions.ladder import Rung
from kernel.positions.mark import MarkState
from kernel.positions.position import Position
from kernel.positions.quantities import ZERO, exact
from kernel.positions.r_multiple import price_at
from kernel.positions.rules import Rules

_MILLIONTH: Final = Decimal("0.000001")

_NO_LIMIT: Final = 1 << 30


class RiskSource(StrEnum):
    """What the risk per unit agrees with now. It is set when a position opens, without its source."""

    OPENING_STOP = "opening_stop"
    PUBLISHED_DISTANCE = "published_distance"
    FALLBACK = "fallback"
    EARLIER = "earlier"
    """None of the above: the stop, the mean entry or a setting has changed since."""


class RungState(StrEnum):
    SPENT = "spent"
    DUE = "due"
    ARMED = "armed"


@dataclass(frozen=True, slots=True)
class RungView:
    """`price` is the mark from which the rung is due, None where no price can be; `distance` is the move to there as
    a ratio of the mark, rounded; `failures` counts its intents that ended unfilled.
    """

    name: str
    fraction: Decimal
    state: RungState
    price: Decimal | None
    distance: Decimal | None
    failures: int


@dataclass(frozen=True, slots=True)
class Upcoming:
    """The intents that would be due at a fresh mark of `price`, the next rung's, and what would hold them back."""

    price: Decimal
    action: str
    intents: tuple[Intent, ...]
    refusal: Refusal | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """All about an open position. `implied_stop` is the stop that would mean the same risk per unit; `refusals` are the
    guards that hold this book back now, whether or not anything is due.
    """

    risk_source: RiskSource
    implied_stop: Decimal
    rungs: Sequence[RungView]
    due: Sequence[Decision]
    upcoming: Upcoming | None
    refusals: frozenset[Refusal]


@exact
def intents_due(position: Position, rules: Rules, guards: Guards) -> list[Intent]:
    """The intents that would be published now if none had been yet and the rate limit allowed any number."""
    decisions = decide(position, rules, replace(guards, budget=_NO_LIMIT))[2]
    return [intent for decision in decisions if decision.refusal is None for intent in decision.intents]


@exact
def explain_position(position: Position, rules: Rules, guards: Guards, terms: RiskTerms) -> Explanation | None:
    """The explanation of an open position; None when it is flat. `guards.published` must be filled in."""
    mark = position.mark
    if mark is None or not position.is_open:
        return None
    due = decide(position, rules, guards)[2]
    rungs = _rungs(position, mark, rules)
    return Explanation(
        risk_source=_risk_source(position, terms),
        implied_stop=_implied_stop(position),
        rungs=rungs,
        due=due,
        upcoming=_upcoming(position, rungs, rules, guards),
        refusals=_standing_refusals(position, mark, guards) | {d.refusal for d in due if d.refusal is not None},
    )


def _standing_refusals(position: Position, mark: MarkState, guards: Guards) -> frozenset[Refusal]:
    checks = {
        Refusal.KILLED: guards.killed,
        Refusal.STALE: not guards.is_fresh(mark.time_ms),
        Refusal.FROZEN: bool(position.frozen),
        Refusal.NOTHING_LEFT: position.available <= 0,
        Refusal.RATE_LIMITED: guards.budget < 1,
    }
    return frozenset(refusal for refusal, holds_back in checks.items() if holds_back)


def _rungs(position: Position, mark: MarkState, rules: Rules) -> list[RungView]:
    due = due_rungs(position, mark, rules)
    failures = dict(position.ladder_state.failures)
    views = []
    for rung in rules.ladder.rungs:
        price = price_at(position.holding, rules, rung.r)
        reachable = price > 0
        views.append(
            RungView(
                name=rung.name,
                fraction=rung.fraction,
                state=_state(position, rung, due),
                price=price if reachable else None,
                distance=(price / mark.price - 1).quantize(_MILLIONTH) if reachable else None,
                failures=failures.get(rung.name, 0),
            )
        )
    return views


def _state(position: Position, rung: Rung, due: Sequence[Rung]) -> RungState:
    if rung.name in position.ladder_state.spent:
        return RungState.SPENT
    return RungState.DUE if rung in due else RungState.ARMED


def _upcoming(position: Position, rungs: Sequence[RungView], rules: Rules, guards: Guards) -> Upcoming | None:
    """The next rung, together with what is due by then."""
    price = next((rung.price for rung in rungs if rung.state is RungState.ARMED), None)
    if price is None or position.mark is None:
        return None
    mark = position.mark._replace(price=price, time_ms=guards.now_ms)
    there = position._replace(mark=mark)
    found = due_harvest(there, mark, rules)
    if found is None:
        raise AssertionError("a rung is due at its own price")
    action, asked = found
    if isinstance(asked, Refusal):
        return Upcoming(price, action, (), asked)
    return Upcoming(price, action, asked.intents, guards.refusal(asked.intents, there))


def _implied_stop(position: Position) -> Decimal:
    """The stop that would mean the risk per unit; exact."""
    holding = position.holding
    return holding.avg_entry - holding.sign * holding.risk_per_unit


def _risk_source(position: Position, terms: RiskTerms) -> RiskSource:
    holding, state = position.holding, position.ladder_state
    if not state.break_even and state.stop == _implied_stop(position):
        return RiskSource.OPENING_STOP
    published = terms.stop_dist_pct or ZERO
    if published and terms.per_unit(holding.avg_entry) == holding.risk_per_unit:
        return RiskSource.PUBLISHED_DISTANCE
    if replace(terms, stop_dist_pct=None).per_unit(holding.avg_entry) == holding.risk_per_unit:
        return RiskSource.FALLBACK
    return RiskSource.EARLIER
