"""Hashes that another service writes about positions: what each says, and what none of them can say."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvest_tasks.wire.exchange_position import (
    ExchangeFlat,
    ExchangeSnapshot,
    UnreadableSnapshot,
    books_of,
    read_exchange_position,
)

NOW_MS = 1_700_000_000_000
LONGEST_MS = 600_000
LONG = {"symbol": "BTCUSDT", "side": "LONG", "qty": "0.5", "entry_price": "60000"}


def read(book: str = "BTCUSDT", /, **fields: str | None) -> ExchangeSnapshot | ExchangeFlat | UnreadableSnapshot:
    """`LONG` with some fields replaced, or left out where None is given."""
    merged = {name: text for name, text in {**LONG, **fields}.items() if text is not None}
    return read_exchange_position(book, merged, NOW_MS, LONGEST_MS)


def test_a_record_is_read_exactly() -> None:
    found = read(qty="0.10000000000000000001", entry_price="60000.1", current_sl="59000.5", age_sec="12.5")
    assert found == ExchangeSnapshot("BTCUSDT", Decimal("0.1"), Decimal("60000.1"), Decimal("59000.5"), 12_500)


@pytest.mark.parametrize(
    ("side", "qty", "signed"),
    [("LONG", "2", 2), ("BUY", "2", 2), ("buy", "2", 2), ("SHORT", "2", -2), ("SELL", "-2", -2), ("short", "-2", -2)],
)
def test_the_side_gives_the_sign(side: str, qty: str, signed: int) -> None:
    assert read(side=side, qty=qty) == ExchangeSnapshot("BTCUSDT", Decimal(signed), Decimal(60_000))


def test_quantity_is_another_name() -> None:
    assert read(qty=None, quantity="3") == ExchangeSnapshot("BTCUSDT", Decimal(3), Decimal(60_000))


@pytest.mark.parametrize("side", ["FLAT", "NONE", "", "LONG", "SELL", None])
@pytest.mark.parametrize("qty", ["0", "0.0", "-0", "0e-8"])
def test_no_quantity_is_flat_whatever_the_side(side: str | None, qty: str) -> None:
    assert read(side=side, qty=qty, entry_price="0") == ExchangeFlat("BTCUSDT")


@pytest.mark.parametrize("stop", ["0", "0.0", "", None])
def test_a_stop_of_0_is_none(stop: str | None) -> None:
    assert read(current_sl=stop) == ExchangeSnapshot("BTCUSDT", Decimal("0.5"), Decimal(60_000))


@pytest.mark.parametrize("age", ["-3", "1.7e9", "soon", "0", ""])
def test_an_age_that_cannot_be_one_is_ignored(age: str) -> None:
    assert read(age_sec=age) == ExchangeSnapshot("BTCUSDT", Decimal("0.5"), Decimal(60_000))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"qty": None}, "qty is missing"),
        ({"qty": ""}, "qty is missing"),
        ({"qty": "NaN"}, "qty 'NaN' is not a plain positive number"),
        ({"qty": "1,5"}, "qty '1,5' is not a plain positive number"),
        ({"qty": "1e5000000"}, "qty '1e5000000' has an exponent outside -12..15"),
        ({"qty": "+1"}, "qty '+1' is not a plain positive number"),
        ({"qty": "-1"}, "a long has a negative quantity"),
        ({"side": "FLAT"}, "side is 'FLAT', not LONG or SHORT"),
        ({"side": None}, "side is '', not LONG or SHORT"),
        ({"entry_price": None}, "entry_price is missing"),
        ({"entry_price": "0"}, "entry_price must be above 0 when rounded to 12 decimals"),
        ({"entry_price": "-5"}, "entry_price '-5' is not a plain positive number"),
        ({"current_sl": "-5"}, "current_sl '-5' is not a plain positive number"),
        ({"current_sl": "none"}, "current_sl 'none' is not a plain positive number"),
        ({"position_side": "UP"}, "position_side is 'UP', not LONG, SHORT, BOTH, NET or NONE"),
        ({"position_side": "\u017fHORT"}, "position_side is '\\u017fHORT', not LONG, SHORT, BOTH, NET or NONE"),
        ({"timestamp": "yesterday"}, "timestamp 'yesterday' is neither unix time nor ISO 8601"),
    ],
)
def test_what_cannot_be_used_is_unreadable_and_says_why(fields: dict[str, str | None], why: str) -> None:
    assert read("BTCUSDT", **fields) == UnreadableSnapshot("BTCUSDT", why)


@pytest.mark.parametrize("name", ["ts", "timestamp", "time", "updated_at"])
def test_a_record_that_states_an_old_time_is_stale(name: str) -> None:
    assert isinstance(read(**{name: str(NOW_MS - LONGEST_MS)}), ExchangeSnapshot)
    assert read(**{name: str(NOW_MS - LONGEST_MS - 1)}) == UnreadableSnapshot("BTCUSDT", "stale: written 600 s ago")
    assert read(**{name: str((NOW_MS - LONGEST_MS) // 1000 - 1)}) == UnreadableSnapshot(
        "BTCUSDT", "stale: written 601 s ago"
    )


def test_a_flat_record_that_is_stale_is_still_one_of_no_position() -> None:
    assert read(qty="0", ts=str(NOW_MS - 900_000)) == ExchangeFlat("BTCUSDT", "stale: written 900 s ago")


def test_a_leg_is_read_under_its_own_name() -> None:
    assert read("BTCUSDT:SHORT", side="SHORT") == ExchangeSnapshot("BTCUSDT:SHORT", Decimal("-0.5"), Decimal(60_000))
    assert read("BTCUSDT:LONG", position_side="LONG") == ExchangeSnapshot(
        "BTCUSDT:LONG", Decimal("0.5"), Decimal(60_000)
    )


@pytest.mark.parametrize(
    ("book", "fields"),
    [
        ("BTCUSDT:SHORT", {}),
        ("BTCUSDT:LONG", {"side": "SELL"}),
        ("BTCUSDT:LONG", {"position_side": "SHORT"}),
        ("BTCUSDT:SHORT", {"side": "SHORT", "position_side": "LONG"}),
    ],
)
def test_a_record_of_the_other_side_is_none_of_the_leg(book: str, fields: dict[str, str]) -> None:
    assert read(book, **fields) == UnreadableSnapshot(book, f"its side is not that of {book}")


def test_the_key_of_a_symbol_is_the_net_position_unless_it_names_a_leg_or_the_symbol_has_legs() -> None:
    assert books_of("BTCUSDT", LONG, is_hedge=False) == ("BTCUSDT",)
    assert books_of("BTCUSDT", {**LONG, "position_side": "BOTH"}, is_hedge=False) == ("BTCUSDT",)
    assert books_of("BTCUSDT", {**LONG, "position_side": "short"}, is_hedge=False) == ("BTCUSDT:SHORT",)
    assert books_of("BTCUSDT", LONG, is_hedge=True) == ("BTCUSDT:LONG",)
    assert books_of("BTCUSDT", {**LONG, "side": "SELL"}, is_hedge=True) == ("BTCUSDT:SHORT",)
    assert books_of("BTCUSDT", {"qty": "0"}, is_hedge=True) == ("BTCUSDT:LONG", "BTCUSDT:SHORT")


@given(st.dictionaries(st.sampled_from([*LONG, "quantity", "current_sl", "age_sec", "ts", "position_side"]), st.text()))
def test_no_text_makes_reading_raise(fields: dict[str, str]) -> None:
    found = read_exchange_position("BTCUSDT", {**LONG, **fields}, NOW_MS, LONGEST_MS)
    assert isinstance(found, ExchangeSnapshot | ExchangeFlat | UnreadableSnapshot)
    assert all(books_of("BTCUSDT", {**LONG, **fields}, is_hedge) for is_hedge in (False, True))
