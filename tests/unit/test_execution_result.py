"""What an execution result may look like: every shape and every name that producers use."""

import json
from decimal import Decimal

import pytest
from entries import ENTRY_ID, TIME_MS, fill, fill_fields, mark, mark_fields, outcome, outcome_fields

from harvest_tasks.wire.execution_result import Ignored, IgnoredReason, Parsed, Refused, Routed, parse
from harvest_tasks.wire.refusal import RefusalReason
from kernel.positions.entry import Fill, OrderEndStatus, Side

NUMBERS = {"symbol": "BTCUSDT", "status": "FILLED", "side": "BUY", "qty": 0.5, "price": 60000}


def routed(fields: dict[str, str]) -> Routed:
    parsed = parse(ENTRY_ID, fields)
    assert isinstance(parsed, Routed), parsed
    return parsed


def filled(fields: dict[str, str]) -> Fill:
    entry = routed(fields).entry
    assert isinstance(entry, Fill)
    return entry


SHAPES = {
    "flat fields": fill_fields(),
    "JSON in payload": {"payload": json.dumps(fill_fields())},
    "JSON in data": {"data": json.dumps(fill_fields())},
    "JSON numbers": {"payload": json.dumps(NUMBERS)},
    "a signal inside the payload": {"payload": json.dumps({"status": "FILLED", "signal": {**NUMBERS}})},
    "a signal inside the data": {"data": json.dumps({"signal": NUMBERS})},
    "a signal of its own": {"signal": json.dumps(NUMBERS)},
    "flat beside nested": {**fill_fields(side=None, qty=None), "payload": json.dumps({"side": "BUY", "qty": "0.5"})},
    "flat and nested that agree": {**fill_fields(), "payload": json.dumps(NUMBERS)},
    "data within payload": {"payload": json.dumps({"event": "execution.result", "data": NUMBERS})},
    "white space around the JSON": {"payload": f"\n {json.dumps(NUMBERS, indent=1)} "},
}


@pytest.mark.parametrize("fields", SHAPES.values(), ids=SHAPES)
def test_every_shape_is_the_same_fill(fields: dict[str, str]) -> None:
    assert routed(fields) == Routed("BTCUSDT", "BTCUSDT", fill())


@pytest.mark.parametrize("status", ["FILLED", "filled", "Filled", "PARTIAL", "partial", "PARTIALLY_FILLED"])
def test_a_fill_goes_by_these_statuses_in_any_case(status: str) -> None:
    assert filled(fill_fields(status=status)) == fill()


@pytest.mark.parametrize(
    ("text", "side"), [("BUY", Side.BUY), ("buy", Side.BUY), ("Sell", Side.SELL), ("SELL", Side.SELL)]
)
@pytest.mark.parametrize("name", ["side", "action"])
def test_a_side_goes_by_two_names_in_any_case(name: str, text: str, side: Side) -> None:
    assert filled(fill_fields(side=None) | {name: text}).side is side


@pytest.mark.parametrize("name", ["qty", "quantity", "filled_qty"])
def test_a_quantity_goes_by_three_names(name: str) -> None:
    assert filled(fill_fields(qty=None) | {name: "0.25"}).qty == Decimal("0.25")


@pytest.mark.parametrize("name", ["price", "avg_price", "entry_price"])
def test_a_price_goes_by_three_names(name: str) -> None:
    assert filled(fill_fields(price=None) | {name: "61000.5"}).price == Decimal("61000.5")


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("trade_id", "trade_id"),
        ("fill_id", "trade_id"),
        ("intent_id", "intent_id"),
        ("correlation_id", "intent_id"),
    ],
)
def test_identities_go_by_two_names_each(name: str, meaning: str) -> None:
    assert getattr(filled(fill_fields(**{name: "t-1"})), meaning) == "t-1"


def test_beside_an_intent_id_a_correlation_id_may_be_the_producers_own() -> None:
    assert filled(fill_fields(intent_id="hv-1", correlation_id="trace-7")).intent_id == "hv-1"


