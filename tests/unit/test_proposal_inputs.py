"""Numbers, symbols and whole inputs as other programs write them."""

from math import inf
from typing import Any

import inputs
import pytest
from redis.exceptions import ResponseError

from harvest_tasks.proposing import markets, positions
from harvest_tasks.proposing.skip_reason import NoProposal, SkipReason, hash_fields
from harvest_tasks.wire import symbols
from kernel.proposals.kill_score import kill_components
from kernel.proposals.snapshot import PositionSide
from kernel.proposals.theta import HarvestTheta


def reason_of(refused: pytest.ExceptionInfo[NoProposal]) -> SkipReason:
    return refused.value.reason


@pytest.mark.parametrize(
    ("sigma", "reason", "detail"),
    [
        ("", SkipReason.MISSING_NUMBER, "sigma is missing"),
        ("1_000", SkipReason.BAD_NUMBER, "sigma is '1_000', not a number"),
    ],
)
def test_a_number_that_cannot_be_used_is_the_reason_without_a_proposal(
    sigma: str, reason: SkipReason, detail: str
) -> None:
    with pytest.raises(NoProposal) as refused:
        markets.read_market({**inputs.CALM, "sigma": sigma}, is_synthetic=False)
    assert (reason_of(refused), refused.value.detail) == (reason, detail)


def test_a_key_of_another_type_has_no_fields() -> None:
    with pytest.raises(NoProposal) as refused:
        hash_fields(ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"))
    assert reason_of(refused) is SkipReason.WRONG_KEY_TYPE


@pytest.mark.parametrize("text", ["BTCUSDT", "1000PEPEUSDT", "BTCUSD_260327"])
def test_a_symbol_is_upper_case_and_digits(text: str) -> None:
    assert symbols.valid_symbol(text) == text


@pytest.mark.parametrize(
    "text", ["", "B", "btcusdt", "BTC USDT", "BTCUSDT\n", "BTC*", "BTCUSDT:LONG", "\uff22TC", None, 7]
)
def test_other_text_is_no_symbol(text: Any) -> None:
    with pytest.raises(symbols.InvalidSymbol, match="is not a symbol"):
        symbols.valid_symbol(text)


def test_a_described_position_keeps_its_size_and_total_profit() -> None:
    found = positions.external_position("BTCUSDT", inputs.position())
    assert found is not None
    assert (found.qty, found.unrealized_pnl, found.current_sl, found.current_tp) == (2.0, 10.0, 98.0, None)


@pytest.mark.parametrize(
    ("side", "qty", "expected"),
    [
        ("LONG", "2", PositionSide.LONG),
        ("buy", "2", PositionSide.LONG),
        ("Short", "2", PositionSide.SHORT),
        ("SELL", "-2", PositionSide.SHORT),
    ],
)
def test_sides_are_normalised(side: str, qty: str, expected: PositionSide) -> None:
    found = positions.external_position("BTCUSDT", inputs.position(side=side, qty=qty))
    assert found is not None
    assert (found.side, found.qty) == (expected, 2.0)


@pytest.mark.parametrize("qty", ["0", "0.0", "-0", "0e5"])
def test_a_quantity_of_zero_is_a_closed_position(qty: str) -> None:
    assert positions.external_position("BTCUSDT", inputs.position(qty=qty)) is None
    assert positions.tracked_position("BTCUSDT", inputs.book(qty=qty), inputs.NOW) is None


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"qty": ""}, SkipReason.MISSING_NUMBER),
        ({"entry_price": ""}, SkipReason.MISSING_NUMBER),
        ({"unrealized_pnl": ""}, SkipReason.MISSING_NUMBER),
        ({"peak_price": "high"}, SkipReason.BAD_NUMBER),
        ({"entry_price": "0"}, SkipReason.OUT_OF_RANGE),
        ({"current_sl": "-1"}, SkipReason.OUT_OF_RANGE),
        ({"side": "BOTH"}, SkipReason.BAD_SIDE),
        ({"side": ""}, SkipReason.BAD_SIDE),
        ({"side": "LONG", "qty": "-2"}, SkipReason.BAD_SIDE),
        ({"age_sec": "1769178600"}, SkipReason.BAD_TIME),
        ({"age_sec": "-3600"}, SkipReason.BAD_TIME),
    ],
)
def test_a_described_position_that_cannot_be_used_says_why(changed: dict[str, str], reason: SkipReason) -> None:
    with pytest.raises(NoProposal) as refused:
        positions.external_position("BTCUSDT", inputs.position(**changed))
    assert reason_of(refused) is reason


