"""How real producers differ: status words, placeholders, optional fields, an order's prices and totals."""

import json
from decimal import Decimal

import pytest
from entries import ENTRY_ID, fill_fields, mark_fields, outcome_fields
from hypothesis import given
from hypothesis import strategies as st

from harvest_tasks.wire.execution_result import Ignored, IgnoredReason, Refused, Routed, parse
from harvest_tasks.wire.refusal import RefusalReason as Reason
from kernel.positions.entry import Fill, OrderEnded, OrderEndStatus, Side


def filled(**fields: str | None) -> Fill:
    return filled_by(fill_fields(**fields))


def filled_by(fields: dict[str, str]) -> Fill:
    parsed = parse(ENTRY_ID, fields)
    assert isinstance(parsed, Routed), parsed
    assert isinstance(parsed.entry, Fill)
    return parsed.entry


def book_of(**fields: str | None) -> str | None:
    parsed = parse(ENTRY_ID, fill_fields(**fields))
    assert isinstance(parsed, Routed), parsed
    return parsed.book


def refused(**fields: str | None) -> Refused:
    parsed = parse(ENTRY_ID, fill_fields(**fields))
    assert isinstance(parsed, Refused), parsed
    return parsed


# status words

FILL_WORDS = (
    *("FILLED", "Filled", "PARTIAL", "PARTIALLY_FILLED", "PartiallyFilled", "partially_filled", "PARTIAL_FILL"),
    *("partial-filled", "CALCULATED", "TRADE", "trade", "LIQUIDATION", "ADL"),
)
END_WORDS = {
    "REJECTED": OrderEndStatus.REJECTED,
    "FAILED": OrderEndStatus.REJECTED,
    "failed": OrderEndStatus.REJECTED,
    "EXPIRED": OrderEndStatus.EXPIRED,
    "EXPIRED_IN_MATCH": OrderEndStatus.EXPIRED,
    "ExpiredInMatch": OrderEndStatus.EXPIRED,
    "CANCELED": OrderEndStatus.CANCELED,
    "CANCELLED": OrderEndStatus.CANCELED,
    "Cancelled": OrderEndStatus.CANCELED,
    "PARTIALLYFILLEDCANCELED": OrderEndStatus.CANCELED,
    "PartiallyFilledCanceled": OrderEndStatus.CANCELED,
    "PartiallyFilledCancelled": OrderEndStatus.CANCELED,
    "PARTIALLY_FILLED_CANCELED": OrderEndStatus.CANCELED,
    "MMP_CANCELED": OrderEndStatus.CANCELED,
    "mmp_cancelled": OrderEndStatus.CANCELED,
    "DEACTIVATED": OrderEndStatus.CANCELED,
    "Deactivated": OrderEndStatus.CANCELED,
}
NO_EXECUTIONS = (
    *("NEW", "ACCEPTED", "PENDING", "PENDING_NEW", "OPEN", "CREATED", "SUBMITTED", "PLACED", "WORKING", "UNTRIGGERED"),
    *("TRIGGERED", "ACTIVE", "LIVE", "AMENDED", "REPLACED", "MODIFIED", "PENDING_CANCEL", "CANCELING"),
    *("TRADE_PREVENTION", "PendingNew", "new", "Cancelling"),
)
UNKNOWN = ("SETTLED", "EXECUTED", "FILLED ", "FILL ED", "NEW!", "DONE", "CLOSED", "x" * 1000, "\ufb01lled", "5", "BUST")
PLACES = {"": "BTCUSDT", "LONG": "BTCUSDT:LONG", "SHORT": "BTCUSDT:SHORT"}


@pytest.mark.parametrize("word", FILL_WORDS)
@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("leg", PLACES)
def test_an_execution_goes_by_many_words(word: str, side: Side, leg: str) -> None:
    fields = fill_fields(status=word, side=side, position_side=leg)
    assert parse(ENTRY_ID, fields) == parse(ENTRY_ID, fields | {"status": "FILLED"})
    assert book_of(status=word, side=side, position_side=leg) == PLACES[leg]


