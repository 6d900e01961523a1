"""An exchange's rules for one symbol: which quantities and prices it accepts.

What always holds of an instrument:
1. A quantity is rounded down, never up; a stop price towards the market, so that it never protects less.
2. Parts sum to exactly what was split; none is zero or above the maximum, and they differ by at most one step.
"""

from dataclasses import dataclass
from decimal import Decimal

from kernel.errors import InvalidNumber
from kernel.positions.quantities import EXACT, GRID, ZERO, exact, floor_to_step, on_grid


@dataclass(frozen=True, slots=True)
class Instrument:
    """The limits of one market order: quantity `step`, `min_qty` and `max_qty` (base currency; None is no maximum),
    `min_notional` (quote currency), and the price step `tick` (quote currency; None keeps 12 decimals).

    Raises `InvalidNumber` if `step` or `tick` is not above 0, or `max_qty` is below one step.
    """

    step: Decimal = GRID
    min_qty: Decimal = ZERO
    min_notional: Decimal = ZERO
    max_qty: Decimal | None = None
    tick: Decimal | None = None

    def __post_init__(self) -> None:
        if self.step <= 0 or (self.tick is not None and self.tick <= 0):
            raise InvalidNumber("a step of quantities or prices must be above 0")
        if self.max_qty is not None and self.max_qty < self.step:
            raise InvalidNumber("the maximum of an order must be at least one step")

    def accepts(self, qty: Decimal, price: Decimal) -> bool:
        """Whether an order of `qty` at `price` reaches both minimums."""
        return qty > 0 and qty >= self.min_qty and EXACT.multiply(qty, price) >= self.min_notional

    def floor(self, qty: Decimal) -> Decimal:
        """`qty` (>= 0) rounded down to the step."""
        return floor_to_step(qty, self.step)

    def stop_price(self, price: Decimal, sign: int) -> Decimal:
        """`price` (> 0) of a protective stop on the tick: up for a long (`sign` > 0), down for a short (`sign` < 0).

        Without a tick it is rounded half-even to 12 decimals.
        """
        if self.tick is None:
            return on_grid(price)
        below = floor_to_step(price, self.tick)
        return below if sign < 0 or below == price else EXACT.add(below, self.tick)

    @exact
    def parts(self, qty: Decimal) -> tuple[Decimal, ...]:
        """`qty` (> 0) split into the fewest orders that `max_qty` allows, as equal as the step allows.

        Larger parts come first; what is finer than the step goes with the last one. The smallest part is as large as in
        any split: if it is below the minimum, no split avoids that.
        """
        if self.max_qty is None or qty <= self.max_qty:
            return (qty,)
        n = _ceiling(qty, self.floor(self.max_qty))
        steps, rest = divmod(qty, self.step)
        each, larger = divmod(steps, n)
        sizes = [(each + 1) * self.step] * int(larger) + [each * self.step] * int(n - larger)
        sizes[-1] += rest
        return tuple(sizes)


def _ceiling(qty: Decimal, most: Decimal) -> Decimal:
    """`qty` / `most`, rounded up to a whole number."""
    full, rest = divmod(qty, most)
    return full + 1 if rest else full
