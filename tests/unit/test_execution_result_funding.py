"""Money beside the prices: what a funding entry may say, and in which asset a fee was paid."""

import json
from decimal import Decimal

import pytest
from entries import ENTRY_ID, TIME_MS, fill_fields
from hypothesis import given
from hypothesis import strategies as st

from harvest_tasks.wire.execution_result import Refused, Routed, parse
from harvest_tasks.wire.refusal import RefusalReason as Reason
from kernel.positions.entry import Fill, Funding

FUNDING = {"symbol": "BTCUSDT", "status": "FUNDING", "amount": "-0.25"}
NUMBERS = {"symbol": "BTCUSDT", "status": "FUNDING", "amount": -0.25}


def funding_fields(**overrides: str | None) -> dict[str, str]:
    """The flat fields of a funding payment; None leaves a field out."""
    return {name: value for name, value in {**FUNDING, **overrides}.items() if value is not None}


def funding(amount: str = "-0.25", asset: str | None = None, time_ms: int = TIME_MS) -> Funding:
    return Funding(ENTRY_ID, time_ms, Decimal(amount), asset)


def routed(fields: dict[str, str]) -> Routed:
    parsed = parse(ENTRY_ID, fields)
    assert isinstance(parsed, Routed), parsed
    return parsed


def received(fields: dict[str, str]) -> Funding:
    entry = routed(fields).entry
    assert isinstance(entry, Funding)
    return entry


def paid(**fields: str | None) -> Fill:
    entry = routed(fill_fields(**fields)).entry
    assert isinstance(entry, Fill)
    return entry


def refused(fields: dict[str, str]) -> Refused:
    parsed = parse(ENTRY_ID, fields)
    assert isinstance(parsed, Refused), parsed
    return parsed


# funding


SHAPES = {
    "flat fields": FUNDING,
    "JSON in payload": {"payload": json.dumps(FUNDING)},
    "JSON in data": {"data": json.dumps(FUNDING)},
    "a JSON number": {"payload": json.dumps(NUMBERS)},
    "flat beside nested": {"symbol": "BTCUSDT", "payload": json.dumps({"status": "FUNDING", "amount": "-0.25"})},
    "flat and nested that agree": {**FUNDING, "data": json.dumps(NUMBERS)},
}


@pytest.mark.parametrize("fields", SHAPES.values(), ids=SHAPES)
def test_every_shape_is_the_same_payment(fields: dict[str, str]) -> None:
    assert routed(fields) == Routed("BTCUSDT", "BTCUSDT", funding())


@pytest.mark.parametrize("status", ["FUNDING", "funding", "Funding"])
def test_funding_is_known_in_any_case(status: str) -> None:
    assert received(funding_fields(status=status)) == funding()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", "0.5"),
        ("-0.5", "-0.5"),
        ("0", "0"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("8.7e-06", "0.0000087"),
        ("-8.7e-06", "-0.0000087"),
        ("-0.30000000000000004", "-0.3"),
        ("0.0000000000005", "0"),
        ("-0.0000000000015", "-0.000000000002"),
        ("-0.0000000000025", "-0.000000000002"),
        ("999999999999999.999999999999", "999999999999999.999999999999"),
        ("-999999999999999.999999999999", "-999999999999999.999999999999"),
    ],
)
def test_an_amount_may_have_either_sign_and_keeps_twelve_decimals_rounded_half_even(text: str, value: str) -> None:
    assert received(funding_fields(amount=text)).amount == Decimal(value)


def test_an_amount_as_a_JSON_number_is_read_as_text_not_as_float() -> None:
    payload = '{"symbol":"BTCUSDT","status":"FUNDING","amount":-123456789012345.123456789012}'
    assert received({"payload": payload}).amount == Decimal("-123456789012345.123456789012")