def test_an_auto_deleveraging_is_a_fill_of_its_own_quantity() -> None:
    fill = filled(status="CALCULATED", side="BUY", qty="5", price="80")
    assert (fill.side, fill.qty, fill.price) == (Side.BUY, 5, 80)


@pytest.mark.parametrize(("word", "status"), END_WORDS.items())
@pytest.mark.parametrize("leg", PLACES)
def test_an_order_ends_by_many_words(word: str, status: OrderEndStatus, leg: str) -> None:
    parsed = parse(ENTRY_ID, outcome_fields(status=word, position_side=leg))
    assert isinstance(parsed, Routed)
    assert isinstance(parsed.entry, OrderEnded)
    assert (parsed.entry.status, parsed.book) == (status, PLACES[leg] if leg else None)


@pytest.mark.parametrize("word", NO_EXECUTIONS)
def test_the_life_of_an_order_is_no_execution_whatever_the_order_is(word: str) -> None:
    ignored = Ignored(IgnoredReason.NO_EXECUTION)
    assert parse(ENTRY_ID, fill_fields(status=word)) == ignored
    assert parse(ENTRY_ID, fill_fields(status=word, side="?", qty="-1", price="nan", symbol="?")) == ignored
    assert parse(ENTRY_ID, outcome_fields(status=word)) == ignored


@pytest.mark.parametrize("word", UNKNOWN)
@pytest.mark.parametrize("leg", PLACES)
def test_an_unknown_word_beside_an_execution_freezes_its_book(word: str, leg: str) -> None:
    found = refused(status=word, position_side=leg)
    assert (found.reason, found.book) == (Reason.UNKNOWN_STATUS, PLACES[leg])


@pytest.mark.parametrize("side", ["side", "action"])
@pytest.mark.parametrize("qty", ["qty", "quantity", "filled_qty", "filled", "cum_qty", "executedQty", "z"])
@pytest.mark.parametrize("price", ["price", "avg_price", "last_price", "fill_price"])
def test_an_execution_is_known_by_any_of_its_names(side: str, qty: str, price: str) -> None:
    fields = {"symbol": "BTCUSDT", "status": "SETTLED"}
    signs = {side: "SELL", qty: "1", price: "100"}
    assert parse(ENTRY_ID, fields | signs) == Refused(Reason.UNKNOWN_STATUS, _detail(fields | signs), "BTCUSDT")
    nested = {"symbol": "BTCUSDT", "payload": json.dumps({"status": "SETTLED", "signal": signs})}
    assert isinstance(parse(ENTRY_ID, nested), Refused)
    for name in signs:
        for missing in ("", "0", "0.000"):
            lacking = fields | signs | {name: missing}
            assert (name == side and missing) or parse(ENTRY_ID, lacking) == Ignored(IgnoredReason.UNKNOWN_STATUS)


def _detail(fields: dict[str, str]) -> str:
    parsed = parse(ENTRY_ID, fields)
    assert isinstance(parsed, Refused)
    return parsed.detail


# quantities


@pytest.mark.parametrize("word", FILL_WORDS)
@pytest.mark.parametrize("zero", ["0", "0.0", "0.00000000", "0e5"])
@pytest.mark.parametrize("name", ["qty", "quantity", "filled_qty", "filled", "cum_qty", "executedQty", "z"])
def test_a_fill_of_nothing_is_no_execution(word: str, zero: str, name: str) -> None:
    fields = fill_fields(status=word, qty=None) | {name: zero}
    assert parse(ENTRY_ID, fields) == Ignored(IgnoredReason.ZERO_QUANTITY)