@pytest.mark.parametrize("name", ["trade_id", "fill_id", "order_id", "intent_id"])
def test_an_identity_may_be_a_JSON_integer(name: str) -> None:
    entry = filled({"payload": json.dumps({**NUMBERS, name: 10**30})})
    if name != "order_id":
        value = entry.intent_id if name == "intent_id" else entry.trade_id
        assert value == str(10**30)
        assert type(value) is str


def test_optional_fields_are_read() -> None:
    fields = fill_fields(stop_loss="59000", atr="120.5", fee="-0.01", order_id="o-1")
    assert filled(fields) == fill(stop_loss=59_000, atr="120.5", fee="-0.01")


@pytest.mark.parametrize("fee", ["0", "-0", "0.0", "0.00000000000000001"])
def test_a_fee_of_nothing_is_none(fee: str) -> None:
    assert filled(fill_fields(fee=fee)).fee is None
    assert filled(fill_fields(fee=fee)).quote_fee == 0


EVERY_OPTIONAL = (
    *("trade_id", "fill_id", "order_id", "intent_id", "correlation_id", "stop_loss", "atr", "fee", "position_side"),
    *("ts", "timestamp", "action", "quantity", "filled_qty", "avg_price", "entry_price", "position_size_usd"),
    *("payload", "data", "signal"),
)


@pytest.mark.parametrize("name", EVERY_OPTIONAL)
def test_an_empty_field_says_nothing(name: str) -> None:
    assert routed(fill_fields(**{name: ""})).entry == fill()


@pytest.mark.parametrize("name", EVERY_OPTIONAL)
def test_a_JSON_null_says_nothing(name: str) -> None:
    assert routed({"payload": json.dumps({**NUMBERS, name: None})}).entry == fill()


def test_aliases_that_agree_are_one_statement() -> None:
    fields = fill_fields(
        action="buy", quantity="0.50", filled_qty="5e-1", avg_price="60000.0", fill_id="7", trade_id="7"
    )
    assert filled(fields) == fill(trade_id="7")


def test_a_planned_price_yields_to_the_executed_one() -> None:
    assert filled(fill_fields(entry_price="59990")).price == 60_000
    assert filled(fill_fields(entry_price="0")).price == 60_000


def test_the_size_in_dollars_yields_to_the_quantity() -> None:
    assert filled(fill_fields(position_size_usd="1000")).qty == Decimal("0.5")


def test_the_size_in_dollars_gives_the_quantity_rounded_half_even() -> None:
    fields = fill_fields(qty=None, position_size_usd="1000", price="60000")
    assert filled(fields).qty == Decimal("0.016666666667")
    tie = fill_fields(qty=None, position_size_usd="0.000000000005", price="2")
    assert filled(tie).qty == Decimal("0.000000000002")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8.7e-06", "0.0000087"),
        ("0.30000000000000004", "0.3"),
        ("1e15", None),
        ("1e14", "100000000000000"),
        ("1E+2", "100"),
        ("12e-12", "0.000000000012"),
        ("999999999999999.999999999999", "999999999999999.999999999999"),
        ("0.0000000000015", "0.000000000002"),
        ("0.0000000000025", "0.000000000002"),
        ("0.00000000000050000001", "0.000000000001"),
        ("999999999999999.99999999999999999999", None),
        ("5", "5"),
        ("5.0", "5"),
        ("5.00000000000000000000", "5"),
    ],
)
def test_numbers_keep_twelve_decimals_rounded_half_even(text: str, value: str | None) -> None:
    for name in ("qty", "price"):
        parsed = parse(ENTRY_ID, fill_fields(**{name: text}))
        if value is None:
            assert isinstance(parsed, Refused)
            assert parsed.reason is RefusalReason.TOO_LARGE
        else:
            assert isinstance(parsed, Routed)
            assert getattr(parsed.entry, name) == Decimal(value)


