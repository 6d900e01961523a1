"""The market state and the risk proposal of a symbol, as other services would publish them."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import sqrt
from statistics import stdev
from typing import Final

from harvest_tasks.simulation.demo.prices import Candle
from harvest_tasks.simulation.demo.strategy import Strategy

WINDOW_MINUTES: Final = 30
"""Minutes of prices that a market state is computed from."""
MARKET_STATE_RULE: Final = (
    f"Market state over {WINDOW_MINUTES} minutes: sigma is the hourly volatility; ts and p_trend are the square root of"
    " net move / total distance; the rest is split into p_mr (by the share of reversals) and p_chop."
)


def market_state(candles: Sequence[Candle], now: float) -> Mapping[str, str] | None:
    """The fields of the market state at `now` (unix s), or None until there are enough candles."""
    closes = [float(candle.close) for candle in candles[-WINDOW_MINUTES - 1 :]]
    if len(closes) <= WINDOW_MINUTES:
        return None
    moves = [after / before - 1 for before, after in pairwise(closes)]
    distance = sum(map(abs, moves))
    trend = sqrt(abs(sum(moves)) / distance) if distance else 0.0
    reversals = sum(before * after < 0 for before, after in pairwise(moves)) / (len(moves) - 1)
    values = {
        "sigma": stdev(moves) * sqrt(60),
        "ts": trend,
        "p_trend": trend,
        "p_mr": (1 - trend) * reversals,
        "p_chop": (1 - trend) * (1 - reversals),
        "ts_timestamp": now,
    }
    return {name: f"{value:.6f}" for name, value in values.items()}


def risk_proposal(candles: Sequence[Candle], strategy: Strategy) -> Mapping[str, str] | None:
    """The distance of the stop as a ratio of the price, or None until there are enough candles."""
    if len(candles) < strategy.warm_up:
        return None
    return {"stop_dist_pct": f"{strategy.stop_atrs * strategy.atr(candles) / candles[-1].close:.6f}"}