@pytest.mark.parametrize("flaw", [{"price": "0"}, {"price": "nan"}, {"side": "NONE"}, {"symbol": "?"}, {"ts": "soon"}])
def test_a_fill_of_nothing_may_be_wrong_in_anything(flaw: dict[str, str]) -> None:
    assert parse(ENTRY_ID, fill_fields(qty="0") | flaw) == Ignored(IgnoredReason.ZERO_QUANTITY)


@pytest.mark.parametrize("tiny", ["0.0000000000004", "1e-12x", "-0", "1e-13"])
def test_a_quantity_that_is_not_zero_is_not_ignored(tiny: str) -> None:
    assert refused(qty=tiny).book == "BTCUSDT"


@pytest.mark.parametrize("name", ["filled", "cum_qty", "executedQty", "z"])
@pytest.mark.parametrize("leg", PLACES)
def test_the_total_of_an_order_is_no_quantity_of_a_fill(name: str, leg: str) -> None:
    found = refused(qty=None, position_side=leg, **{name: "0.7"})
    assert (found.reason, found.book) == (Reason.CUMULATIVE_QUANTITY, PLACES[leg])


@pytest.mark.parametrize("name", ["filled", "cum_qty", "executedQty", "z", "filled_qty"])
@pytest.mark.parametrize("value", ["0.7", "0", "true", "nan", "-1"])
@pytest.mark.parametrize("own", ["qty", "quantity"])
def test_the_total_of_an_order_is_not_read_beside_the_quantity_of_the_fill(name: str, value: str, own: str) -> None:
    assert filled(**{"qty": None, own: "0.25", name: value}) == filled(qty="0.25")


# identities

PLACEHOLDERS = ("0", "None", "null", "-1", "N/A", "undefined", "nan", "NONE", "NaN", "n/a", "Undefined", "NULL", "")


@pytest.mark.parametrize("text", PLACEHOLDERS)
@pytest.mark.parametrize("name", ["trade_id", "fill_id"])
def test_a_placeholder_is_no_trade_id(text: str, name: str) -> None:
    assert filled(**{name: text}).trade_id is None
    assert filled(**{name: text, "order_id": text}).trade_id is None


@pytest.mark.parametrize("number", ["0", "-1"])
def test_a_placeholder_may_be_a_JSON_number(number: str) -> None:
    payload = '{"symbol":"BTCUSDT","status":"FILLED","side":"BUY","qty":1,"price":1,"trade_id":' + number + "}"
    assert filled_by({"payload": payload}).trade_id is None


def test_a_placeholder_does_not_contradict_an_id() -> None:
    assert filled(trade_id="0", fill_id="8812").trade_id == "8812"
    assert filled(trade_id="8812", fill_id="None").trade_id == "8812"


@pytest.mark.parametrize("order_id", PLACEHOLDERS)
def test_a_placeholder_is_no_order_id(order_id: str) -> None:
    assert filled(trade_id="8812", order_id=order_id).trade_id == "8812"


@pytest.mark.parametrize("name", ["trade_id", "fill_id"])
@pytest.mark.parametrize("text", ["77001", "o-1", "00"])
def test_the_id_of_the_order_is_no_trade_id(name: str, text: str) -> None:
    assert filled(**{name: text, "order_id": text}).trade_id is None
    assert filled(**{name: text, "order_id": "another"}).trade_id == text
    numbers = {"symbol": "BTCUSDT", "status": "FILLED", "side": "SELL", "qty": 1, "price": 100}
    assert filled_by({"data": json.dumps({**numbers, name: 77001, "order_id": "77001"})}).trade_id is None


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=64))
def test_every_other_text_is_an_id(text: str) -> None:
    expected = None if text.upper() in {word.upper() for word in PLACEHOLDERS} else text
    assert filled(trade_id=text).trade_id == expected


# optional fields

UNREADABLE = ("0", "0.0", "0e3", "None", "nan", "-Infinity", "abc", "1e99", "4.4e-16", "9" * 41, "1" * 3000, "1,5")


