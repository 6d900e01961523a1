"""An exchange's rules for one symbol: which quantities and prices it takes.

What always holds of an instrument:
1. A quantity is rounded down, never up; a stop price towards the market, so that it never protects less.
2. Parts sum to exactly what was split; none is above the maximum, and they differ by less than two steps.
"""

from dataclasses import dataclass
from decimal import Decimal

from kernel.quantities import EXACT, GRID, ZERO, floor_to_step, on_grid


@dataclass(frozen=True, slots=True)
class Instrument:
    """Quantity `step`, `min_qty` and `max_qty` of one market order (base currency; None: no maximum), `min_notional`
    of an order (quote currency), and the price step `tick` (None: prices keep 12 decimals).
    """

    step: Decimal = GRID
    min_qty: Decimal = ZERO
    min_notional: Decimal = ZERO
    max_qty: Decimal | None = None
    tick: Decimal | None = None

    def accepts(self, qty: Decimal, price: Decimal) -> bool:
        """Whether an order of `qty` at `price` is large enough."""
        return qty > 0 and qty >= self.min_qty and qty * price >= self.min_notional

    def floor(self, qty: Decimal) -> Decimal:
        """`qty` (>= 0) rounded down to the step."""
        return floor_to_step(qty, self.step)

    def stop_price(self, price: Decimal, sign: int) -> Decimal:
        """A protective stop of a long (`sign` > 0) rounded up to the tick, of a short down; without a tick, half-even
        to 12 decimals.
        """
        if self.tick is None:
            return on_grid(price)
        below = floor_to_step(price, self.tick)
        return below if sign < 0 or below == price else below + self.tick

    def parts(self, qty: Decimal) -> tuple[Decimal, ...]:
        """`qty` (> 0) as the fewest orders that are not above the maximum, as equal as the step allows."""
        if self.max_qty is None or qty <= self.max_qty:
            return (qty,)
        n = int(EXACT.divide_int(qty, self.max_qty))
        if n * self.max_qty < qty:
            n += 1
        each = self.floor(EXACT.divide(qty, Decimal(n)))
        larger, rest = divmod(qty - each * n, self.step)
        sizes = [each + self.step] * int(larger) + [each] * (n - int(larger))
        sizes[-1] += rest
        return tuple(sizes)
