"""The demo's strategy: a breakout with a stop, chosen to be simple and to show every part of Harvest.

The stop is wide for minute candles, because break-even is 0.2 % beyond the entry: with a smaller risk, a stop at
break-even would be at the market price.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Final

from harvest_tasks.simulation.demo.prices import Candle
from harvest_tasks.simulation.paper.execution import ExecutionTerms
from kernel.positions.entry import Side
from kernel.positions.quantities import exact, floor_to_step, plain

STEP: Final = Decimal("0.001")
TICK: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Opening:
    """A position opened at the close of `minute`: prices in quote, `qty` (> 0) in base currency."""

    symbol: str
    minute: int
    side: Side
    qty: Decimal
    price: Decimal
    stop: Decimal
    atr: Decimal


@dataclass(frozen=True, slots=True)
class Strategy:
    """`risk` is the loss of a position at its stop, in quote currency."""

    breakout_minutes: int = 20
    atr_minutes: int = 14
    stop_atrs: Decimal = Decimal(5)
    longest_minutes: int = 120
    risk: Decimal = Decimal(100)

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules in words, for the introduction."""
        return (
            f"Entry: buy a close above the high of the last {self.breakout_minutes} minutes, sell short a close below"
            " the low; one position per symbol.",
            f"Stop: {plain(self.stop_atrs)} x ATR({self.atr_minutes}) from the entry, sized to lose"
            f" {plain(self.risk)} USDT.",
            f"Exit: at the stop, or after {self.longest_minutes} minutes.",
        )

    @property
    def warm_up(self) -> int:
        """Minutes before the first signal."""
        return max(self.breakout_minutes, self.atr_minutes) + 1

    @exact
    def opening(self, symbol: str, candles: Sequence[Candle], terms: ExecutionTerms) -> Opening | None:
        """The position to open at the close of the last of `candles`, or None."""
        side = self.signal(candles)
        if side is None:
            return None
        atr = self.atr(candles)
        close = candles[-1].close
        price = terms.price(close, side)
        stop = (close - side.sign * self.stop_atrs * atr).quantize(TICK)
        qty = floor_to_step(self.risk / abs(price - stop), STEP)
        return Opening(symbol, len(candles) - 1, side, qty, price, stop, atr)

    def signal(self, candles: Sequence[Candle]) -> Side | None:
        """The side to open on at the last of `candles`, or None."""
        if len(candles) < self.warm_up:
            return None
        close, before = candles[-1].close, candles[-1 - self.breakout_minutes : -1]
        if close > max(candle.high for candle in before):
            return Side.BUY
        return Side.SELL if close < min(candle.low for candle in before) else None

    @exact
    def atr(self, candles: Sequence[Candle]) -> Decimal:
        """The average true range over `atr_minutes`, rounded to a hundredth of a tick."""
        pairs = pairwise(candles[-1 - self.atr_minutes :])
        ranges = [max(now.high, last.close) - min(now.low, last.close) for last, now in pairs]
        return (sum(ranges, Decimal(0)) / len(ranges)).quantize(TICK / 100)

    def is_over(self, opened: int, minute: int) -> bool:
        """Whether a position opened at the close of minute `opened` reaches its time limit at the close of `minute`."""
        return minute - opened >= self.longest_minutes


def stopped_at(side: Side, stop: Decimal, price: Decimal, *, gap: bool) -> Decimal | None:
    """The exit price of a position on `side` when the market reaches `price`: its stop or, after a gap, `price`.

    None if the stop is not reached.
    """
    if (price - stop) * side.sign > 0:
        return None
    return price if gap else stop
