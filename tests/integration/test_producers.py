"""What real producers write, through the whole path: each spelling ends in the position that the exchange has."""

from decimal import Decimal

import inputs
import pytest
from desk import Desk, assert_all_accounted_for
from entries import BUY, price

FOUR = BUY | {"qty": "4"}
SHORT = BUY | {"side": "SELL", "stop_loss": "110"}


@pytest.mark.parametrize("trade_id", ["77001", "0", "None", "null", "-1", "N/A", "undefined", "nan"])
@pytest.mark.parametrize("entry", [BUY, SHORT])
def test_two_fills_of_an_order_without_a_trade_id_are_two(desk: Desk, trade_id: str, entry: dict[str, str]) -> None:
    ids = {"trade_id": trade_id, "order_id": "77001"}
    desk.run(entry | ids | {"status": "PARTIAL"}, entry | ids | {"status": "FILLED"})
    assert abs(desk.position().holding.qty) == 2
    assert desk.counts().get("duplicate", 0) == 0
    assert_all_accounted_for(desk)


@pytest.mark.parametrize("word", ["net", "NONE", "BOTH", ""])
def test_a_net_exit_closes_a_one_way_position(live: Desk, word: str) -> None:
    live.run(FOUR, FOUR | {"side": "SELL", "price": "101", "position_side": word}, price("105"))
    assert live.position().holding.qty == 0
    assert live.deadletters() == []
    assert live.live_intents() == []


@pytest.mark.parametrize("legs", [("",), ("LONG", "SHORT")])
def test_a_fill_of_an_unreadable_leg_freezes_every_book_of_its_symbol(live: Desk, legs: tuple[str, ...]) -> None:
    opened = [{**(SHORT if leg == "SHORT" else FOUR), "position_side": leg} for leg in legs]
    other = FOUR | {"symbol": "ETHUSDT"}
    live.run(*opened, other, FOUR | {"side": "SELL", "position_side": "SIDEWAYS"}, price("105"), price("95"))
    books = [f"BTCUSDT:{leg}" if leg else "BTCUSDT" for leg in legs]
    assert all(live.position(book).frozen.endswith("bad_position_side") for book in books)
    assert live.position("ETHUSDT").frozen == ""
    assert live.live_intents() == []
    assert [message["reason"].partition(":")[0] for message in live.deadletters()] == ["bad_position_side"]
    assert_all_accounted_for(live)


def test_a_fill_of_an_unreadable_leg_of_an_untracked_symbol_is_a_dead_letter_only(desk: Desk) -> None:
    desk.run(FOUR, FOUR | {"symbol": "ETHUSDT", "position_side": "SIDEWAYS"})
    assert len(desk.deadletters()) == 1
    assert desk.position().frozen == ""
    assert_all_accounted_for(desk)


@pytest.mark.parametrize("word", ["PartiallyFilled", "PARTIAL_FILL", "TRADE", "CALCULATED"])
def test_the_parts_of_an_order_add_up(desk: Desk, word: str) -> None:
    desk.run(BUY | {"status": word, "qty": "7"}, BUY | {"status": "Filled", "qty": "1"})
    assert desk.position().holding.qty == 8


@pytest.mark.parametrize("word", ["CALCULATED", "ADL", "LIQUIDATION"])
@pytest.mark.parametrize(("opening", "side"), [(SHORT, "BUY"), (BUY, "SELL")])
def test_an_exchange_that_closes_a_position_leaves_nothing_to_harvest(
    live: Desk, word: str, opening: dict[str, str], side: str
) -> None:
    exchange = {"symbol": "BTCUSDT", "status": word, "side": side, "qty": "5", "price": "100"}
    live.run(opening | {"qty": "5"}, exchange, price("94"), price("106"))
    assert live.position().holding.qty == 0
    assert live.live_intents() == []


@pytest.mark.parametrize("word", ["EXPIRED_IN_MATCH", "FAILED", "DEACTIVATED", "PartiallyFilledCanceled"])
def test_an_order_that_ends_by_another_word_frees_its_intent(live: Desk, word: str) -> None:
    live.run(FOUR, price("105"), price("103"))
    (intent,) = live.live_intents()
    assert live.position().ladder_state.reserved == 1
    live.run({"symbol": "BTCUSDT", "status": word, "intent_id": intent["intent_id"]}, price("103.5"))
    assert live.position().ladder_state.reserved == 0
    live.run(price("105.5"))
    assert len(live.live_intents()) == 2


