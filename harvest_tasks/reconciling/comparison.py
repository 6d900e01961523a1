"""Does one tracked position agree with the exchange's? Pure.

What always holds of a comparison:
1. Two quantities differ if they are on opposite sides, or apart by more than the tolerance times the larger one.
2. An exchange snapshot that cannot be read, is stale, or never existed makes no difference.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from harvest_tasks.wire.exchange_position import ExchangeFlat, ExchangePosition, ExchangeSnapshot, UnreadableSnapshot
from kernel.positions.position import Position
from kernel.positions.quantities import ZERO, exact


class DifferenceKind(StrEnum):
    """How two quantities differ."""

    QUANTITY = "quantity"
    SIDE = "side"
    FLAT = "flat"
    """The exchange holds nothing."""
    OPEN = "open"
    """The exchange holds something, and the book is flat or not tracked."""
    OTHER_MODE = "other_mode"
    """The exchange holds something in this book, and the symbol is tracked in the other position mode."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """The quantities agree. They are signed and in base currency, here and below."""

    book: str
    tracked: Decimal
    exchange: Decimal


@dataclass(frozen=True, slots=True)
class Difference:
    """The quantities do not agree."""

    book: str
    tracked: Decimal
    exchange: Decimal
    kind: DifferenceKind

    @property
    @exact
    def excess(self) -> Decimal:
        """Tracked minus exchange; exact."""
        return self.tracked - self.exchange


@dataclass(frozen=True, slots=True)
class NotReported:
    """The book is open, and no exchange snapshot says what the exchange holds."""

    book: str
    tracked: Decimal


Comparison = Agreement | Difference | NotReported | UnreadableSnapshot


def compare(
    position: Position, exchange: ExchangePosition | None, tolerance: Decimal, *, was_reported: bool
) -> Comparison:
    """Compare `position` with what the exchange reports of its book; `tolerance` is a ratio of the larger quantity.

    If the book `was_reported` before and is reported no more, the exchange holds nothing.
    """
    book, held = position.book, position.holding.qty
    match exchange:
        case UnreadableSnapshot():
            return exchange
        case ExchangeSnapshot():
            return _compared(book, held, exchange.qty, tolerance)
        case ExchangeFlat(stale=why) if why:
            return UnreadableSnapshot(book, why) if held else Agreement(book, held, ZERO)
        case ExchangeFlat():
            return _compared(book, held, ZERO, tolerance)
        case None if was_reported:
            return _compared(book, held, ZERO, tolerance)
        case _:
            return NotReported(book, held) if held else Agreement(book, held, ZERO)


@exact
def _compared(book: str, tracked: Decimal, exchange: Decimal, tolerance: Decimal) -> Agreement | Difference:
    opposite = tracked * exchange < 0
    if not opposite and abs(tracked - exchange) <= tolerance * max(abs(tracked), abs(exchange)):
        return Agreement(book, tracked, exchange)
    return Difference(book, tracked, exchange, _kind(tracked, exchange))


def _kind(tracked: Decimal, exchange: Decimal) -> DifferenceKind:
    if not exchange:
        return DifferenceKind.FLAT
    if not tracked:
        return DifferenceKind.OPEN
    return DifferenceKind.SIDE if (tracked > 0) != (exchange > 0) else DifferenceKind.QUANTITY
