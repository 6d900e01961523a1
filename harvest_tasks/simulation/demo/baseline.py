"""The same openings without Harvest: each is held in full to its own stop, or to its time."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from harvest_tasks.simulation.demo.prices import Candle, Tape
from harvest_tasks.simulation.demo.strategy import Opening, Strategy, stopped_at
from harvest_tasks.simulation.paper.execution import Terms
from kernel.positions.quantities import exact


def outcomes(openings: Iterable[Opening], tape: Tape, strategy: Strategy, terms: Terms) -> list[Decimal]:
    """What each comes to, in quote currency, net of fees; what is open at the end of the tape is closed there."""
    return [_outcome(opening, tape.candles[opening.symbol], strategy, terms) for opening in openings]


@exact
def _outcome(opening: Opening, candles: Sequence[Candle], strategy: Strategy, terms: Terms) -> Decimal:
    end = terms.price(market_exit(opening, candles, strategy), opening.side.opposite)
    fees = terms.fee(opening.qty, opening.price) + terms.fee(opening.qty, end)
    return (end - opening.price) * opening.qty * opening.side.sign - fees


def market_exit(opening: Opening, candles: Sequence[Candle], strategy: Strategy) -> Decimal:
    """Where the market is when the position ends, before slippage."""
    for minute in range(opening.minute + 1, len(candles)):
        for place, price in enumerate(candles[minute].ticks):
            end = stopped_at(opening.side, opening.stop, price, gap=place == 0)
            if end is not None:
                return end
        if strategy.is_over(opening.minute, minute):
            return candles[minute].close
    return candles[-1].close
