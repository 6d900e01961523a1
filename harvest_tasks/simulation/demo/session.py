"""A demo session: feeds the prices into the input stream tick by tick, with the fills of the strategy."""

from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from time import time
from typing import Final

from harvest_tasks.settings.model import Settings
from harvest_tasks.simulation.demo import market_inputs
from harvest_tasks.simulation.demo.feed import EntryFields, Feed
from harvest_tasks.simulation.demo.prices import Prices
from harvest_tasks.simulation.demo.strategy import Opening, Strategy, stopped_at
from harvest_tasks.simulation.paper.execution import ExecutionTerms
from kernel.positions.entry import Side
from kernel.positions.position import Position
from kernel.positions.quantities import plain

TICKS: Final = range(4)


class Session:
    """Plays in lock-step: each tick waits until the previous one is processed completely, so every run is the same."""

    def __init__(
        self, feed: Feed, settings: Settings, prices: Prices, strategy: Strategy, terms: ExecutionTerms
    ) -> None:
        self.openings: list[Opening] = []
        self.closings: Counter[str] = Counter()
        self.minute = 0
        self.positions = {symbol: Position(symbol) for symbol in prices.symbols}
        self._feed = feed
        self._settings = settings
        self._prices = prices
        self._strategy = strategy
        self._terms = terms

    def play(self, continue_after_minute: Callable[[], bool]) -> None:
        """Play until the prices end or `continue_after_minute` returns False, then close open positions."""
        for minute in range(self._prices.minutes):
            self.minute = minute
            for tick in TICKS:
                self._send(self._tick_entries(tick))
            self._publish_market_inputs()
            self._send(self._minute_entries())
            if not continue_after_minute():
                break
        self._send(self._final_entries())

    def _send(self, entries: Iterator[EntryFields]) -> None:
        batch = list(entries)
        if batch:
            self.positions = self._feed.send(batch)

    def _tick_entries(self, tick: int) -> Iterator[EntryFields]:
        for symbol, candles in self._prices.candles.items():
            price = candles[self.minute].ticks[tick]
            position = self.positions[symbol]
            if position.is_open and position.ladder_state.stop is not None:
                end = stopped_at(_side(position), position.ladder_state.stop, price, gap=tick == 0)
                if end is not None:
                    yield self._closing(position, end, "stop")
            yield {"symbol": symbol, "status": "PRICE_UPDATE", "price": plain(price)}

    def _minute_entries(self) -> Iterator[EntryFields]:
        """Fills at the close of a minute: positions at their time limit end, and new positions open."""
        for symbol, candles in self._prices.candles.items():
            position = self.positions[symbol]
            if not position.is_open:
                opening = self._strategy.opening(symbol, candles[: self.minute + 1], self._terms)
                if opening is not None:
                    yield self._opening(opening)
            elif self._strategy.is_over(self._opened_at(symbol), self.minute):
                yield self._closing(position, candles[self.minute].close, "time")

    def _final_entries(self) -> Iterator[EntryFields]:
        for symbol, candles in self._prices.candles.items():
            if self.positions[symbol].is_open:
                yield self._closing(self.positions[symbol], candles[self.minute].close, "end")

    def _opened_at(self, symbol: str) -> int:
        return next(opening.minute for opening in reversed(self.openings) if opening.symbol == symbol)

    def _opening(self, opening: Opening) -> EntryFields:
        self.openings.append(opening)
        return {
            **self._fill(opening.symbol, opening.side, opening.qty, opening.price),
            "trade_id": f"demo-open-{len(self.openings)}",
            "stop_loss": plain(opening.stop),
            "atr": plain(opening.atr),
        }

    def _closing(self, position: Position, price: Decimal, reason: str) -> EntryFields:
        self.closings[reason] += 1
        side = _side(position).opposite
        return {
            **self._fill(position.symbol, side, abs(position.holding.qty), self._terms.price(price, side)),
            "trade_id": f"demo-close-{self.closings.total()}",
        }

    def _fill(self, symbol: str, side: Side, qty: Decimal, price: Decimal) -> dict[str, str]:
        fee = self._terms.fee(qty, price)
        figures = {"qty": plain(qty), "price": plain(price), "fee": plain(fee)}
        return {"symbol": symbol, "status": "FILLED", "side": side.value, **figures}

    def _publish_market_inputs(self) -> None:
        for symbol, candles in self._prices.candles.items():
            seen = candles[: self.minute + 1]
            state = market_inputs.market_state(seen, time())
            if state is not None:
                self._feed.publish(self._settings.marketstate_prefix + symbol, state)
            risk = market_inputs.risk_proposal(seen, self._strategy)
            if risk is not None:
                self._feed.publish(self._settings.riskproposal_prefix + symbol, risk)


def _side(position: Position) -> Side:
    return Side.BUY if position.holding.qty > 0 else Side.SELL
