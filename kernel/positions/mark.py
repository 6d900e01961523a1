"""The newest mark price of a book, and the highest and lowest since its position opened.

What always holds of a mark:
1. The newest event time wins; an older price changes nothing.
2. A price with a time in the future is replaced by the next one that arrives before that time, and is neither peak nor
   trough.
"""

from decimal import Decimal
from typing import NamedTuple

FUTURE_TOLERANCE_MS = 2_000
"""How far (ms) the time of an event may lie ahead of its arrival."""


class MarkState(NamedTuple):
    """The newest mark `price` of `time_ms` (unix ms), and the highest and lowest since the open (quote currency)."""

    price: Decimal
    time_ms: int
    peak: Decimal
    trough: Decimal

    def after(self, price: Decimal, time_ms: int, arrived_ms: int) -> "MarkState":
        """The state after `price` (quote currency) of `time_ms`, which arrived at `arrived_ms` (both unix ms)."""
        latest_ms = arrived_ms + FUTURE_TOLERANCE_MS
        if time_ms < self.time_ms <= latest_ms:
            return self
        if time_ms > latest_ms:
            return MarkState(price, time_ms, self.peak, self.trough)
        return MarkState(
            price,
            time_ms,
            price if price > self.peak else self.peak,
            price if price < self.trough else self.trough,
        )

    def restarted(self) -> "MarkState":
        """The same mark, as the only one since the open."""
        return MarkState(self.price, self.time_ms, self.price, self.price)
