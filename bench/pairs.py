"""Two ways of doing the same, measured in turns, so that what slows the machine down slows both."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from statistics import median

Measure = Callable[[], float]
"""Does the work once and returns its figure."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Figures of ours and of a peer: as many of each, those of a repetition side by side."""

    ours: tuple[float, ...]
    peer: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        return tuple(mine / theirs for mine, theirs in zip(self.ours, self.peer, strict=True))

    @property
    def ratio(self) -> float:
        """The median of the repetitions' ratios: what slowed one of them down entirely cancels out."""
        return median(self.ratios)

    @property
    def spread(self) -> float:
        return spread(self.ratios)


def in_turns(ours: Measure, peer: Measure, repetitions: int) -> Pairs:
    """Ours first, then the peer, then the peer, then ours, and so on: neither is always the second."""
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
    """Of the straight line through log(cost) over log(size), by least squares: 1 when cost grows as size does."""
    xs, ys = [log(size) for size in sizes], [log(cost) for cost in costs]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    across = sum((x - mean_x) ** 2 for x in xs)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / across
