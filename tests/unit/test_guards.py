"""Guards fail closed, give their reason, and leave the rung armed."""

from decimal import Decimal

import pytest
from builders import START_MS, guards, intents, long_100, mark, refusals, rules, run

from kernel.positions.decision import Decision
from kernel.positions.entry import Entry, Freeze, Release
from kernel.positions.guards import Guards
from kernel.positions.position import Position

FRESH = {"fresh_ms": 30_000}


def at_half_r(the_guards: Guards, *between: Entry) -> tuple[Position, list[Decision]]:
    return run([long_100(time_ms=START_MS), *between, mark("105", time_ms=START_MS)], the_guards=the_guards)


@pytest.mark.parametrize(
    ("the_guards", "reason"),
    [
        (guards(killed=True), "killed"),
        (guards(budget=0), "rate_limited"),
        (guards(START_MS + 30_001, **FRESH), "stale"),
        (guards(START_MS - 2_001, **FRESH), "stale"),
    ],
)
def test_each_guard_holds_back_with_its_reason(the_guards: Guards, reason: str) -> None:
    position, made = at_half_r(the_guards)
    assert refusals(made) == [("partial:0.5:1", reason)]
    assert (position.ladder_state.spent, position.ladder_state.reservations) == ((), ())


@pytest.mark.parametrize("now", [START_MS + 29_999, START_MS - 2_000])
def test_the_ends_of_the_fresh_window_may_publish(now: int) -> None:
    assert len(intents(at_half_r(guards(now, **FRESH))[1])) == 1


def test_a_frozen_book_publishes_nothing_until_released() -> None:
    position, made = at_half_r(guards(), Freeze("", 0, "refused_entry"))
    assert refusals(made) == [("partial:0.5:1", "frozen")]
    _, made = run([Release("", 0)], position=position)
    assert len(intents(made)) == 1


def test_an_intent_that_is_known_to_be_out_is_a_duplicate() -> None:
    intent = intents(at_half_r(guards())[1])[0]
    _, made = at_half_r(guards(published=frozenset({intent.intent_id})))
    assert refusals(made) == [("partial:0.5:1", "duplicate")]


def test_a_refusal_is_recorded_once_per_reason_not_per_tick() -> None:
    killed = guards(killed=True)
    position, made = run([long_100(), *(mark("105") for _ in range(5))], the_guards=killed)
    assert len(made) == 1
    _, made = run([mark("105"), mark("105")], the_guards=guards(budget=0), position=position)
    assert refusals(made) == [("partial:0.5:1", "rate_limited")]


def test_what_was_held_back_is_published_at_the_next_look() -> None:
    position, _ = run([long_100(), mark("105")], the_guards=guards(killed=True))
    position, made = run([mark("105")], position=position)
    assert len(intents(made)) == 1
    assert position.ladder_state.held == ()


def test_each_publication_uses_up_the_budget() -> None:
    both = rules(set_be_at_r=Decimal("0.5"))
    position, made = run([long_100(), mark("105")], both, guards(budget=1))
    assert [i.kind.value for i in intents(made)] == ["HARVEST"]
    assert refusals(made) == [("sl_be", "rate_limited")]
    assert not position.ladder_state.break_even
