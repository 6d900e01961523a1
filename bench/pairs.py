"""Two ways of doing the same, measured in turns, so that a slow machine slows both."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from statistics import median

Measure = Callable[[], float]
"""Does the work once and returns the measured value."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Values of ours and of a peer, one pair per repetition."""

    ours: tuple[float, ...]
    peer: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        return tuple(mine / theirs for mine, theirs in zip(self.ours, self.peer, strict=True))

    @property
    def ratio(self) -> float:
        """The median ratio of the repetitions, which cancels a slow repetition."""
        return median(self.ratios)

    @property
    def spread(self) -> float:
        return spread(self.ratios)


def in_turns(ours: Measure, peer: Measure, repetitions: int) -> Pairs:
    """Measure in the order ours, peer, peer, ours, and so on, so that neither is always second."""
    found: list[tuple[float, float]] = []
    for repetition in range(repetitions):
        if repetition % 2 == 0:
            mine = ours()
            found.append((mine, peer()))
        else:
            theirs = peer()
            found.append((ours(), theirs))
    mine_all, theirs_all = zip(*found, strict=True)
    return Pairs(mine_all, theirs_all)


def spread(figures: Sequence[float]) -> float:
    """(largest - smallest) / median."""
    return (max(figures) - min(figures)) / median(figures)


def slope(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The slope of log(cost) over log(size), by least squares: 1 means linear growth."""
    xs, ys = [log(size) for size in sizes], [log(cost) for cost in costs]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    variance = sum((x - mean_x) ** 2 for x in xs)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / variance