def test_a_JSON_number_is_read_as_text_not_as_float() -> None:
    payload = '{"symbol":"BTCUSDT","status":"FILLED","side":"BUY","qty":123456789012345.123456789012,"price":1}'
    assert filled({"payload": payload}).qty == Decimal("123456789012345.123456789012")


@pytest.mark.parametrize("symbol", ["BTCUSDT", "1000PEPEUSDT", "BTCUSDT_240628", "AB", "A" * 24])
def test_symbols(symbol: str) -> None:
    assert routed(fill_fields(symbol=symbol)).book == symbol


@pytest.mark.parametrize(
    ("position_side", "book"),
    [("LONG", "BTCUSDT:LONG"), ("SHORT", "BTCUSDT:SHORT"), ("short", "BTCUSDT:SHORT"), ("BOTH", "BTCUSDT")],
)
def test_a_position_side_names_the_book_of_a_hedged_account(position_side: str, book: str) -> None:
    assert routed(fill_fields(position_side=position_side)).book == book


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("1700000000", 1_700_000_000_000),
        ("1700000000123", 1_700_000_000_123),
        ("1700000000.1239", 1_700_000_000_123),
        ("1700000000123.9", 1_700_000_000_123),
        ("1.7e9", 1_700_000_000_000),
        ("2023-11-14T22:13:20Z", 1_700_000_000_000),
        ("2023-11-14T22:13:20", 1_700_000_000_000),
        ("2023-11-14 22:13:20.5", 1_700_000_000_500),
        ("2023-11-14T22:13:20.123456789Z", 1_700_000_000_123),
        ("2023-11-15T00:13:20.123+02:00", 1_700_000_000_123),
        ("2023-11-14T17:13-0500", 1_699_999_980_000),
        ("2009-01-01T00:00:00Z", 1_230_768_000_000),
        ("2100-12-31T23:59:59.999Z", 4_133_980_799_999),
    ],
)
@pytest.mark.parametrize("name", ["ts", "timestamp"])
def test_an_entry_states_its_time_in_seconds_milliseconds_or_ISO_8601(name: str, text: str, time_ms: int) -> None:
    assert filled(fill_fields(**{name: text})).time_ms == time_ms
    assert filled({"data": json.dumps({**NUMBERS, name: text})}).time_ms == time_ms


def test_a_time_may_be_a_JSON_number() -> None:
    assert filled({"data": json.dumps({**NUMBERS, "ts": 1700000001.25})}).time_ms == 1_700_000_001_250


def test_an_entry_without_a_time_happened_when_it_arrived() -> None:
    assert routed(fill_fields()).entry.time_ms == TIME_MS


def test_two_names_for_one_time_may_differ_in_precision() -> None:
    assert filled(fill_fields(ts="1700000000", timestamp="2023-11-14T22:13:20.987Z")).time_ms == 1_700_000_000_987


def test_the_time_of_an_event_goes_before_that_of_its_envelope() -> None:
    envelope = {"timestamp": "2023-11-14T23:00:00Z", "payload": json.dumps({**NUMBERS, "ts": 1700000000})}
    assert filled(envelope).time_ms == 1_700_000_000_000


def test_the_time_of_an_event_goes_before_that_of_the_signal_that_caused_it() -> None:
    event = {**NUMBERS, "ts": 1700000000, "signal": {"timestamp": 1600000000}}
    assert filled({"payload": json.dumps(event)}).time_ms == 1_700_000_000_000


def test_the_envelope_gives_the_time_when_the_event_has_none() -> None:
    envelope = {"timestamp": "2023-11-14T22:13:20Z", "payload": json.dumps(NUMBERS)}
    assert filled(envelope).time_ms == 1_700_000_000_000


def test_a_mark_reaches_every_book_of_its_symbol() -> None:
    assert parse(ENTRY_ID, mark_fields()) == Routed("BTCUSDT", None, mark())


