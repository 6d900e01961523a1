"""The baseline: the same openings without Harvest, each held in full until its stop or its time limit."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from harvest_tasks.simulation.demo.prices import Candle, Prices
from harvest_tasks.simulation.demo.strategy import Opening, Strategy, stopped_at
from harvest_tasks.simulation.paper.execution import ExecutionTerms
from kernel.positions.quantities import exact


def baseline_profits(
    openings: Iterable[Opening], prices: Prices, strategy: Strategy, terms: ExecutionTerms
) -> list[Decimal]:
    """The profit of each opening in quote currency, net of fees. A position still open at the end is closed there."""
    return [_profit(opening, prices.candles[opening.symbol], strategy, terms) for opening in openings]


@exact
def _profit(opening: Opening, candles: Sequence[Candle], strategy: Strategy, terms: ExecutionTerms) -> Decimal:
    end = terms.price(market_exit(opening, candles, strategy), opening.side.opposite)
    fees = terms.fee(opening.qty, opening.price) + terms.fee(opening.qty, end)
    return (end - opening.price) * opening.qty * opening.side.sign - fees


def market_exit(opening: Opening, candles: Sequence[Candle], strategy: Strategy) -> Decimal:
    """The market price at which the position ends, before slippage."""
    for minute in range(opening.minute + 1, len(candles)):
        for place, price in enumerate(candles[minute].ticks):
            end = stopped_at(opening.side, opening.stop, price, gap=place == 0)
            if end is not None:
                return end
        if strategy.is_over(opening.minute, minute):
            return candles[minute].close
    return candles[-1].close