def test_a_tracked_short_profits_from_a_fall() -> None:
    found = positions.tracked_position("BTCUSDT", inputs.book(qty="-2", mark="95", stop=""), inputs.NOW)
    assert found is not None
    assert (found.side, found.qty, found.unrealized_pnl) == (PositionSide.SHORT, 2.0, 10.0)
    assert (found.age_sec, found.current_sl) == (3600.0, None)


def test_a_tracked_position_just_opened_by_a_faster_clock_is_new() -> None:
    found = positions.tracked_position("BTCUSDT", inputs.book(opened_ms="1769178602000"), inputs.NOW)
    assert found is not None
    assert found.age_sec == 0.0


def test_zero_is_not_an_opening_time() -> None:
    with pytest.raises(NoProposal) as refused:
        positions.tracked_position("BTCUSDT", inputs.book(opened_ms="0"), inputs.NOW)
    assert reason_of(refused) is SkipReason.BAD_TIME


@pytest.mark.parametrize(("symbol", "entry"), [("BTCUSDT", 100.0), ("ETHUSDT", 50.0)])
def test_a_synthetic_position_is_as_specified(symbol: str, entry: float) -> None:
    found = positions.synthetic_position(symbol)
    assert found.side is PositionSide.LONG
    ratios = [
        price / entry
        for price in (found.current_price, found.peak_price, found.trough_price, found.current_sl, found.current_tp)
        if price is not None
    ]
    assert ratios == pytest.approx([1.05, 1.06, 0.98, 0.98, 1.1])
    assert (found.entry_price, found.age_sec) == (entry, 3600.0)


def test_neutral_values_speak_for_nothing() -> None:
    found = kill_components(markets.NEUTRAL, 0.0, HarvestTheta())
    assert (found.regime_flip, found.sigma_spike, found.ts_drop, found.age_penalty) == (0.0, 0.0, 0.0, 0.0)


def test_without_a_market_state_only_a_synthetic_position_goes_on() -> None:
    assert markets.read_market({}, is_synthetic=True).source is markets.MarketSource.NEUTRAL
    with pytest.raises(NoProposal) as refused:
        markets.read_market({}, is_synthetic=False)
    assert reason_of(refused) is SkipReason.NO_MARKET_STATE


def test_a_synthetic_position_takes_a_real_market_state_as_it_is() -> None:
    assert markets.read_market(inputs.CALM, is_synthetic=True).source is markets.MarketSource.REDIS_HASH
    with pytest.raises(NoProposal):
        markets.read_market({**inputs.CALM, "sigma": ""}, is_synthetic=True)


@pytest.mark.parametrize("name", ["sigma", "ts", "p_trend", "p_mr", "p_chop"])
def test_each_number_of_a_market_state_is_needed(name: str) -> None:
    with pytest.raises(NoProposal, match=name):
        markets.read_market({**inputs.CALM, name: ""}, is_synthetic=False)


def test_a_market_state_out_of_range_is_unusable() -> None:
    with pytest.raises(NoProposal) as refused:
        markets.read_market({**inputs.CALM, "sigma": "-0.01"}, is_synthetic=False)
    assert reason_of(refused) is SkipReason.OUT_OF_RANGE


def test_no_risk_proposal_is_no_error() -> None:
    assert markets.read_risk_proposal({}) is None


@pytest.mark.parametrize(
    ("text", "stop"),
    [
        ("0.05", 0.05),
        ("0.0001", 0.0001),
        ("0.9", 0.9),
        ("9e-1", 0.9),
        ("", None),
        ("0", None),
        ("-0.05", None),
        ("0.000001", None),
        ("0.00009999", None),
        ("0.9000001", None),
        ("2", None),
        ("50", None),
        ("1e999", None),
    ],
)
def test_a_risk_proposal_may_lack_a_usual_stop_distance(text: str, stop: float | None) -> None:
    found = markets.read_risk_proposal({"stop_dist_pct": text, "proposed_sl": ""})
    assert found is not None
    assert found.stop_dist_pct == stop


def test_a_garbled_risk_proposal_is_unusable() -> None:
    with pytest.raises(NoProposal) as refused:
        markets.read_risk_proposal({"stop_dist_pct": "two percent"})
    assert reason_of(refused) is SkipReason.BAD_NUMBER


@pytest.mark.parametrize(
    ("text", "age"),
    [("", None), ("1769178590", 10.0), ("1769178601", 0.0), ("0", inf), ("1769178590000", inf), ("today", inf)],
)
def test_a_market_state_is_as_old_as_its_time_says(text: str, age: float | None) -> None:
    assert markets.market_age_sec({"ts": "0.3", "ts_timestamp": text}, inputs.NOW) == age
