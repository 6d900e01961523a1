"""The R ladder: which share of a position is taken at which R multiple.

What always holds of a ladder:
1. Rungs ascend strictly in R and every R is positive.
2. Every fraction lies in (0, 1] and their sum is at most 1.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from itertools import pairwise

from kernel.errors import InvalidLadder
from kernel.positions.quantities import plain


class Basis(StrEnum):
    """The quantity that a rung's fraction is taken of."""

    ORIGINAL = "original"
    """All quantity entered in this lifecycle (`base_qty`)."""
    REMAINING = "remaining"
    """The quantity still open and not reserved."""


# No slots: `cached_property` needs a `__dict__`.
@dataclass(frozen=True)
class Rung:
    """At R multiple `r` (> 0), close `fraction` (a share, 0 < fraction <= 1) of the ladder's basis."""

    r: Decimal
    fraction: Decimal

    @cached_property
    def name(self) -> str:
        """The rung's R as plain text, such as `0.5`."""
        return plain(self.r)


@dataclass(frozen=True, slots=True)
class Ladder:
    """Rungs in ascending order of R. Raises `InvalidLadder` if invariant 1 or 2 does not hold."""

    rungs: tuple[Rung, ...]
    basis: Basis = Basis.ORIGINAL

    def __post_init__(self) -> None:
        levels = [rung.r for rung in self.rungs]
        if any(not level.is_finite() or level <= 0 for level in levels):
            raise InvalidLadder("every rung needs a positive R")
        if any(low >= high for low, high in pairwise(levels)):
            raise InvalidLadder("rungs must ascend in R")
        fractions = [rung.fraction for rung in self.rungs]
        if any(not f.is_finite() or not 0 < f <= 1 for f in fractions):
            raise InvalidLadder("every fraction must be above 0 and at most 1")
        if sum(fractions) > 1:
            raise InvalidLadder(f"the fractions sum to {plain(Decimal(sum(fractions)))}, more than the position")

    def at_least(self, min_r: Decimal) -> "Ladder":
        """This ladder without the rungs whose R is below `min_r`."""
        return Ladder(tuple(rung for rung in self.rungs if rung.r >= min_r), self.basis)
