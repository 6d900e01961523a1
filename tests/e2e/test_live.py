"""Live mode: the same path, to the stream that executors read."""

import pytest
from desk import LIVE, Desk
from e2e.workload import settled
from entries import BUY, price
from waiting import wait_until


@pytest.fixture(scope="module")
def deployment() -> dict[str, str]:
    return LIVE


@pytest.fixture(scope="module")
def workers() -> dict[str, tuple[str, int]]:
    return {"fills": ("fills,watch,control", 3), "proposals": ("proposals", 1)}


def test_a_fill_and_a_price_become_one_reduce_only_intent(desk: Desk) -> None:
    desk.feed(BUY, price("105.2"), price("105.3"))
    settled(desk)
    (intent,) = desk.live_intents()
    assert (intent["intent_type"], intent["dry_run"]) == ("REDUCE_ONLY", False)
    assert (intent["symbol"], intent["side"], intent["qty"]) == ("BTCUSDT", "SELL", 0.25)
    assert intent["reduceOnly"] is True
    assert [stop["intent_type"] for stop in desk.suggestions()] == ["MOVE_SL_BE"]


def test_the_fill_of_an_intent_frees_what_it_reserved(desk: Desk) -> None:
    desk.feed(BUY, price("105.2"))
    (intent,) = wait_until(desk.live_intents, 5.0, "the intent")
    assert desk.position().ladder_state.reserved == intent["qty"]
    desk.feed(
        {"symbol": "BTCUSDT", "status": "FILLED", "side": "SELL", "qty": "0.25", "price": "105.2"}
        | {"intent_id": intent["intent_id"]}
    )
    wait_until(lambda: desk.position().ladder_state.reserved == 0, 5.0, "nothing is reserved any more")
    assert str(desk.position().holding.qty) == "0.75"


def test_while_killed_no_intent_leaves(desk: Desk) -> None:
    desk.client.set("quantum:kill", "1")
    desk.feed(BUY, price("105.2"), price("112"))
    settled(desk)
    assert desk.live_intents() == []
    assert desk.suggestions() == []
    assert desk.position().ladder_state.reserved == 0
