"""An exchange's rules for one symbol: which quantities and prices it takes.

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
    """Quantity `step`, `min_qty` and `max_qty` of one market order (base currency; None: no maximum), `min_notional`
    of an order (quote currency), and the price step `tick` (None: prices keep 12 decimals).

    Raises `InvalidNumber` for a step that is not above 0, and for a maximum below one step.
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
        """Whether an order of `qty` at `price` is large enough."""
        return qty > 0 and qty >= self.min_qty and EXACT.multiply(qty, price) >= self.min_notional

    def floor(self, qty: Decimal) -> Decimal:
        """`qty` (>= 0) rounded down to the step."""
        return floor_to_step(qty, self.step)

    def stop_price(self, price: Decimal, sign: int) -> Decimal:
        """A protective stop (`price` > 0) of a long (`sign` > 0) rounded up to the tick, of a short down; without a
        tick, half-even to 12 decimals.
        """
        if self.tick is None:
            return on_grid(price)
        below = floor_to_step(price, self.tick)
        return below if sign < 0 or below == price else EXACT.add(below, self.tick)

    @exact
    def parts(self, qty: Decimal) -> tuple[Decimal, ...]:
        """`qty` (> 0) as the fewest orders that are not above the maximum, as equal as the step allows.

        Larger ones come first; what is finer than the step goes with the last. Equal parts are the largest there can
        be: where one is under the minimum, no split of `qty` avoids that.
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
    """How many times `most` it takes to hold `qty`."""
    full, rest = divmod(qty, most)
    return full + 1 if rest else full
