"""The market state and the risk proposal of a symbol, as the services beside Harvest would publish them."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import sqrt
from statistics import stdev
from typing import Final

from harvest_tasks.simulation.demo.prices import Candle
from harvest_tasks.simulation.demo.strategy import Strategy

WINDOW: Final = 30
"""Minutes that a market state looks back."""
RULE: Final = (
    f"Market state over {WINDOW} minutes: sigma is the volatility of an hour; ts and p_trend are the root of the net"
    " move's share of the way; of the rest, p_mr has the share of the turns and p_chop what is left."
)


def market_state(candles: Sequence[Candle], now: float) -> Mapping[str, str] | None:
    """None until there are enough candles. `now` is in unix seconds."""
    closes = [float(candle.close) for candle in candles[-WINDOW - 1 :]]
    if len(closes) <= WINDOW:
        return None
    moves = [after / before - 1 for before, after in pairwise(closes)]
    way = sum(map(abs, moves))
    trend = sqrt(abs(sum(moves)) / way) if way else 0.0
    turns = sum(before * after < 0 for before, after in pairwise(moves)) / (len(moves) - 1)
    values = {
        "sigma": stdev(moves) * sqrt(60),
        "ts": trend,
        "p_trend": trend,
        "p_mr": (1 - trend) * turns,
        "p_chop": (1 - trend) * (1 - turns),
        "ts_timestamp": now,
    }
    return {name: f"{value:.6f}" for name, value in values.items()}


def risk_proposal(candles: Sequence[Candle], strategy: Strategy) -> Mapping[str, str] | None:
    """How far a stop is, as a ratio of the price."""
    if len(candles) < strategy.warm_up:
        return None
    return {"stop_dist_pct": f"{strategy.stop_atrs * strategy.atr(candles) / candles[-1].close:.6f}"}