@pytest.mark.parametrize(
    ("amount", "reason"),
    [
        (None, Reason.MISSING),
        ("", Reason.MISSING),
        ("abc", Reason.NOT_A_NUMBER),
        (" 1", Reason.NOT_A_NUMBER),
        ("1 ", Reason.NOT_A_NUMBER),
        ("1_000", Reason.NOT_A_NUMBER),
        ("1,5", Reason.NOT_A_NUMBER),
        ("-", Reason.NOT_A_NUMBER),
        ("- 1", Reason.NOT_A_NUMBER),
        ("\u22121", Reason.NOT_A_NUMBER),
        ("\uff11", Reason.NOT_A_NUMBER),
        ("+1", Reason.SIGNED),
        ("--1", Reason.SIGNED),
        ("-+1", Reason.SIGNED),
        ("NaN", Reason.NOT_FINITE),
        ("-inf", Reason.NOT_FINITE),
        ("1e15", Reason.TOO_LARGE),
        ("-1e15", Reason.TOO_LARGE),
        ("-1e16", Reason.EXPONENT_OUT_OF_RANGE),
        ("1e5000000", Reason.EXPONENT_OUT_OF_RANGE),
        ("-1e-5000000", Reason.EXPONENT_OUT_OF_RANGE),
        ("-" + "1" * 3000, Reason.NUMBER_TOO_LONG),
    ],
)
def test_a_malformed_amount_is_refused_and_freezes_no_book(amount: str | None, reason: Reason) -> None:
    refusal = refused(funding_fields(amount=amount))
    assert (refusal.reason, refusal.book) == (reason, None)
    assert "amount" in refusal.detail
    assert len(refusal.detail) <= 200


@pytest.mark.parametrize("value", ["true", "[1]", "{}", '{"value":1}'])
def test_an_amount_that_is_no_number_in_JSON_is_refused(value: str) -> None:
    payload = '{"symbol":"BTCUSDT","status":"FUNDING","amount":' + value + "}"
    assert refused({"payload": payload}).reason is Reason.NOT_A_NUMBER


@pytest.mark.parametrize(
    ("position_side", "book"),
    [(None, "BTCUSDT"), ("", "BTCUSDT"), ("BOTH", "BTCUSDT"), ("LONG", "BTCUSDT:LONG"), ("short", "BTCUSDT:SHORT")],
)
def test_funding_is_for_the_book_that_it_names(position_side: str | None, book: str) -> None:
    assert routed(funding_fields(position_side=position_side)) == Routed("BTCUSDT", book, funding())


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (funding_fields(symbol=None), Reason.MISSING),
        (funding_fields(symbol="btcusdt"), Reason.BAD_SYMBOL),
        (funding_fields(symbol="BTC/USDT"), Reason.BAD_SYMBOL),
        (funding_fields(position_side="SIDEWAYS"), Reason.BAD_POSITION_SIDE),
        (funding_fields(ts="soon"), Reason.NOT_A_TIME),
        (funding_fields() | {"data": '{"amount":1}'}, Reason.CONFLICTING),
        (funding_fields() | {"data": '{"symbol":"ETHUSDT"}'}, Reason.CONFLICTING),
        (funding_fields() | {"data": '{"status":"PRICE_UPDATE"}'}, Reason.CONFLICTING),
        (funding_fields() | {"data": "garbage"}, Reason.NOT_JSON),
        (funding_fields(note="x" * 4096), Reason.ENTRY_TOO_BIG),
    ],
)
def test_other_flaws_of_a_funding_entry_freeze_no_book_either(fields: dict[str, str], reason: Reason) -> None:
    refusal = refused(fields)
    assert (refusal.reason, refusal.book) == (reason, None)


def test_what_is_called_a_fill_and_funding_freezes_the_book_of_the_fill() -> None:
    refusal = refused(fill_fields() | {"data": '{"status":"FUNDING","amount":1}'})
    assert (refusal.reason, refusal.book) == (Reason.CONFLICTING, "BTCUSDT")


def test_funding_reads_nothing_else() -> None:
    fields = funding_fields(qty="0", price="-1", side="?", trade_id="a b", stop_loss="none", fee="x", fee_asset="?")
    assert received(fields) == funding()


def test_funding_states_its_time_or_happened_when_it_arrived() -> None:
    assert received(funding_fields(ts="1700000000")).time_ms == 1_700_000_000_000
    assert received(funding_fields()).time_ms == TIME_MS


# assets


