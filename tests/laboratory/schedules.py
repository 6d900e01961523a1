"""All ways in which a play can go on: each maximal schedule exactly once, or a random choice of them.

A play is started anew for each schedule and told what to do at each turn; it says what could be done.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Generic, Protocol, TypeVar

Choice = tuple[str, str]
"""What is done, and by or to whom."""

ATTEMPTS: Final = 5


class Play(Protocol):
    """One run. The first of the options is the plainest: where nothing else is asked for, it is taken."""

    def options(self) -> Sequence[Choice]:
        """What could be done now; none when the play is over."""

    def take(self, choice: Choice) -> None: ...


P = TypeVar("P", bound=Play)


class Diverged(Exception):
    """What could be done before cannot be done now: the play is not the same each time."""


@dataclass(frozen=True, slots=True)
class Played(Generic[P]):
    """A play that is over: what was done, and what could have been done at each turn."""

    play: P
    taken: tuple[Choice, ...]
    offered: tuple[tuple[Choice, ...], ...]


def every(start: Callable[[], P]) -> Iterator[Played[P]]:
    """Each schedule once, as a play that is over."""
    prefixes: list[tuple[Choice, ...]] = [()]
    while prefixes:
        prefix = prefixes.pop()
        played = again(start, prefix)
        yield played
        for turn in range(len(prefix), len(played.taken)):
            prefixes += [(*played.taken[:turn], other) for other in played.offered[turn][1:]]


def again(start: Callable[[], P], prefix: Sequence[Choice]) -> Played[P]:
    """The play that begins with `prefix` and goes on plainly."""
    for _ in range(ATTEMPTS):
        try:
            return _played(start(), lambda turn, offered: prefix[turn] if turn < len(prefix) else offered[0])
        except Diverged as error:
            last = error
    raise AssertionError(f"a schedule cannot be played again: {last}")


def random(start: Callable[[], P], rng: Random, adventurous: float) -> Played[P]:
    """One schedule; at each turn something other than a step with the chance `adventurous`.

    Each schedule draws anew how likely it is to stay with whoever moved last: some have long runs, some change all the
    time.
    """
    staying, last = rng.random(), ("", "")

    def choose(_: int, offered: Sequence[Choice]) -> Choice:
        nonlocal last
        steps = [choice for choice in offered if choice[0] == offered[0][0]]
        others = [choice for choice in offered if choice[0] != offered[0][0]]
        if others and rng.random() < adventurous:
            return rng.choice(others)
        last = last if last in steps and rng.random() < staying else rng.choice(steps)
        return last

    return _played(start(), choose)


def _played(play: P, choose: Callable[[int, Sequence[Choice]], Choice]) -> Played[P]:
    taken: list[Choice] = []
    offered: list[tuple[Choice, ...]] = []
    while options := tuple(play.options()):
        choice = choose(len(taken), options)
        if choice not in options:
            raise Diverged(f"turn {len(taken)}: {choice} is not among {options}")
        offered.append(options)
        taken.append(choice)
        play.take(choice)
    return Played(play, tuple(taken), tuple(offered))
