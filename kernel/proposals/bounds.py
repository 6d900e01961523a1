"""Ranges for the floats that proposals are computed from: within them no formula overflows."""

from collections.abc import Iterable
from dataclasses import dataclass

from kernel.errors import InvalidNumber

_NUMBER = (float, int)


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers from `low` to `high`, both included. NaN, and what is not a number, are outside."""

    low: float
    high: float

    def check(self, record: object, names: Iterable[str]) -> None:
        """Raises `InvalidNumber` unless every attribute of `record` in `names` lies in this range."""
        low, high = self.low, self.high
        for name in names:
            value = getattr(record, name)
            if not (isinstance(value, _NUMBER) and low <= value <= high):
                raise InvalidNumber(f"{name} must be a number from {low:g} to {high:g}, not {value!r}")

    def check_given(self, record: object, names: Iterable[str]) -> None:
        """`check` for attributes that may be None."""
        self.check(record, [name for name in names if getattr(record, name) is not None])


PRICE = Range(1e-12, 1e15)
"""Quote currency. Fills are held on a grid of 12 decimals and are below 1e15."""
QUANTITY = PRICE
"""Base currency."""
MONEY = Range(-1e30, 1e30)
"""Quote currency: a price difference times a quantity."""
FRACTION = Range(1e-9, 10.0)
"""A share of a price. A smaller one does not measure anything."""
NON_NEGATIVE = Range(0.0, 1e15)
POSITIVE = Range(1e-9, 1e15)
FINITE = Range(-1e15, 1e15)
PROBABILITY = Range(0.0, 1.0 + 1e-9)
"""Producers normalise in floats: a certain regime may be a few ulp above 1."""
