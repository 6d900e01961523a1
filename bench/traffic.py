"""The traffic: fills and prices of many books, based on the recorded minute candles of the demo.

Each book walks through the recorded prices from its own start, forwards and then backwards, with its own scale. On
most ticks a fill of the book is sent, on the others only its mark price. A position is opened with a stop and an ATR,
grows and shrinks in small fills, and is closed at its stop or after some time.

Everything depends on the seed and nothing on Harvest's replies: Harvest and every peer get the same bytes.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import islice
from typing import Final

from harvest_tasks.simulation.demo.prices import bundled_prices
from kernel.positions.entry import Side

Entry = dict[str, str]

SEED: Final = 7
MARK_SHARE: Final = 0.15
"""Share of ticks with a mark price only; the others bring a fill."""
STOP_PCT: Final = 0.006
ATR_PCT: Final = 0.002
SLICE: Final = 0.04
"""Largest fill as a share of the opening quantity, small enough that a stop is seldom published again."""
STRIDE: Final = 3
"""Recorded ticks between two entries of a book."""
LONGEST: Final = 200
"""Most ticks that a position is held."""
LOT: Final = Decimal("0.001")


def main(entries: int, books: int, seed: int = SEED) -> Iterator[Entry]:
    """`entries` entries of `books` books in turn; most make no intent due."""
    walks = [iter(Walk(f"B{i}USDT", random.Random(f"{seed} {i}"))) for i in range(books)]  # noqa: S311 - repeatable
    return islice((next(walk) for _ in iter(int, 1) for walk in walks), entries)


def heavy(entries: int, books: int) -> Iterator[Entry]:
    """Only fills, at prices that keep crossing rungs: about every fifth makes an intent due."""
    for n in range(entries):
        turn = n // books
        yield _crossing(f"B{n % books}USDT", n, turn)


def _crossing(symbol: str, n: int, turn: int) -> Entry:
    price, buys = 100 + (turn * 7) % 5, turn % 3 == 0
    return {
        "symbol": symbol,
        "status": "FILLED",
        "side": "BUY" if buys else "SELL",
        "qty": "0.3" if buys else "0.1",
        "price": str(price),
        "stop_loss": str(price - 2 if buys else price + 2),
        "trade_id": str(n),
    }


@lru_cache
def _prices() -> tuple[tuple[float, ...], ...]:
    """The ticks of each recorded symbol, forwards and backwards so that a walk never jumps, relative to the first."""
    all_ticks = []
    for candles in bundled_prices().candles.values():
        ticks = [float(tick) for candle in candles for tick in candle.ticks]
        there_and_back = ticks + ticks[-2:0:-1]
        all_ticks.append(tuple(tick / ticks[0] for tick in there_and_back))
    return tuple(all_ticks)


class Walk:
    """An endless sequence of entries of one book. Quantities are counted in lots of `LOT`."""

    def __init__(self, symbol: str, rng: random.Random) -> None:
        self._symbol = symbol
        self._rng = rng
        self._ticks = rng.choice(_prices())
        self._at = rng.randrange(len(self._ticks))
        self._scale = 10 ** rng.uniform(0, 4.5)
        self._held = 0
        self._opened = 0
        self._stop = 0.0
        self._since = 0
        self._trade = 0

    def __iter__(self) -> Iterator[Entry]:
        while True:
            self._at = (self._at + STRIDE) % len(self._ticks)
            self._since += 1
            yield self._tick(self._ticks[self._at] * self._scale)

    def _tick(self, price: float) -> Entry:
        if not self._held:
            return self._open(price)
        sign = 1 if self._held > 0 else -1
        if (price - self._stop) * sign <= 0 or self._since > LONGEST:
            return self._fill(-self._held, price)
        if self._rng.random() < MARK_SHARE:
            return {"symbol": self._symbol, "status": "PRICE_UPDATE", "price": _text(price)}
        return self._fill(self._slice(sign), price)

    def _open(self, price: float) -> Entry:
        sign = self._rng.choice((1, -1))
        self._since, self._opened = 0, self._rng.randint(500, 5_000)
        self._stop = price * (1 - sign * STOP_PCT)
        stops = {"stop_loss": _text(self._stop), "atr": _text(price * ATR_PCT)}
        return self._fill(sign * self._opened, price) | stops

    def _slice(self, sign: int) -> int:
        """The next fill in lots: adds or reduces, and stays near the opening quantity."""
        size = max(1, round(self._opened * SLICE * self._rng.random()))
        return sign * size if abs(self._held) <= self._opened else -sign * size

    def _fill(self, lots: int, price: float) -> Entry:
        self._held += lots
        self._trade += 1
        qty = abs(lots) * LOT
        return {
            "symbol": self._symbol,
            "status": "FILLED" if self._rng.random() < 0.5 else "PARTIALLY_FILLED",
            "side": (Side.BUY if lots > 0 else Side.SELL).value,
            "qty": str(qty),
            "price": _text(price),
            "trade_id": f"{self._symbol}-{self._trade}",
            "order_id": f"{self._symbol}-o{self._trade // 5}",
            "fee": _text(float(qty) * price * 0.0004),
        }


def _text(price: float) -> str:
    """`price` with about six significant digits, as exchanges write it."""
    digits = 2 if price >= 1000 else 4 if price >= 10 else 6
    return f"{price:.{digits}f}"


@dataclass(frozen=True, slots=True)
class Shares:
    """The composition of traffic, as shares of its entries."""

    fills: float
    marks: float
    intents: float
    """Entries that made at least one intent due."""

    def __str__(self) -> str:
        return f"{self.fills:.0%} fills, {self.marks:.0%} prices; {self.intents:.1%} of the entries made an intent due"


def shares(entries: Sequence[Entry], due: int) -> Shares:
    """The composition of `entries`, `due` of which made an intent due."""
    kinds = Counter("mark" if entry["status"] == "PRICE_UPDATE" else "fill" for entry in entries)
    return Shares(kinds["fill"] / len(entries), kinds["mark"] / len(entries), due / len(entries))
