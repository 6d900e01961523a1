"""What holds for every execution result that is parsed."""

import json
import math
from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from typing import Any

import pytest
from entries import ENTRY_ID, fill_fields
from hypothesis import example, given
from hypothesis import strategies as st

from harvest_tasks.wire import fields as wire_fields
from harvest_tasks.wire.execution_result import Ignored, Refused, Routed, parse
from harvest_tasks.wire.symbols import symbol_of
from kernel.positions.entry import Fill, Side
from kernel.positions.quantities import plain

WIDE = Context(prec=200, rounding=ROUND_HALF_EVEN)
GRID = Decimal("1e-12")

NAMES = [
    *wire_fields.FILL,
    *wire_fields.FILLED_QTY,
    *wire_fields.CUMULATIVE,
    "status",
    "entry_price",
    "position_size_usd",
    "ts",
    "timestamp",
    "payload",
    "data",
    "signal",
]
STATUSES = ("FILLED", "PARTIAL", "PRICE_UPDATE", "REJECTED", "CANCELED", "EXPIRED", "CALCULATED", "NEW", "SETTLED")

any_text = st.text(st.characters(), max_size=60)
likely_text = st.sampled_from(
    ["BTCUSDT", "BUY", "1", "0", "-1", "1e5000000", "NaN", "1700000000", "2023-11-14T22:13:20Z", "LONG", "{", "[]", ""]
)
any_value: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text | likely_text | st.sampled_from(STATUSES),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES) | any_text, inner, max_size=8),
    max_leaves=12,
)
any_object = st.dictionaries(st.sampled_from(NAMES), any_value, max_size=12)
any_fields = st.builds(
    lambda texts, nested, status: {**texts, **nested, **status},
    st.dictionaries(st.sampled_from(NAMES) | any_text, any_text | likely_text, max_size=12),
    st.dictionaries(st.sampled_from(["payload", "data", "signal"]), any_object.map(json.dumps), max_size=2),
    st.just({}) | st.sampled_from(STATUSES).map(lambda status: {"status": status}),
)

PLACEHOLDERS = ("0", "-1", "NONE", "NULL", "N/A", "UNDEFINED", "NAN")
on_grid = st.decimals(Decimal("1e-12"), Decimal("99999999999999"), places=12).filter(lambda number: number > 0)
identities = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=64)
fills = st.builds(
    Fill,
    st.just(ENTRY_ID),
    st.integers(1_230_768_000_000, 4_133_980_799_999),
    st.sampled_from(Side),
    on_grid,
    on_grid,
    st.none() | identities.filter(lambda text: text.upper() not in PLACEHOLDERS),
    st.none() | identities,
    st.none() | on_grid,
    st.none() | on_grid,
    st.none() | st.decimals(-1000, 1000, places=12).filter(bool),
    st.none(),
)
books = st.sampled_from([("BTCUSDT", ""), ("BTCUSDT:LONG", "LONG"), ("BTCUSDT:SHORT", "SHORT")])


def said(fill: Fill, position_side: str) -> dict[str, str]:
    """The fields a producer would write for `fill`."""
    optional = {
        "trade_id": fill.trade_id,
        "intent_id": fill.intent_id,
        "stop_loss": fill.stop_loss,
        "atr": fill.atr,
        "fee": fill.fee,
    }
    return {
        **fill_fields(side=fill.side, qty=plain(fill.qty), price=plain(fill.price), ts=str(fill.time_ms)),
        **{name: plain(v) if isinstance(v, Decimal) else v for name, v in optional.items() if v is not None},
        **({"position_side": position_side} if position_side else {}),
    }


def with_numbers(fields: Mapping[str, str]) -> str:
    """JSON with its numbers as numbers."""
    numeric = {name: fields[name] for name in ("qty", "price", "stop_loss", "atr", "fee", "ts") if name in fields}
    texts = {name: value for name, value in fields.items() if name not in numeric}
    return (
        "{"
        + ",".join(
            [
                *(f"{json.dumps(k)}:{json.dumps(v)}" for k, v in texts.items()),
                *(f'"{k}":{v}' for k, v in numeric.items()),
            ]
        )
        + "}"
    )


def shapes(fields: dict[str, str]) -> dict[str, dict[str, str]]:
    status = {"status": fields["status"]}
    return {
        "flat": fields,
        "payload": {"payload": json.dumps(fields)},
        "data": {"data": with_numbers(fields)},
        "signal": {**status, "signal": with_numbers(fields)},
        "nested signal": {"payload": json.dumps({**status, "signal": fields}, ensure_ascii=False)},
    }