def test_a_mark_needs_nothing_but_symbol_and_price_and_reads_nothing_else() -> None:
    fields = mark_fields(status="price_update", qty="0", side="", avg_price="0", position_side="?", stop_loss="none")
    assert parse(ENTRY_ID, fields) == Routed("BTCUSDT", None, mark())


@pytest.mark.parametrize("status", OrderEndStatus)
def test_an_outcome_names_its_intent(status: OrderEndStatus) -> None:
    fields = outcome_fields(status=status.lower())
    assert parse(ENTRY_ID, fields) == Routed("BTCUSDT", None, outcome(status))


@pytest.mark.parametrize(
    ("position_side", "book"),
    [("LONG", "BTCUSDT:LONG"), ("SHORT", "BTCUSDT:SHORT"), ("BOTH", None), ("", None), (None, None)],
)
def test_an_outcome_goes_to_the_book_of_its_position_side_or_to_every_book(
    position_side: str | None, book: str | None
) -> None:
    assert routed(outcome_fields(position_side=position_side)).book == book


def test_an_outcome_may_show_a_price_and_quantity_of_zero() -> None:
    fields = outcome_fields(price="0", qty="0", filled_qty="0.0", avg_price="0", side="?")
    assert routed(fields).entry == outcome()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (outcome_fields(intent_id=None), IgnoredReason.NO_INTENT_ID),
        (outcome_fields(intent_id=""), IgnoredReason.NO_INTENT_ID),
        (outcome_fields(symbol=None), IgnoredReason.NO_SYMBOL),
        (fill_fields(status="NEW"), IgnoredReason.NO_EXECUTION),
        (fill_fields(qty="0"), IgnoredReason.ZERO_QUANTITY),
        (fill_fields(status="SETTLED", side=None), IgnoredReason.UNKNOWN_STATUS),
        (fill_fields(status="FILLED ", qty=None), IgnoredReason.UNKNOWN_STATUS),
        (fill_fields(status="x" * 4000, price=None), IgnoredReason.UNKNOWN_STATUS),
        # str.upper() turns this ligature into FI
        (fill_fields(status="\ufb01lled", price=None), IgnoredReason.UNKNOWN_STATUS),
        ({"payload": '{"status": 5, "price": "abc"}'}, IgnoredReason.UNKNOWN_STATUS),
        ({"payload": '{"status": ["FILLED"]}'}, IgnoredReason.UNKNOWN_STATUS),
    ],
)
def test_what_says_nothing_about_a_position_is_ignored(fields: dict[str, str], reason: IgnoredReason) -> None:
    assert parse(ENTRY_ID, fields) == Ignored(reason)


def test_fields_that_nobody_reads_may_hold_anything() -> None:
    assert routed(fill_fields(note="\x00 \U0001f600 1e999999999", signal="STRONG_BUY", leverage="-3")).entry == fill()


def test_limits_are_inclusive() -> None:
    fields = fill_fields()
    spare = 4096 - sum(len(name) + len(value) for name, value in fields.items())
    accepted: list[Parsed] = [
        parse(ENTRY_ID, fields | {"note": "x" * (spare - 4)}),
        parse(ENTRY_ID, fields | {"note": "\u00e9" * ((spare - 4) // 2)}),
        parse(ENTRY_ID, fields | {f"f{n}": "" for n in range(27)}),
        parse(ENTRY_ID, {"data": json.dumps(NUMBERS | {f"f{n}": 0 for n in range(27)})}),
        parse(ENTRY_ID, {"data": json.dumps(NUMBERS | {"a": {"b": [{}, {}]}})}),
        parse(ENTRY_ID, {"data": json.dumps(NUMBERS | {"a": '[[[[[[[[{\\"', "b": []})}),
        parse(ENTRY_ID, fill_fields(trade_id="t" * 64)),
    ]
    assert [type(parsed) for parsed in accepted] == [Routed] * len(accepted)
