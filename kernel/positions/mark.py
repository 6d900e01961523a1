"""The newest price a book has seen, and how far prices went since its position opened.

What always holds of a quote:
1. The newest event time wins; an older price changes nothing.
2. A price that claims to come from the future loses to the next one that arrives before its time, and is no peak or
   trough.
"""

from decimal import Decimal
from typing import NamedTuple

FUTURE_TOLERANCE_MS = 2_000
"""How far an event's own time may run ahead of its arrival."""


class Quote(NamedTuple):
    """`mark` at `time_ms` (unix ms), with the highest and lowest marks since the open (quote currency)."""

    mark: Decimal
    time_ms: int
    peak: Decimal
    trough: Decimal

    def seen(self, price: Decimal, time_ms: int, arrived_ms: int) -> "Quote":
        """The quote after `price` of `time_ms`, which arrived at `arrived_ms`."""
        latest_ms = arrived_ms + FUTURE_TOLERANCE_MS
        if time_ms < self.time_ms <= latest_ms:
            return self
        if time_ms > latest_ms:
            return Quote(price, time_ms, self.peak, self.trough)
        return Quote(
            price,
            time_ms,
            price if price > self.peak else self.peak,
            price if price < self.trough else self.trough,
        )

    def restarted(self) -> "Quote":
        """The same mark with peak and trough forgotten."""
        return Quote(self.mark, self.time_ms, self.mark, self.mark)


def first(price: Decimal, time_ms: int) -> Quote:
    """The quote of a book that has seen one price."""
    return Quote(price, time_ms, price, price)
