"""A long and a short of one symbol at once, each a book of its own, and what happens when modes are mixed."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from desk import Desk, assert_all_accounted_for
from entries import BUY, price

from harvest_tasks.fills import inbox
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client

LONG = BUY | {"position_side": "LONG"}
SHORT = BUY | {"position_side": "SHORT", "side": "SELL", "stop_loss": "110"}
EXIT = LONG | {"side": "SELL", "price": "110"}
FUNDING = {"symbol": "BTCUSDT", "status": "FUNDING", "amount": "1"}
LEGS = "BTCUSDT:LONG", "BTCUSDT:SHORT"
Run = Callable[..., None]


@pytest.fixture(params=["in one batch", "one after the other"])
def run(request: pytest.FixtureRequest, desk: Desk) -> Run:
    """Feeds entries and has them processed, all at once or each before the next is there."""

    def together(*entries: dict[str, str]) -> None:
        desk.run(*entries)

    def apart(*entries: dict[str, str]) -> None:
        for entry in entries:
            desk.run(entry)

    return together if request.param == "in one batch" else apart


def known(desk: Desk) -> set[str]:
    return set(desk.client.smembers(keys.BOOKS))


def held(desk: Desk, *books: str) -> list[Decimal]:
    return [desk.position(book).holding.qty for book in books]


def reasons(desk: Desk) -> list[str]:
    return [message["reason"].partition(":")[0] for message in desk.deadletters()]


def is_frozen_by_mode(desk: Desk, book: str) -> bool:
    return desk.position(book).frozen.endswith(": position_mode")


# both legs at once


def test_each_leg_is_harvested_by_its_own_side(live: Desk) -> None:
    live.run(LONG, SHORT, price("105"), price("95"))
    seen = [(i["position_id"], i["position_side"], i["side"], i["qty"]) for i in live.live_intents()]
    assert seen == [("BTCUSDT:LONG:1", "LONG", "SELL", 0.25), ("BTCUSDT:SHORT:1", "SHORT", "BUY", 0.25)]
    assert {i["symbol"] for i in live.live_intents()} == {"BTCUSDT"}
    assert_all_accounted_for(live)


def test_the_legs_move_their_stops_each_to_its_own_side(desk: Desk) -> None:
    desk.run(LONG, SHORT, price("105"), price("95"))
    moves = {i["position_side"]: i for i in desk.suggestions() if i["intent_type"] == "MOVE_SL_BE"}
    assert {side: (move["side"], move["stop_price"]) for side, move in moves.items()} == {
        "LONG": ("SELL", 100.2),
        "SHORT": ("BUY", 99.8),
    }


def test_a_price_reaches_both_legs(desk: Desk) -> None:
    desk.run(LONG, SHORT, price("103"))
    assert [desk.position(leg).mark.price for leg in LEGS] == [103, 103]
    assert_all_accounted_for(desk)


def test_a_price_reaches_no_leg_that_is_not_tracked(desk: Desk) -> None:
    desk.run(LONG, price("103"))
    assert known(desk) == {"BTCUSDT:LONG"}
    assert not desk.client.exists(keys.position("BTCUSDT:SHORT"))


def test_the_same_quantity_on_both_legs_does_not_net(desk: Desk) -> None:
    desk.run(LONG, SHORT)
    assert held(desk, *LEGS) == [1, -1]


def test_a_leg_is_added_to_by_its_own_side(desk: Desk) -> None:
    desk.run(LONG, LONG | {"price": "102"}, SHORT, SHORT | {"price": "98"})
    assert held(desk, *LEGS) == [2, -2]
    assert [desk.position(leg).holding.avg_entry for leg in LEGS] == [101, 99]


def test_an_exit_of_one_leg_leaves_the_other_alone(desk: Desk) -> None:
    desk.run(LONG, SHORT)
    before = desk.position("BTCUSDT:SHORT")
    desk.run(EXIT)
    assert held(desk, *LEGS) == [0, -1]
    assert desk.position("BTCUSDT:SHORT") == before


def test_a_trade_id_counts_within_its_own_leg(desk: Desk) -> None:
    desk.run(LONG | {"trade_id": "7"}, SHORT | {"trade_id": "7"}, SHORT | {"trade_id": "7"})
    assert held(desk, *LEGS) == [1, -1]
    assert desk.counts()["duplicate"] == 1
    assert_all_accounted_for(desk)


@pytest.mark.parametrize("named", [{}, {"position_side": "LONG"}], ids=["without its leg", "with its leg"])
def test_an_outcome_frees_only_the_leg_whose_intent_it_names(live: Desk, named: dict[str, str]) -> None:
    live.run(LONG, SHORT, price("105"), price("95"))
    long_intent, _ = live.live_intents()
    live.client.set("quantum:kill", "1")
    live.run({"symbol": "BTCUSDT", "status": "CANCELED", "intent_id": long_intent["intent_id"], **named})
    assert [live.position(leg).ladder_state.spent for leg in LEGS] == [(), ("0.5",)]
    assert [live.position(leg).ladder_state.reserved == 0 for leg in LEGS] == [True, False]
    assert_all_accounted_for(live)


def test_both_legs_share_the_minute(redis: Client) -> None:
    desk = Desk(redis, HARVEST_MAX_ACTIONS_PER_MIN="2")
    desk.run(LONG, SHORT, price("105"), price("95"))
    assert len(desk.suggestions()) == 2
    assert {r["reason"] for r in desk.journal("held")} == {"rate_limited"}


def test_a_freeze_of_one_leg_leaves_the_other_free(desk: Desk) -> None:
    desk.run(LONG, SHORT, LONG | {"price": "0"}, price("105"), price("95"))
    assert desk.position("BTCUSDT:LONG").frozen.endswith("not_positive")
    assert {i["position_side"] for i in desk.suggestions()} == {"SHORT"}
    assert_all_accounted_for(desk)


# an exit takes at most what its leg holds


@pytest.mark.parametrize(
    ("opening", "closing"),
    [(LONG, EXIT | {"qty": "3"}), (SHORT, SHORT | {"side": "BUY", "price": "90", "qty": "3"})],
    ids=["LONG", "SHORT"],
)
def test_an_exit_over_the_leg_closes_it_and_never_flips(
    desk: Desk, opening: dict[str, str], closing: dict[str, str]
) -> None:
    desk.run(opening, closing)
    position = desk.position(f"BTCUSDT:{opening['position_side']}")
    assert (position.holding.qty, position.epoch, position.holding.realized_pnl) == (0, 1, 10)
    assert desk.client.smembers(keys.OPEN) == set()
    assert_all_accounted_for(desk)


def test_the_excess_of_an_exit_is_journaled_with_its_quantity(desk: Desk) -> None:
    desk.run(LONG, EXIT | {"qty": "3"})
    (record,) = desk.journal("clamped")
    assert (record["book"], record["position_id"], record["qty"]) == ("BTCUSDT:LONG", "BTCUSDT:LONG:1", "2")
    assert record["reason"] == "exit_over_position"


def test_an_exit_of_exactly_the_leg_is_not_capped(desk: Desk) -> None:
    desk.run(LONG, EXIT)
    assert desk.journal("clamped") == []
    assert held(desk, "BTCUSDT:LONG") == [0]


def test_an_exit_over_the_leg_pays_its_whole_fee_and_is_the_mark(desk: Desk) -> None:
    desk.run(LONG, EXIT | {"qty": "3", "fee": "0.3"})
    position = desk.position("BTCUSDT:LONG")
    assert (str(position.holding.fees), position.mark.price) == ("0.3", 110)


def test_an_exit_over_the_leg_leaves_no_reservation(live: Desk) -> None:
    live.run(LONG, price("105"))
    (intent,) = live.live_intents()
    live.run(EXIT | {"qty": "3", "intent_id": intent["intent_id"]})
    assert live.position("BTCUSDT:LONG").ladder_state.reservations == ()
    live.run({"symbol": "BTCUSDT", "status": "CANCELED", "intent_id": intent["intent_id"]}, price("106"))
    assert len(live.live_intents()) == 1


@pytest.mark.parametrize("earlier", [(), (LONG, EXIT)], ids=["never opened", "closed before"])
def test_an_exit_of_a_flat_leg_opens_nothing(desk: Desk, earlier: list[dict[str, str]]) -> None:
    desk.run(*earlier)
    epoch = desk.position("BTCUSDT:LONG").epoch
    desk.run(EXIT | {"qty": "2", "price": "120", "fee": "0.1"})
    position = desk.position("BTCUSDT:LONG")
    assert (position.holding.qty, position.epoch, position.mark.price) == (0, epoch, 120)
    assert str(position.holding.fees) == "0.1"
    assert [(r["decision"], r["qty"]) for r in desk.journal("clamped")] == [("clamped", "2")]
    assert known(desk) == {"BTCUSDT:LONG"}
    assert_all_accounted_for(desk)


def test_a_leg_opens_as_usual_after_an_exit_that_found_it_flat(desk: Desk) -> None:
    desk.run(EXIT, LONG, price("105"))
    position = desk.position("BTCUSDT:LONG")
    assert (position.holding.qty, position.epoch, position.frozen) == (1, 1, "")
    assert desk.suggestions()[0]["position_id"] == "BTCUSDT:LONG:1"


def test_an_exit_of_a_flat_leg_that_arrives_twice_is_capped_once(desk: Desk) -> None:
    desk.run(EXIT | {"trade_id": "7"}, EXIT | {"trade_id": "7"})
    assert len(desk.journal("clamped")) == 1
    assert desk.counts()["duplicate"] == 1
    assert_all_accounted_for(desk)


# a symbol is tracked in one mode


def test_a_one_way_fill_of_a_hedged_symbol_is_dead_lettered_and_freezes_its_legs(desk: Desk, run: Run) -> None:
    run(LONG, SHORT, BUY)
    assert reasons(desk) == ["position_mode"]
    assert all(is_frozen_by_mode(desk, leg) for leg in LEGS)
    assert held(desk, *LEGS) == [1, -1]
    assert known(desk) == set(LEGS)
    assert not desk.client.exists(keys.position("BTCUSDT"), keys.inbox("BTCUSDT"))
    assert_all_accounted_for(desk)


@pytest.mark.parametrize("hedged", [LONG, SHORT], ids=["LONG", "SHORT"])
def test_a_fill_of_a_leg_of_a_netted_symbol_is_dead_lettered_and_freezes_its_book(
    desk: Desk, run: Run, hedged: dict[str, str]
) -> None:
    run(BUY, hedged)
    assert reasons(desk) == ["position_mode"]
    assert is_frozen_by_mode(desk, "BTCUSDT")
    assert held(desk, "BTCUSDT") == [1]
    assert known(desk) == {"BTCUSDT"}
    assert not any(desk.client.exists(keys.position(leg), keys.inbox(leg)) for leg in LEGS)
    assert_all_accounted_for(desk)


def test_only_the_leg_that_is_tracked_freezes(desk: Desk, run: Run) -> None:
    run(LONG, BUY)
    assert is_frozen_by_mode(desk, "BTCUSDT:LONG")
    assert known(desk) == {"BTCUSDT:LONG"}
    assert_all_accounted_for(desk)


def test_each_fill_of_the_other_mode_has_its_dead_letter(desk: Desk, run: Run) -> None:
    run(BUY, LONG, SHORT, BUY)
    assert reasons(desk) == ["position_mode", "position_mode"]
    assert held(desk, "BTCUSDT") == [2]
    assert_all_accounted_for(desk)


def test_a_dead_letter_says_which_mode_is_tracked_and_which_book_was_meant(desk: Desk, run: Run) -> None:
    run(BUY, LONG)
    (message,) = desk.deadletters()
    assert "BTCUSDT is tracked in one-way mode, the entry is for BTCUSDT:LONG" in message["reason"]


def test_mixed_modes_of_one_symbol_touch_no_other(desk: Desk, run: Run) -> None:
    run(BUY, BUY | {"symbol": "ETHUSDT"}, LONG, LONG | {"symbol": "SOLUSDT"}, price("106", "ETHUSDT"))
    assert known(desk) == {"BTCUSDT", "ETHUSDT", "SOLUSDT:LONG"}
    assert [desk.position(book).frozen for book in ("ETHUSDT", "SOLUSDT:LONG")] == ["", ""]
    assert {i["symbol"] for i in desk.suggestions()} == {"ETHUSDT"}


def test_what_comes_behind_a_fill_of_the_other_mode_is_applied(desk: Desk, run: Run) -> None:
    run(LONG, BUY, LONG, price("106"))
    position = desk.position("BTCUSDT:LONG")
    assert (position.holding.qty, position.mark.price) == (2, 106)
    assert desk.suggestions() == []
    assert {r["reason"] for r in desk.journal("held")} == {"frozen"}


def test_a_leg_frozen_by_the_other_mode_publishes_again_once_released(desk: Desk) -> None:
    desk.run(LONG, BUY, price("106"))
    inbox.release(desk.client, "BTCUSDT:LONG", desk.server_ms())
    desk.process()
    assert {i["position_side"] for i in desk.suggestions()} == {"LONG"}
    assert_all_accounted_for(desk)


def test_entries_of_the_other_mode_that_come_twice_are_refused_twice_and_nothing_else(desk: Desk) -> None:
    desk.run(LONG, BUY)
    before = desk.position("BTCUSDT:LONG")
    desk.client.xgroup_setid(desk.source, keys.GROUP, "0")
    desk.route()
    desk.process()
    assert desk.position("BTCUSDT:LONG") == before
    assert known(desk) == {"BTCUSDT:LONG"}
    assert_all_accounted_for(desk)


@pytest.mark.parametrize(("tracked", "malformed"), [(LONG, BUY), (BUY, LONG)], ids=["hedged", "netted"])
def test_a_malformed_fill_of_the_other_mode_freezes_what_is_tracked_for_its_own_reason(
    desk: Desk, run: Run, tracked: dict[str, str], malformed: dict[str, str]
) -> None:
    run(tracked, malformed | {"price": "0"})
    (book,) = known(desk)
    assert reasons(desk) == ["not_positive"]
    assert desk.position(book).frozen.endswith("not_positive")
    assert held(desk, book) == [1]
    assert_all_accounted_for(desk)


@pytest.mark.parametrize(("first", "other"), [(LONG, BUY), (BUY, SHORT)], ids=["hedged", "netted"])
def test_a_malformed_first_fill_decides_the_mode_and_makes_known_only_its_own_book(
    desk: Desk, run: Run, first: dict[str, str], other: dict[str, str]
) -> None:
    run(first | {"price": "0"}, other)
    (book,) = known(desk)
    assert book == ("BTCUSDT:LONG" if first is LONG else "BTCUSDT")
    assert reasons(desk) == ["not_positive", "position_mode"]
    assert_all_accounted_for(desk)


def test_a_malformed_price_of_a_hedged_symbol_freezes_nothing(desk: Desk, run: Run) -> None:
    run(LONG, SHORT, price("-1"))
    assert [desk.position(leg).frozen for leg in LEGS] == ["", ""]
    assert reasons(desk) == ["signed"]


# funding


@pytest.mark.parametrize("position_side", ["LONG", "SHORT"])
def test_funding_goes_to_the_leg_it_names(desk: Desk, run: Run, position_side: str) -> None:
    run(LONG, SHORT, FUNDING | {"position_side": position_side})
    paid = {leg: desk.position(leg).holding.funding for leg in LEGS}
    assert paid == {leg: int(leg.endswith(position_side)) for leg in LEGS}
    assert_all_accounted_for(desk)


@pytest.mark.parametrize("position_side", [None, "BOTH"])
def test_funding_of_a_hedged_symbol_without_its_leg_is_dead_lettered_and_freezes_nothing(
    desk: Desk, run: Run, position_side: str | None
) -> None:
    named = {"position_side": position_side} if position_side else {}
    run(LONG, SHORT, FUNDING | named)
    assert reasons(desk) == ["position_mode"]
    assert [desk.position(leg).frozen for leg in LEGS] == ["", ""]
    assert [desk.position(leg).holding.funding for leg in LEGS] == [0, 0]
    assert known(desk) == set(LEGS)
    assert_all_accounted_for(desk)


def test_funding_of_a_leg_of_a_netted_symbol_is_dead_lettered_and_freezes_nothing(desk: Desk, run: Run) -> None:
    run(BUY, FUNDING | {"position_side": "LONG"})
    assert reasons(desk) == ["position_mode"]
    assert (desk.position().frozen, desk.position().holding.funding) == ("", 0)
    assert known(desk) == {"BTCUSDT"}
    assert_all_accounted_for(desk)


def test_funding_of_the_leg_that_was_never_seen_is_ignored(desk: Desk, run: Run) -> None:
    run(LONG, FUNDING | {"position_side": "SHORT"})
    assert (desk.deadletters(), desk.counts()["ignored"]) == ([], 1)
    assert known(desk) == {"BTCUSDT:LONG"}
    assert_all_accounted_for(desk)


def test_funding_before_the_first_fill_decides_no_mode(desk: Desk, run: Run) -> None:
    run(FUNDING, LONG)
    assert (known(desk), desk.deadletters(), desk.counts()["ignored"]) == ({"BTCUSDT:LONG"}, [], 1)
    assert_all_accounted_for(desk)
