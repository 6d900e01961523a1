"""The exchange's own file of its rules: read exactly as it is served, or refused with one line."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvest_tasks.settings.exchange_info import (
    MAX_FILE_BYTES,
    ExchangeInfoError,
    Listing,
    instrument_of,
    read_exchange_info,
)
from kernel.positions.instrument import Instrument

SERVED = Path(__file__).parents[1] / "data" / "exchange_info.json"

Change = Callable[[dict[str, Any]], object]
"""Changes an exchangeInfo of one symbol in place."""
Save = Callable[[str | bytes], str]


@pytest.fixture
def saved(tmp_path: Path) -> Save:
    """Writes a file, and returns its path."""

    def save(content: str | bytes) -> str:
        path = tmp_path / "exchange_info.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return save


def of_bitcoin(change: Change = lambda document: None) -> str:
    """The file with BTCUSDT alone, changed."""
    document = json.loads(SERVED.read_bytes())
    document["symbols"] = document["symbols"][:1]
    change(document)
    return json.dumps(document)


def bitcoin(document: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, Any] = document["symbols"][0]
    return first


def rule(document: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(each for each in bitcoin(document)["filters"] if each["filterType"] == kind)


def setting(kind: str, **fields: object) -> Change:
    return lambda document: rule(document, kind).update(fields)


def both_lots(**fields: object) -> Change:
    return lambda document: [rule(document, kind).update(fields) for kind in ("LOT_SIZE", "MARKET_LOT_SIZE")]


def without(kind: str, *fields: str) -> Change:
    """Without those fields of a filter; without the filter if none are named."""

    def change(document: dict[str, Any]) -> None:
        for field in fields:
            del rule(document, kind)[field]
        if not fields:
            bitcoin(document)["filters"].remove(rule(document, kind))

    return change


def problem(path: str) -> str:
    with pytest.raises(ExchangeInfoError) as caught:
        read_exchange_info(path)
    assert str(caught.value) == f"{path}: {caught.value.problem}"
    assert str(caught.value).isprintable()
    assert len(caught.value.problem) < 200
    return caught.value.problem


def instrument(path: str) -> Instrument:
    return read_exchange_info(path)["BTCUSDT"].instrument


# what the exchange serves


def test_every_symbol_with_a_name_of_ours_is_listed_and_the_others_are_counted() -> None:
    listings = read_exchange_info(str(SERVED))
    assert list(listings) == ["BTCUSDT", "ETHUSDT", "SOLUSDT", "1000PEPEUSDT", "BTCUSDT_260626", "OMGUSDT"]
    assert listings.skipped == 1


@pytest.mark.parametrize(
    ("symbol", "status", "step", "min_notional", "max_qty", "tick"),
    [
        ("BTCUSDT", "TRADING", "0.001", "100", "120", "0.10"),
        ("ETHUSDT", "TRADING", "0.001", "20", "2000", "0.01"),
        ("SOLUSDT", "TRADING", "0.01", "5", "5000", "0.01"),
        ("1000PEPEUSDT", "TRADING", "1", "5", "50000000", "0.0000001"),
        ("BTCUSDT_260626", "TRADING", "0.001", "100", "5", "0.1"),
        ("OMGUSDT", "SETTLING", "0.1", "5", "55000", "0.0001"),
    ],
)
def test_a_listing_has_the_rules_of_a_market_order(
    symbol: str, status: str, step: str, min_notional: str, max_qty: str, tick: str
) -> None:
    rules = Instrument(Decimal(step), Decimal(step), Decimal(min_notional), Decimal(max_qty), Decimal(tick))
    assert read_exchange_info(str(SERVED))[symbol] == Listing(symbol, status, "USDT", rules)


def test_what_else_an_exchange_info_holds_does_not_matter(saved: Save) -> None:
    def strip(document: dict[str, Any]) -> None:
        entry = bitcoin(document)
        kept = {name: entry[name] for name in ("symbol", "status", "quoteAsset", "filters")}
        document.clear()
        document["symbols"] = [kept]

    assert read_exchange_info(saved(of_bitcoin(strip))) == read_exchange_info(saved(of_bitcoin()))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_file_may_be_in_any_encoding_of_json(saved: Save, encoding: str) -> None:
    assert len(read_exchange_info(saved(SERVED.read_text("utf-8").encode(encoding)))) == 6


@pytest.mark.parametrize("name", ["btcusdt", "BTCUSD_PERP", "币安人生USDT", "X", "A" * 25, "BTC-USDT", ""])
def test_a_symbol_with_a_strange_name_is_skipped_whatever_else_it_says(saved: Save, name: str) -> None:
    listings = read_exchange_info(saved(of_bitcoin(lambda document: document["symbols"].append({"symbol": name}))))
    assert (list(listings), listings.skipped) == (["BTCUSDT"], 1)


# the stricter of the two lot filters


def test_the_stricter_lot_filter_counts(saved: Save) -> None:
    both = {"stepSize": "0.01", "minQty": "0.02", "maxQty": "7"}
    for kind in ("LOT_SIZE", "MARKET_LOT_SIZE"):
        found = instrument(saved(of_bitcoin(setting(kind, **both))))
        assert (found.step, found.min_qty, found.max_qty) == (Decimal("0.01"), Decimal("0.02"), Decimal(7))


def test_a_zero_of_the_market_lot_filter_is_no_limit(saved: Save) -> None:
    none = setting("MARKET_LOT_SIZE", stepSize="0.00000000", minQty="0", maxQty="0.000")
    found = instrument(saved(of_bitcoin(none)))
    assert (found.step, found.min_qty, found.max_qty) == (Decimal("0.001"), Decimal("0.001"), Decimal(1000))


def test_without_any_maximum_no_order_is_too_large(saved: Save) -> None:
    assert instrument(saved(of_bitcoin(both_lots(maxQty="0")))).max_qty is None


def test_a_maximum_between_two_steps_is_rounded_down(saved: Save) -> None:
    assert instrument(saved(of_bitcoin(setting("MARKET_LOT_SIZE", maxQty="119.99990000")))).max_qty == Decimal(
        "119.999"
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.00100000", "0.001"),
        ("1e-3", "0.001"),
        ("1E-8", "0.00000001"),
        ("0.000000000001", "0.000000000001"),
        ("0.00000000000100000000", "0.000000000001"),
        ("999999999999999", "999999999999999"),
    ],
)
def test_a_number_is_read_exactly(saved: Save, text: str, value: str) -> None:
    assert instrument(saved(of_bitcoin(setting("PRICE_FILTER", tickSize=text)))).tick == Decimal(value)


def test_a_number_that_is_no_text_is_read_exactly_too(saved: Save) -> None:
    content = of_bitcoin().replace('"0.10"', "0.100000000003")
    assert instrument(saved(content)).tick == Decimal("0.100000000003")


def test_the_names_of_the_spot_markets_are_understood(saved: Save) -> None:
    def as_spot(document: dict[str, Any]) -> None:
        rule(document, "MIN_NOTIONAL").update(filterType="NOTIONAL", minNotional="10.00000000")
        del rule(document, "NOTIONAL")["notional"]

    assert instrument(saved(of_bitcoin(as_spot))).min_notional == 10


# what is refused


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", "is not JSON: Expecting value: line 1 column 1 (char 0)"),
        ("symbols", "is not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"\xff{}", "is not JSON: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        ('{"symbols": [NaN]}', "is not JSON: it holds NaN"),
        ('{"symbols": [], "symbols": []}', "is ambiguous: an object has the key 'symbols' twice"),
        ("[" * 100_000, "is not an exchangeInfo: it nests too deeply"),
        ("[]", "is not an exchangeInfo: it has no list `symbols`"),
        ('{"code":-1003,"msg":"Too many requests"}', "is not an exchangeInfo: it has no list `symbols`"),
        ('{"symbols": {"BTCUSDT": {}}}', "is not an exchangeInfo: it has no list `symbols`"),
        ('{"symbols": ["BTCUSDT"]}', "is not an exchangeInfo: an element of `symbols` has no `symbol`"),
        ('{"symbols": [{"symbol": null}]}', "is not an exchangeInfo: an element of `symbols` has no `symbol`"),
        ('{"symbols": []}', "lists no symbol such as BTCUSDT"),
        ('{"symbols": [{"symbol": "btcusdt"}]}', "lists no symbol such as BTCUSDT"),
    ],
)
def test_a_file_that_is_no_exchange_info_is_refused(saved: Save, content: str | bytes, line: str) -> None:
    assert problem(saved(content)) == line


def test_a_file_that_was_cut_off_is_refused(saved: Save) -> None:
    assert problem(saved(SERVED.read_bytes()[:5000])).startswith("is not JSON: ")


def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    assert problem(str(tmp_path / "none.json")) == "cannot be read: No such file or directory"
    assert problem(str(tmp_path)) == "cannot be read: Is a directory"


def test_a_file_of_any_size_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    assert problem(str(path)) == "is over 64 MiB, larger than any exchangeInfo"


NUMBER = "is not a plain number below 1e15 with at most 12 decimals"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda document: document["symbols"].append(bitcoin(document)), "is listed twice"),
        (lambda document: bitcoin(document).pop("status"), "status is missing, or not a word"),
        (lambda document: bitcoin(document).update(status=""), "status is missing, or not a word"),
        (lambda document: bitcoin(document).update(quoteAsset="US\x1bDT"), "quoteAsset is missing, or not a word"),
        (lambda document: bitcoin(document).pop("filters"), "LOT_SIZE is missing"),
        (lambda document: bitcoin(document)["filters"].append(5), "a filter has no filterType"),
        (lambda document: bitcoin(document)["filters"].append({"limit": 1}), "a filter has no filterType"),
        (
            lambda document: bitcoin(document)["filters"].append({"filterType": "LOT_SIZE"}),
            "'LOT_SIZE' is listed twice",
        ),
        (without("PRICE_FILTER"), "PRICE_FILTER is missing"),
        (without("LOT_SIZE"), "LOT_SIZE is missing"),
        (without("MARKET_LOT_SIZE"), "MARKET_LOT_SIZE is missing"),
        (without("MIN_NOTIONAL"), "MIN_NOTIONAL is missing"),
        (without("PRICE_FILTER", "tickSize"), "PRICE_FILTER has no tickSize"),
        (without("LOT_SIZE", "stepSize"), "LOT_SIZE has no stepSize"),
        (without("MARKET_LOT_SIZE", "maxQty"), "MARKET_LOT_SIZE has no maxQty"),
        (without("MIN_NOTIONAL", "notional"), "MIN_NOTIONAL has no notional"),
        (setting("PRICE_FILTER", tickSize="0.00"), "PRICE_FILTER tickSize is 0"),
        (setting("MIN_NOTIONAL", notional="0"), "MIN_NOTIONAL notional is 0"),
        (both_lots(stepSize="0"), "LOT_SIZE stepSize is 0"),
        (both_lots(minQty="0"), "LOT_SIZE minQty is 0"),
        (setting("PRICE_FILTER", tickSize=None), f"PRICE_FILTER tickSize None {NUMBER}"),
        (setting("PRICE_FILTER", tickSize=True), f"PRICE_FILTER tickSize True {NUMBER}"),
        (setting("PRICE_FILTER", tickSize=""), f"PRICE_FILTER tickSize '' {NUMBER}"),
        (setting("LOT_SIZE", maxQty=["1"]), f"LOT_SIZE maxQty ['1'] {NUMBER}"),
        (setting("LOT_SIZE", maxQty="x" * 50), f"LOT_SIZE maxQty '{'x' * 23}... {NUMBER}"),
        (setting("LOT_SIZE", maxQty="\u0661"), f"LOT_SIZE maxQty '\\u0661' {NUMBER}"),
        (
            setting("MARKET_LOT_SIZE", stepSize="0.0015", minQty="0.0015"),
            "LOT_SIZE stepSize 0.001 does not divide 0.0015, the other lot filter's",
        ),
        (setting("LOT_SIZE", minQty="0.0015"), "LOT_SIZE minQty 0.0015 is not a multiple of stepSize 0.001"),
        (setting("LOT_SIZE", minQty="121"), "MARKET_LOT_SIZE maxQty 120 leaves no quantity above the minimum"),
        (setting("LOT_SIZE", maxQty="0.0009"), "LOT_SIZE maxQty 0.0009 leaves no quantity above the minimum"),
    ],
)
def test_a_symbol_that_is_not_fully_described_is_refused(saved: Save, change: Change, line: str) -> None:
    found = problem(saved(of_bitcoin(change)))
    assert found.replace("BTCUSDT: ", "", 1) == line
    assert found.startswith("BTCUSDT: ")


@pytest.mark.parametrize("text", ["-1", "+1", " 1", "1 ", "1_0", "01", ".1", "1.", "NaN", "Infinity", "0x1"])
def test_a_number_that_is_not_plain_is_refused(saved: Save, text: str) -> None:
    assert problem(saved(of_bitcoin(setting("PRICE_FILTER", tickSize=text)))).endswith(NUMBER)


@pytest.mark.parametrize(
    "text",
    [
        "1000000000000000",
        "1e15",
        "1e16",
        "1e-13",
        "10000000000000e-13",
        "1e5000000",
        "0.0000000000001",
        "0.1000000000001",
        "0." + "1" * 39,
    ],
)
def test_a_number_that_is_too_large_or_too_fine_is_refused(saved: Save, text: str) -> None:
    assert problem(saved(of_bitcoin(setting("PRICE_FILTER", tickSize=text)))).endswith(NUMBER)


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=8) | st.sampled_from(["BTCUSDT", "LOT_SIZE", "0.001"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["symbols", "symbol", "status", "quoteAsset", "filters", "filterType", "stepSize"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=15,
    )
)
def test_json_of_any_other_shape_is_refused_with_one_line(
    tmp_path_factory: pytest.TempPathFactory, document: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps({"symbols": [document]} if isinstance(document, dict) else document), "utf-8")
    problem(str(path))


# the rules to obey


def test_the_larger_minimum_value_counts() -> None:
    listings = read_exchange_info(str(SERVED))
    assert instrument_of(listings, "SOLUSDT", Decimal(0)) is listings["SOLUSDT"].instrument
    assert instrument_of(listings, "SOLUSDT", Decimal(5)) is listings["SOLUSDT"].instrument
    own = instrument_of(listings, "SOLUSDT", Decimal("7.5"))
    assert (own.min_notional, own.step, own.max_qty) == (Decimal("7.5"), Decimal("0.01"), Decimal(5000))


def test_a_symbol_without_a_listing_is_dealt_exactly() -> None:
    assert instrument_of({}, "BTCUSDT", Decimal(5)) == Instrument(min_notional=Decimal(5))
    assert instrument_of(read_exchange_info(str(SERVED)), "XRPUSDT", Decimal(0)) == Instrument()