@pytest.mark.parametrize(
    "flaw",
    [
        *({"stop_loss": text} for text in ("0", "0.0", "None", "nan")),
        *({"stop_loss": "", "atr": text} for text in ("0", "nan", "-1")),
        *({"stop_loss": "", "fee": text} for text in ("4.4e-16", "free")),
    ],
)
@pytest.mark.parametrize("opening", [FOUR, SHORT | {"qty": "4"}])
def test_an_unreadable_optional_field_leaves_the_risk_to_the_fallback(
    desk: Desk, flaw: dict[str, str], opening: dict[str, str]
) -> None:
    desk.run(opening | flaw)
    position = desk.position()
    assert (abs(position.holding.qty), position.holding.risk_per_unit, position.frozen) == (4, 2, "")
    assert desk.deadletters() == []


def test_small_doubles_are_used(desk: Desk) -> None:
    desk.run(BUY | {"fee": "0.0000034048000000000003", "price": "0.000008512345678901234", "stop_loss": "0.000008"})
    assert desk.position().holding.avg_entry == Decimal("0.000008512346")
    assert desk.deadletters() == []


@pytest.mark.parametrize("distance", ["0.000001", "0.00009", "0.91", "5", "-0.05", "soon"])
def test_an_unusual_stop_distance_is_none(live: Desk, distance: str) -> None:
    inputs.risk_proposal(live.client, stop_dist_pct=distance)
    live.run(FOUR | {"stop_loss": ""}, price("100.001"))
    assert live.position().holding.risk_per_unit == 2
    assert live.live_intents() == []


@pytest.mark.parametrize(("distance", "risk"), [("0.0001", "0.01"), ("0.9", "90")])
def test_the_ends_of_the_usual_stop_distances_count(desk: Desk, distance: str, risk: str) -> None:
    inputs.risk_proposal(desk.client, stop_dist_pct=distance)
    desk.run(FOUR | {"stop_loss": ""})
    assert desk.position().holding.risk_per_unit == Decimal(risk)


@pytest.mark.parametrize("leg", ["", "LONG"])
@pytest.mark.parametrize("word", ["FILLED", "PARTIAL", "CALCULATED"])
def test_a_fill_of_quantity_0_is_ignored_and_counted(desk: Desk, leg: str, word: str) -> None:
    desk.run(FOUR | {"position_side": leg}, FOUR | {"position_side": leg, "qty": "0", "status": word, "price": "0"})
    position = desk.position("BTCUSDT:LONG" if leg else "BTCUSDT")
    assert (position.holding.qty, position.frozen) == (4, "")
    assert desk.counts()["ignored"] == 1
    assert_all_accounted_for(desk)


def test_the_life_of_an_order_is_ignored_and_counted_and_an_unknown_word_freezes(desk: Desk) -> None:
    desk.run(FOUR | {"status": "NEW"}, FOUR | {"status": "PENDING_CANCEL"}, FOUR)
    assert (desk.position().holding.qty, desk.position().frozen, desk.counts()["ignored"]) == (4, "", 2)
    desk.run(FOUR | {"status": "EXECUTED", "side": "SELL"})
    assert desk.position().frozen.endswith(": unknown_status")
    assert_all_accounted_for(desk)


def test_the_total_of_an_order_freezes_where_it_is_all_there_is(desk: Desk) -> None:
    total = {name: text for name, text in FOUR.items() if name != "qty"} | {"executedQty": "6"}
    desk.run(FOUR | {"executedQty": "6"})
    assert (desk.position().holding.qty, desk.position().frozen) == (4, "")
    desk.run(total)
    assert (desk.position().holding.qty, desk.position().frozen.partition(": ")[2]) == (4, "cumulative_quantity")


def test_an_executed_market_order_has_its_own_price(desk: Desk) -> None:
    desk.run(FOUR | {"price": "0", "avg_price": "100.5"}, FOUR | {"price": "103", "last_price": "101.5"})
    assert desk.position().holding.avg_entry == 101


@pytest.mark.parametrize(
    "twice", [("qty", "0"), ("status", "NEW"), ("position_side", "SIDEWAYS"), ("status", "SETTLED")]
)
@pytest.mark.parametrize("is_last", [True, False])
def test_a_field_that_is_there_twice_freezes_the_book_of_a_fill(
    desk: Desk, twice: tuple[str, str], *, is_last: bool
) -> None:
    desk.run(FOUR)
    pairs = [*FOUR.items(), ("position_side", "BOTH")]
    pairs = [*pairs, twice] if is_last else [twice, *pairs]
    desk.client.execute_command("XADD", desk.source, "*", *(text for pair in pairs for text in pair))
    desk.run()
    assert desk.position().frozen.endswith(": duplicate_key")
    assert desk.position().holding.qty == 4
    assert_all_accounted_for(desk)
