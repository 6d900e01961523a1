"""The demo's prices, its strategy, and what its openings earn without Harvest (the baseline)."""

from decimal import Decimal
from typing import Any

import pytest

from harvest_tasks.simulation.demo import baseline, market_inputs
from harvest_tasks.simulation.demo.prices import SYMBOLS, Candle, Prices, bundled_prices
from harvest_tasks.simulation.demo.strategy import Opening, Strategy, stopped_at
from harvest_tasks.simulation.paper.execution import ExecutionTerms
from kernel.positions.entry import Side

FREE = ExecutionTerms()
QUICK = Strategy(breakout_minutes=3, atr_minutes=2, stop_atrs=Decimal(2), longest_minutes=5, risk=Decimal(100))


def candle(open_: str, high: str, low: str, close: str) -> Candle:
    return Candle(Decimal(open_), Decimal(high), Decimal(low), Decimal(close))


FLAT = candle("100", "101", "99", "100")
UP = candle("100", "104", "100", "103")
DOWN = candle("100", "100", "96", "97")


def opening(**changed: Any) -> Opening:
    values: dict[str, Any] = {
        "symbol": "BTCUSDT",
        "minute": 0,
        "side": Side.BUY,
        "qty": Decimal(2),
        "price": Decimal(100),
        "stop": Decimal(95),
        "atr": Decimal(1),
    }
    return Opening(**{**values, **changed})


def test_the_carried_prices_are_whole_and_plausible() -> None:
    prices = bundled_prices()
    assert prices.symbols == SYMBOLS
    assert prices.minutes == 480
    for candles in prices.candles.values():
        assert len(candles) == 480
        assert all(0 < c.low <= min(c.open, c.close) <= max(c.open, c.close) <= c.high for c in candles)


def test_a_minute_that_rose_fell_first_and_one_that_fell_rose_first() -> None:
    assert UP.ticks == (100, 100, 104, 103)
    assert candle("100", "102", "97", "98").ticks == (100, 102, 97, 98)


def test_the_first_minutes_of_the_prices() -> None:
    assert bundled_prices().first(7).minutes == 7


@pytest.mark.parametrize(("last", "side"), [(UP, Side.BUY), (DOWN, Side.SELL), (FLAT, None)])
def test_a_close_beyond_the_range_of_the_minutes_before_is_a_signal(last: Candle, side: Side | None) -> None:
    assert QUICK.signal([FLAT, FLAT, FLAT, last]) is side


def test_there_is_no_signal_before_there_are_enough_minutes() -> None:
    assert QUICK.signal([FLAT, FLAT, UP]) is None


def test_a_true_range_counts_from_the_close_before() -> None:
    assert QUICK.atr([FLAT, candle("103", "104", "103", "104"), candle("104", "105", "104", "105")]) == Decimal("2.5")


@pytest.mark.parametrize(("last", "stop"), [(UP, "97.00"), (DOWN, "103.00")])
def test_an_opening_risks_what_the_strategy_allows(last: Candle, stop: str) -> None:
    found = QUICK.opening("BTCUSDT", [FLAT, FLAT, FLAT, last], FREE)
    assert found is not None
    assert found.stop == Decimal(stop)
    assert found.qty * abs(found.price - found.stop) == pytest.approx(Decimal(100), abs=Decimal("0.01"))
    assert found.minute == 3


def test_an_opening_pays_for_slippage() -> None:
    found = QUICK.opening("BTCUSDT", [FLAT, FLAT, FLAT, UP], ExecutionTerms(slippage_bps=Decimal(10)))
    assert found is not None
    assert found.price == Decimal("103.103")


@pytest.mark.parametrize(
    ("side", "price", "gap", "end"),
    [
        (Side.BUY, "96", False, None),
        (Side.BUY, "95", False, "95"),
        (Side.BUY, "90", False, "95"),
        (Side.BUY, "90", True, "90"),
        (Side.SELL, "94", False, None),
        (Side.SELL, "99", False, "95"),
        (Side.SELL, "99", True, "99"),
    ],
)
def test_a_stop_is_filled_at_its_price_except_over_a_gap(side: Side, price: str, gap: bool, end: str | None) -> None:
    assert stopped_at(side, Decimal(95), Decimal(price), gap=gap) == (None if end is None else Decimal(end))


@pytest.mark.parametrize(
    ("candles", "change", "exit_price"),
    [
        ([FLAT, FLAT, DOWN, UP], {"stop": "98"}, "98"),
        ([FLAT, candle("90", "91", "89", "90")], {}, "90"),
        ([FLAT, FLAT, FLAT], {}, "100"),
        ([FLAT, FLAT, FLAT, FLAT, FLAT, UP, DOWN], {}, "103"),
        ([FLAT, UP], {"side": Side.SELL, "stop": "103.5"}, "103.5"),
    ],
)
def test_without_harvest_a_position_ends_at_its_stop_its_time_or_the_end(
    candles: list[Candle], change: dict[str, Any], exit_price: str
) -> None:
    changed = {**change, "stop": Decimal(change.get("stop", "95"))}
    assert baseline.market_exit(opening(**changed), candles, QUICK) == Decimal(exit_price)


def test_without_harvest_both_fills_pay_fee_and_slippage() -> None:
    terms = ExecutionTerms(slippage_bps=Decimal(100), fee_bps=Decimal(100))
    (outcome,) = baseline.baseline_profits([opening()], Prices({"BTCUSDT": [FLAT, UP]}), QUICK, terms)
    end = Decimal("101.97")
    assert outcome == (end - 100) * 2 - 2 - end * 2 / 100


def test_a_market_state_is_what_the_publisher_takes() -> None:
    candles = bundled_prices().candles["BTCUSDT"]
    state = market_inputs.market_state(candles, 1_769_178_600.0)
    assert state is not None
    assert set(state) == {"sigma", "ts", "p_trend", "p_mr", "p_chop", "ts_timestamp"}
    assert sum(float(state[name]) for name in ("p_trend", "p_mr", "p_chop")) == pytest.approx(1, abs=1e-5)
    assert 0.001 < float(state["sigma"]) < 0.05


def test_a_market_without_moves_has_no_trend() -> None:
    state = market_inputs.market_state([FLAT] * 40, 0.0)
    assert state is not None
    assert (state["sigma"], state["p_trend"], state["p_chop"]) == ("0.000000", "0.000000", "1.000000")


def test_there_are_no_market_inputs_before_there_are_enough_minutes() -> None:
    assert market_inputs.market_state([FLAT] * 30, 0.0) is None
    assert market_inputs.risk_proposal([FLAT] * 3, QUICK) is None
    assert market_inputs.risk_proposal([FLAT] * 4, QUICK) == {"stop_dist_pct": "0.040000"}
