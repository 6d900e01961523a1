"""The recorded prices: one-minute candles of several symbols, played in parallel."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import files
from typing import Final

SYMBOLS: Final = ("BTCUSDT", "ETHUSDT")


@dataclass(frozen=True, slots=True)
class Candle:
    """One minute's prices, in quote currency."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal

    @property
    def ticks(self) -> tuple[Decimal, Decimal, Decimal, Decimal]:
        """Four prices in their likeliest order: a rising minute touches its low first, a falling one its high."""
        extremes = (self.low, self.high) if self.close >= self.open else (self.high, self.low)
        return (self.open, *extremes, self.close)


@dataclass(frozen=True, slots=True)
class Prices:
    """Candles by symbol, the same number for each."""

    candles: Mapping[str, Sequence[Candle]]

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(self.candles)

    @property
    def minutes(self) -> int:
        return min(len(candles) for candles in self.candles.values())

    def first(self, minutes: int) -> "Prices":
        """The first `minutes` of these prices."""
        return Prices({symbol: candles[:minutes] for symbol, candles in self.candles.items()})


def bundled_prices() -> Prices:
    """The prices in the package; data/README.md names their origin."""
    return Prices({symbol: _read(symbol) for symbol in SYMBOLS})


def _read(symbol: str) -> tuple[Candle, ...]:
    text = files("harvest_tasks.simulation.demo").joinpath("data", f"{symbol}.csv").read_text(encoding="ascii")
    return tuple(_candle(row) for row in csv.DictReader(text.splitlines()))


def _candle(row: Mapping[str, str]) -> Candle:
    return Candle(Decimal(row["open"]), Decimal(row["high"]), Decimal(row["low"]), Decimal(row["close"]))