@pytest.mark.parametrize(
    ("symbol", "asset", "read"),
    [
        ("BTCUSDT", None, None),
        ("BTCUSDT", "", None),
        ("BTCUSDT", "USDT", None),
        ("BTCUSDT", "usdt", None),
        ("BTCUSDT", "BNB", "BNB"),
        ("BTCUSDT", "bnb", "BNB"),
        ("BTCUSDT", "BTC", "BTC"),
        ("BTCUSDT", "USDC", "USDC"),
        ("BTCUSDC", "USDC", None),
        ("BTCUSDC", "USDT", "USDT"),
        ("ETHBTC", "BTC", None),
        ("ETHBTC", "ETH", "ETH"),
        ("BTCUSDT_240628", "USDT", None),
        ("BTCUSDT_240628", "BNB", "BNB"),
        ("BTCUSDT", "1000SATS", "1000SATS"),
        ("BTCUSDT", "A" * 16, "A" * 16),
    ],
)
def test_the_quote_currency_goes_without_saying_and_any_other_asset_by_its_name(
    symbol: str, asset: str | None, read: str | None
) -> None:
    assert paid(symbol=symbol, fee="0.1", fee_asset=asset).fee_asset == read
    assert received(funding_fields(symbol=symbol, asset=asset)).asset == read


MALFORMED = ["B", "US DT", "USD₮", "-", "USDT ", "US-DT", "USDT\n", "A" * 17, "A" * 3000, "ﬁat", "\x1b[31m"]


@pytest.mark.parametrize("asset", MALFORMED, ids=ascii)
def test_a_malformed_asset_refuses_a_fill_and_freezes_its_book(asset: str) -> None:
    refusal = refused(fill_fields(fee="0.1", fee_asset=asset))
    assert (refusal.reason, refusal.book) == (Reason.BAD_ASSET, "BTCUSDT")
    assert "fee_asset" in refusal.detail
    assert refusal.detail.isascii()
    assert refusal.detail.isprintable()


@pytest.mark.parametrize("asset", MALFORMED, ids=ascii)
def test_a_malformed_asset_refuses_funding_and_freezes_nothing(asset: str) -> None:
    refusal = refused(funding_fields(asset=asset))
    assert (refusal.reason, refusal.book) == (Reason.BAD_ASSET, None)
    assert "asset" in refusal.detail


@pytest.mark.parametrize("value", ["12345", "1.5", "true", '["USDT"]', "{}"])
def test_an_asset_is_text_also_in_JSON(value: str) -> None:
    fill = '{"symbol":"BTCUSDT","status":"FILLED","side":"BUY","qty":1,"price":1,"fee":1,"fee_asset":' + value + "}"
    assert refused({"payload": fill}).reason is Reason.BAD_ASSET
    paid_out = '{"symbol":"BTCUSDT","status":"FUNDING","amount":1,"asset":' + value + "}"
    assert refused({"payload": paid_out}).reason is Reason.BAD_ASSET


def test_two_assets_of_one_fee_contradict_each_other() -> None:
    fields = fill_fields(fee="0.1", fee_asset="BNB") | {"data": '{"fee_asset":"USDT"}'}
    assert refused(fields).reason is Reason.CONFLICTING


def test_an_asset_without_a_fee_charges_nothing() -> None:
    assert paid(fee_asset="BNB").fee is None


def test_a_fill_may_carry_what_only_funding_reads() -> None:
    assert paid(amount="many", asset="?") == paid()


# any text


@given(st.text(max_size=45), st.text(max_size=20))
def test_no_text_raises_and_what_is_parsed_is_exactly_what_was_said(amount: str, asset: str) -> None:
    parsed = parse(ENTRY_ID, funding_fields(amount=amount, asset=asset))
    assert isinstance(parsed, Routed | Refused)
    if isinstance(parsed, Routed):
        assert isinstance(parsed.entry, Funding)
        assert abs(parsed.entry.amount - Decimal(amount)) <= Decimal("5e-13")
        assert parsed.entry.asset in (None, asset.upper())


@given(st.decimals("-1e14", "1e14", places=12), st.sampled_from([None, "BNB", "USDT"]))
def test_every_amount_on_the_grid_is_read_exactly(amount: Decimal, asset: str | None) -> None:
    read = received(funding_fields(amount=format(amount, "f"), asset=asset))
    assert (read.amount, read.asset) == (amount, "BNB" if asset == "BNB" else None)
