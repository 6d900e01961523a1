"""Writes what other services write: market states, risk proposals and positions."""

from collections.abc import Mapping
from typing import Any, cast

from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings

NOW = 1_769_178_600.0
"""2026-01-23T14:30:00 UTC."""

CALM = {"sigma": "0.01", "ts": "0.35", "p_trend": "0.6", "p_mr": "0.2", "p_chop": "0.2"}
FLIPPED = {"sigma": "0.03", "ts": "0.1", "p_trend": "0.1", "p_mr": "0.3", "p_chop": "0.6"}
"""Everything speaks for leaving: K is about 0.9."""


def write_hash(redis: Client, key: str, fields: Mapping[str, str]) -> None:
    redis.hset(key, mapping=dict[Any, Any](fields))


def settings(**environ: str) -> Settings:
    return Settings.from_env({name.upper(): value for name, value in environ.items()})


def market_state(redis: Client, symbol: str = "BTCUSDT", **changed: str) -> None:
    write_hash(redis, f"quantum:marketstate:{symbol}", {**CALM, **changed})


def risk_proposal(redis: Client, symbol: str = "BTCUSDT", stop_dist_pct: str = "0.02") -> None:
    redis.hset(f"quantum:risk:proposal:{symbol}", "stop_dist_pct", stop_dist_pct)


def position(**changed: str) -> dict[str, str]:
    """A long of 2 from 100 at 105: R_net is 2.45 with a stop distance of 2 %."""
    return {
        "symbol": "BTCUSDT",
        "side": "LONG",
        "entry_price": "100",
        "current_price": "105",
        "peak_price": "106",
        "trough_price": "99",
        "age_sec": "3600",
        "unrealized_pnl": "10",
        "qty": "2",
        "current_sl": "98",
        "current_tp": "",
        **changed,
    }


def position_hash(redis: Client, symbol: str = "BTCUSDT", **changed: str) -> None:
    write_hash(redis, keys.position_state(symbol), position(**{"symbol": symbol, **changed}))


def stream_entry(redis: Client, symbol: str = "BTCUSDT", **changed: str) -> None:
    redis.xadd(keys.STREAM_EXECUTION, dict[Any, Any](position(**{"symbol": symbol, **changed})))


def book(**changed: str) -> dict[str, str]:
    """A tracked long of 2 from 100, marked 105, opened an hour ago."""
    return {
        "qty": "2",
        "avg_entry": "100",
        "mark": "105",
        "mark_ms": "1769178599000",
        "peak": "106",
        "trough": "99",
        "opened_ms": "1769175000000",
        "stop": "98",
        "risk_per_unit": "2",
        "base_qty": "2",
        "realized_pnl": "0",
        **changed,
    }


def tracked_position(redis: Client, name: str = "BTCUSDT", **changed: str) -> None:
    symbol = name.partition(":")[0]
    write_hash(redis, keys.position(name), {"book": name, "symbol": symbol, "epoch": "1", **book(**changed)})
    redis.sadd(keys.BOOKS, name)


def proposal(redis: Client, name: str = "BTCUSDT") -> dict[str, str]:
    return cast("dict[str, str]", redis.hgetall(f"quantum:harvest:proposal:{name}"))
