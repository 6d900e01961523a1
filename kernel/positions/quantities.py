"""Exact decimal arithmetic for quantities and prices.

Every quantity and price is a `Decimal` on a grid of 12 decimals. Sums and products of such values are exact in `EXACT`.
Only quotients are rounded, and each function that divides says so.
"""

from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from functools import wraps
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

ZERO = Decimal(0)
GRID = Decimal("1e-12")

# 1e15 on the grid has 27 digits; the sum of a million products of two such values has 60.
DIGITS = 80
EXACT = Context(prec=DIGITS, rounding=ROUND_HALF_EVEN)


def exact(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Run `function` in the `EXACT` context, whatever the caller's is."""

    @wraps(function)
    def in_exact_context(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        with localcontext(EXACT):
            return function(*args, **kwargs)

    return in_exact_context


def on_grid(value: Decimal) -> Decimal:
    """`value` rounded half-even to 12 decimals."""
    return EXACT.quantize(value, GRID)


def floor_to_step(value: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of `step` that is not above `value` (`value` >= 0, `step` > 0)."""
    return EXACT.multiply(EXACT.divide_int(value, step), step)


def plain(value: Decimal) -> str:
    """`value` as decimal text without an exponent or trailing zeros; `0` for any zero."""
    text = str(value)
    if "E" in text:
        text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("", "-0") else text