@pytest.mark.parametrize("text", [*UNREADABLE, "-5"])
@pytest.mark.parametrize("name", ["stop_loss", "stopLoss", "sl", "atr", "take_profit", "leverage"])
@pytest.mark.parametrize("side", Side)
def test_an_unreadable_optional_field_never_costs_the_fill(name: str, text: str, side: Side) -> None:
    assert filled(side=side, **{name: text}) == filled(side=side)


@pytest.mark.parametrize("text", [*UNREADABLE, "-0", "--1", "-"])
def test_an_unreadable_fee_never_costs_the_fill(text: str) -> None:
    assert filled(fee=text) == filled()


@pytest.mark.parametrize("value", ["true", "[]", '{"usd":1}', "0", "-0.0", "1e400"])
@pytest.mark.parametrize("name", ["stop_loss", "atr", "fee"])
def test_an_unreadable_optional_field_of_JSON_never_costs_the_fill(name: str, value: str) -> None:
    payload = '{"symbol":"BTCUSDT","status":"FILLED","side":"BUY","qty":0.5,"price":60000,"' + name + '":' + value + "}"
    assert filled_by({"payload": payload}) == filled()


@pytest.mark.parametrize("name", ["stop_loss", "stopLoss", "sl"])
def test_a_stop_goes_by_three_names(name: str) -> None:
    assert filled(**{name: "59000"}).stop_loss == 59_000
    assert filled(side="SELL", position_side="SHORT", **{name: "61000.5"}).stop_loss == Decimal("61000.5")


@pytest.mark.parametrize("name", ["stop", "stop_price", "stopPrice"])
def test_the_trigger_of_an_order_is_no_stop(name: str) -> None:
    assert filled(**{name: "59000"}).stop_loss is None


@pytest.mark.parametrize("name", ["stop_loss", "atr", "fee"])
def test_an_optional_field_that_contradicts_itself_is_absent(name: str) -> None:
    for others in ('{"%s":7}', '{"%s":7,"signal":{"%s":5}}'):
        fields = fill_fields(**{name: "5"}) | {"data": others.replace("%s", name)}
        assert filled_by(fields) == filled()
    assert getattr(filled_by(fill_fields(**{name: "5"}) | {"data": f'{{"{name}":"nan"}}'}), name) == 5


@given(st.text(max_size=50), st.sampled_from(["stop_loss", "stopLoss", "sl", "atr", "fee"]))
def test_no_text_of_an_optional_field_costs_the_fill(text: str, name: str) -> None:
    assert filled(**{name: text})._replace(stop_loss=None, atr=None, fee=None) == filled()


# numbers


def test_small_doubles_as_JavaScript_prints_them_are_numbers() -> None:
    fill = filled(fee="0.0000034048000000000003", price="0.000008512345678901234")
    assert (fill.fee, fill.price) == (Decimal("0.000003404800"), Decimal("0.000008512346"))


@pytest.mark.parametrize("decimals", [21, 25])
def test_a_number_may_have_up_to_25_decimals(decimals: int) -> None:
    text = "0." + "123456789012" + "3" * (decimals - 12)
    assert filled(qty=text, price=text).qty == Decimal("0.123456789012")
    assert refused(qty="0." + "1" * 26).reason is Reason.NOT_A_NUMBER


def test_a_number_with_decimals_may_have_40_characters() -> None:
    text = "12345678901234." + "1" * 25
    assert len(text) == 40
    assert filled(qty=text).qty == Decimal("12345678901234.111111111111")
    assert refused(qty="1" + text).reason is Reason.NUMBER_TOO_LONG


# position sides


@pytest.mark.parametrize("text", ["net", "NET", "Net", "none", "NONE", "both", "BOTH", "", None])
@pytest.mark.parametrize("side", Side)
def test_a_net_position_is_one_way(text: str | None, side: Side) -> None:
    assert book_of(side=side, position_side=text) == "BTCUSDT"