@given(any_fields)
@example({"status": "FILLED", "payload": "[" * 4000})
def test_no_text_makes_the_parser_raise(fields: dict[str, str]) -> None:
    assert isinstance(parse(ENTRY_ID, fields), Routed | Refused | Ignored)


@given(any_fields)
def test_only_a_fill_that_names_its_symbol_freezes_a_book(fields: dict[str, str]) -> None:
    parsed = parse(ENTRY_ID, fields)
    if isinstance(parsed, Refused) and (parsed.book or parsed.symbol):
        everything = "".join([*fields, *fields.values()]).upper()
        is_fill = any(word in everything for word in ("FILLED", "PARTIAL", "CALCULATED"))
        assert is_fill or ("PRICE" in everything and ("SIDE" in everything or "ACTION" in everything))
        assert (parsed.symbol or symbol_of(parsed.book or "")) in everything
        assert None in (parsed.book, parsed.symbol)


@given(any_fields)
def test_every_detail_is_one_short_line_of_printable_ASCII(fields: dict[str, str]) -> None:
    parsed = parse(ENTRY_ID, fields)
    if isinstance(parsed, Refused):
        assert len(parsed.detail) <= 200
        assert parsed.detail.isascii()
        assert parsed.detail.isprintable()


@given(fills, books)
def test_a_fill_is_the_same_in_every_shape(fill: Fill, place: tuple[str, str]) -> None:
    book, position_side = place
    for fields in shapes(said(fill, position_side)).values():
        assert parse(ENTRY_ID, fields) == Routed("BTCUSDT", book, fill)


@given(fills, st.sampled_from(["status", "symbol", "side", "qty", "price"]))
def test_a_fill_that_lost_a_field_is_refused_in_every_shape(fill: Fill, field: str) -> None:
    fields = said(fill, "")
    for shape in shapes(fields).values():
        lacking = {name: _without(field, name, text) for name, text in shape.items() if name != field}
        assert isinstance(parse(ENTRY_ID, lacking), Refused)


def _without(field: str, name: str, text: str) -> str:
    if name not in ("payload", "data", "signal"):
        return text
    members = json.loads(text, parse_float=str, parse_int=str)
    inner = members.get("signal")
    if isinstance(inner, dict):
        inner.pop(field, None)
    members.pop(field, None)
    return json.dumps(members)


@given(st.floats(1e-11, 1e15, exclude_max=True, allow_nan=False))
@example(8.7e-06)
@example(0.1 + 0.2)
@example(1e-12)
@example(math.nextafter(1e15, 0))
def test_a_float_as_producers_write_it_is_a_number(value: float) -> None:
    for text in (repr(value), str(value), json.dumps(value)):
        assert _qty(text) == _rounded(text)


@given(st.integers(1, 10**15 - 2), st.integers(0, 10**20 - 1))
@example(1, 25 * 10**7 * 10**5)
def test_numbers_are_rounded_half_even_to_twelve_decimals(whole: int, decimals: int) -> None:
    text = f"{whole}.{decimals:020}"
    assert _qty(text) == _rounded(text)


@given(st.integers(0, 10**12 - 1))
def test_a_tie_goes_to_the_even_neighbour(units: int) -> None:
    rounded = _qty(f"1.{units:012}5")
    assert rounded * 10**12 % 2 == 0
    assert abs(rounded - Decimal(f"1.{units:012}5")) == Decimal("5e-13")


@pytest.mark.parametrize("context", [Context(prec=3), Context(prec=3, Emax=5, Emin=-5)])
def test_the_callers_decimal_context_does_not_matter(context: Context) -> None:
    fields = fill_fields(qty=None, position_size_usd="1000", fee="-123456.789012345", ts="1700000000.1239")
    expected = parse(ENTRY_ID, fields)
    with localcontext(context):
        assert parse(ENTRY_ID, fields) == expected


def _qty(text: str) -> Decimal:
    parsed = parse(ENTRY_ID, fill_fields(qty=text))
    assert isinstance(parsed, Routed), parsed
    assert isinstance(parsed.entry, Fill)
    return parsed.entry.qty


def _rounded(text: str) -> Decimal:
    return Decimal(text).quantize(GRID, context=WIDE)
