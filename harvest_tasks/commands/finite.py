"""A number as an option's value."""

from math import isfinite
from typing import Any

import click


class FiniteRange(click.FloatRange):
    """A float within bounds. Refuses infinity, and NaN, which click's own range lets pass."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number
