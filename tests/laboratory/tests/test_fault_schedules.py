"""The explorer of schedules: it finds each one, once, and nothing else."""

from collections.abc import Callable
from functools import partial
from math import comb, factorial, prod
from random import Random

import pytest
from laboratory import schedules

GO, CRASH, EXPIRE = "go", "crash", "expire"


class Walk:
    """Actors that have so many steps to go; at most one of them crashes, after a step; at most one key expires."""

    def __init__(self, steps: dict[str, int], crashes: int = 0, expiries: int = 0) -> None:
        self.left = dict(steps)
        self.crashes = crashes
        self.expiries = expiries
        self.last = ("", "")

    def options(self) -> list[schedules.Choice]:
        going = [(GO, name) for name, left in self.left.items() if left]
        crash = [(CRASH, self.last[1])] if self.crashes and self.last in going else []
        expiry = [(EXPIRE, "key")] if self.expiries and going else []
        return [*going, *crash, *expiry]

    def take(self, choice: schedules.Choice) -> None:
        what, name = choice
        if what == GO:
            self.left[name] -= 1
        elif what == CRASH:
            self.left[name] = 0
            self.crashes -= 1
        else:
            self.expiries -= 1
        self.last = choice


def taken(start: Callable[[], Walk]) -> list[tuple[schedules.Choice, ...]]:
    return [played.taken for played in schedules.every(start)]


def with_a_crash(a: int, b: int) -> int:
    """Ways of one actor to come as far as its k-th of `a` steps and crash there, among all `b` steps of the other."""
    return sum(comb(k + b, b) for k in range(1, a))


@pytest.mark.parametrize(("a", "b"), [(0, 3), (1, 1), (3, 3), (4, 5), (5, 6), (6, 7)])
def test_two_actors_have_as_many_schedules_as_ways_to_merge_their_steps(a: int, b: int) -> None:
    assert len(taken(partial(Walk, {"a": a, "b": b}))) == comb(a + b, a)


@pytest.mark.parametrize("steps", [(1, 1, 1), (2, 2, 2), (2, 3, 4)])
def test_three_actors_have_as_many_as_there_are_ways_to_merge_three(steps: tuple[int, ...]) -> None:
    walks = taken(partial(Walk, dict(zip("abc", steps, strict=True))))
    assert len(walks) == factorial(sum(steps)) // prod(map(factorial, steps))


@pytest.mark.parametrize(("a", "b"), [(1, 1), (2, 3), (4, 4), (5, 3)])
def test_an_actor_may_crash_after_each_step_but_its_last(a: int, b: int) -> None:
    walks = taken(partial(Walk, {"a": a, "b": b}, crashes=1))
    assert len(walks) == comb(a + b, a) + with_a_crash(a, b) + with_a_crash(b, a)


@pytest.mark.parametrize(("a", "b"), [(1, 1), (2, 3), (4, 4)])
def test_a_key_may_expire_before_each_step(a: int, b: int) -> None:
    walks = taken(partial(Walk, {"a": a, "b": b}, expiries=1))
    assert len(walks) == comb(a + b, a) * (1 + a + b)


def test_no_schedule_comes_twice() -> None:
    walks = taken(partial(Walk, {"a": 4, "b": 4}, crashes=1, expiries=1))
    assert len(walks) == len(set(walks))


def test_a_schedule_is_played_again_as_it_was() -> None:
    start = partial(Walk, {"a": 3, "b": 3}, crashes=1)
    for walk in taken(start):
        assert schedules.again(start, walk).taken == walk


def test_what_is_not_told_goes_on_plainly() -> None:
    played = schedules.again(partial(Walk, {"a": 2, "b": 2}, crashes=1), [(GO, "b")])
    assert played.taken == ((GO, "b"), (GO, "a"), (GO, "a"), (GO, "b"))


def test_a_play_that_is_another_each_time_is_refused() -> None:
    lengths = iter([2, *[0] * schedules.ATTEMPTS])
    with pytest.raises(AssertionError, match="cannot be played again"):
        list(schedules.every(lambda: Walk({"a": next(lengths), "b": 1})))


def test_the_same_chance_makes_the_same_schedules() -> None:
    start = partial(Walk, {"a": 5, "b": 5}, crashes=1, expiries=1)

    def some(seed: int) -> list[tuple[schedules.Choice, ...]]:
        rng = Random(seed)  # noqa: S311 - to be repeated
        return [schedules.random(start, rng, 0.3).taken for _ in range(20)]

    assert some(1) == some(1) != some(2)
    assert {choice[0] for walk in some(1) for choice in walk} == {GO, CRASH, EXPIRE}
