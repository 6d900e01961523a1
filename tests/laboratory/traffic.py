"""What is fed to a fleet: fills and prices whose order matters, and answers to the intents that come of them."""

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings
from kernel.positions.quantities import GRID, on_grid

Fields = Mapping[str, str]

SIZES: Final = ("0.5", "1", "2")
WIDE_SPREAD: Final = 500
"""Cents: R is up to 2.5 away, so that most lifecycles meet a rung."""
BOOKS: Final = tuple(f"C{i}USDT" for i in range(8))


class Traffic:
    """Feeds one input stream from one seeded chance. Prices are 100 +- `spread` cents; R is 1 at a move of 2.

    `fed` counts entries, `fills` those of them that are fills. A `feeder` sends, if it may no more than that.
    """

    def __init__(
        self,
        client: Client,
        settings: Settings,
        rng: random.Random,
        books: Sequence[str] = BOOKS,
        *,
        spread: int,
        feeder: "Client | None" = None,
    ) -> None:
        self.books = books
        self.fed = 0
        self.fills = 0
        self._client = client
        self._feeder = feeder or client
        self._settings = settings
        self._rng = rng
        self._spread = spread
        self._net: defaultdict[str, Decimal] = defaultdict(Decimal)
        self._trades = 0
        self._answered_to = "0-0"

    def feed(self, count: int) -> list[str]:
        """So many entries of random books, and repetitions of some; their ids."""
        return self.send(*(entry for _ in range(count) for entry in self._next()))

    def send(self, *entries: Fields) -> list[str]:
        """These entries, in one round trip; their ids."""
        with self._feeder.pipeline(transaction=False) as pipe:
            for entry in entries:
                pipe.xadd(self._settings.stream_execution_result, dict(entry))
            ids: list[str] = pipe.execute()
        self.fed += len(entries)
        self.fills += sum(entry["status"] == "FILLED" for entry in entries)
        return ids

    def due(self, book: str) -> str:
        """Open a new lifecycle of `book`, and add to it at a price over a rung; the id of that fill."""
        sign = -1 if self._net[book] > 0 else 1
        opening = self._fill(book, Decimal(100), sign, abs(self._net[book]) + 1)
        return self.send(opening, self._fill(book, Decimal(100 + 2 * sign), sign, Decimal("0.5")))[-1]

    def answer(self) -> None:
        """As an executor would, most of the live intents that came since: filled, filled in part, or refused."""
        for intent_id, values in self._client.xrange(self._settings.stream_trade_intent, f"({self._answered_to}"):
            self._answered_to = intent_id
            self.send(*self._answers(json.loads(values["payload"])))

    def _answers(self, intent: Mapping[str, object]) -> Iterator[Fields]:
        chance, named = self._rng.random(), {"symbol": str(intent["symbol"]), "intent_id": str(intent["intent_id"])}
        if chance < 0.2:
            yield {**named, "status": self._rng.choice(("REJECTED", "CANCELED", "EXPIRED"))}
        elif chance < 0.9:
            # What is finer than the grid the door would round, and the model not.
            qty = max(GRID, on_grid(Decimal(str(intent["qty"])) / (2 if chance < 0.4 else 1)))
            price = Decimal(str(intent["mark_price"]))
            yield {**self._fill(named["symbol"], price, 1 if intent["side"] == "BUY" else -1, qty), **named}

    def _next(self) -> list[Fields]:
        book, at = (
            self._rng.choice(self.books),
            Decimal(self._rng.randint(10_000 - self._spread, 10_000 + self._spread)) / 100,
        )
        if self._rng.random() < 0.2:
            return [{"symbol": book, "status": "PRICE_UPDATE", "price": str(at)}]
        fill = self._crossing(book, at) if self._rng.random() < 0.3 else self._random(book, at)
        return [fill, fill] if self._rng.random() < 0.05 else [fill]

    def _random(self, book: str, at: Decimal) -> Fields:
        return self._fill(book, at, self._rng.choice((1, -1)), Decimal(self._rng.choice(SIZES)))

    def _crossing(self, book: str, at: Decimal) -> Fields:
        """Through zero, if there is anything to cross from."""
        qty = abs(self._net[book]) + Decimal(self._rng.choice(SIZES))
        return self._fill(book, at, -1 if self._net[book] > 0 else 1, qty)

    def _fill(self, book: str, at: Decimal, sign: int, qty: Decimal) -> Fields:
        """With a trade id, so that a repetition is one, and a stop at a distance of 2."""
        self._trades += 1
        self._net[book] += sign * qty
        return {
            "symbol": book,
            "status": "FILLED",
            "side": "BUY" if sign > 0 else "SELL",
            "qty": str(qty),
            "price": str(at),
            "stop_loss": str(at - sign * 2),
            "trade_id": str(self._trades),
        }