def test_two_words_for_one_way_agree() -> None:
    assert parse(ENTRY_ID, fill_fields(position_side="net") | {"data": '{"position_side":"BOTH"}'}) == parse(
        ENTRY_ID, fill_fields()
    )


@pytest.mark.parametrize("leg", ["SIDEWAYS", "BUY", "LONG ", "1", "\x00", "LONGSHORT"])
@pytest.mark.parametrize("flaw", [{}, {"price": "0"}, {"status": "SETTLED"}, {"side": "UP"}])
@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_a_fill_of_an_unreadable_leg_puts_every_book_of_its_symbol_in_doubt(
    leg: str, flaw: dict[str, str], symbol: str
) -> None:
    parsed = parse(ENTRY_ID, fill_fields(symbol=symbol, position_side=leg) | flaw)
    assert isinstance(parsed, Refused)
    assert (parsed.book, parsed.symbol) == (None, symbol)


@pytest.mark.parametrize(
    "fields",
    [
        fill_fields(symbol="btcusdt", position_side="SIDEWAYS"),
        outcome_fields(position_side="SIDEWAYS"),
        {"symbol": "BTCUSDT", "status": "FUNDING", "amount": "1", "position_side": "SIDEWAYS"},
    ],
)
def test_other_entries_of_an_unreadable_leg_put_nothing_in_doubt(fields: dict[str, str]) -> None:
    parsed = parse(ENTRY_ID, fields)
    assert isinstance(parsed, Refused)
    assert (parsed.book, parsed.symbol) == (None, None)


# prices


@pytest.mark.parametrize(
    ("prices", "price"),
    [
        ({"last_price": "101", "price": "100", "avg_price": "102"}, 101),
        ({"fill_price": "101", "price": "100", "avg_price": "102"}, 101),
        ({"last_price": "101", "fill_price": "101.0", "avg_price": "102"}, 101),
        ({"last_price": "0", "price": "100"}, 100),
        ({"last_price": "0", "fill_price": "101", "price": "100"}, 101),
        ({"price": "100", "avg_price": "102"}, 100),
        ({"price": "100", "avg_price": "0"}, 100),
        ({"price": "0", "avg_price": "102"}, 102),
        ({"price": "0.0", "avg_price": "102", "entry_price": "90"}, 102),
        ({"price": "0", "avg_price": "0", "entry_price": "90"}, 90),
        ({"avg_price": "102", "entry_price": "90"}, 102),
        ({"last_price": "8.5", "entry_price": "90"}, Decimal("8.5")),
    ],
)
@pytest.mark.parametrize("place", [{}, {"side": "SELL", "position_side": "SHORT"}])
def test_a_fill_has_its_own_price(prices: dict[str, str], price: Decimal, place: dict[str, str]) -> None:
    assert filled_by(fill_fields(status="PARTIAL", price=None) | prices | place).price == price


@pytest.mark.parametrize("prices", [{"price": "0"}, {"avg_price": "0"}, {"last_price": "0", "price": "0.0"}])
def test_a_fill_at_zero_is_refused(prices: dict[str, str]) -> None:
    parsed = parse(ENTRY_ID, fill_fields(price=None) | prices)
    assert isinstance(parsed, Refused)
    assert (parsed.reason, parsed.book) == (Reason.NOT_POSITIVE, "BTCUSDT")


def test_whether_the_limit_or_the_mean_was_the_price_of_a_whole_order_is_not_guessed() -> None:
    assert refused(price="100", avg_price="99.5").reason is Reason.CONFLICTING
    assert filled(price="100", avg_price="100.0").price == 100
    assert filled(price="100", avg_price="99.5", last_price="99").price == 99


def test_a_mark_has_one_price_only() -> None:
    parsed = parse(ENTRY_ID, mark_fields(price=None, last_price="100"))
    assert isinstance(parsed, Refused)
    assert parsed.reason is Reason.MISSING
