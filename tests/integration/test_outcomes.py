"""What becomes of live intents: rejected, filled in part, late, never answered, or overtaken by the position."""

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from desk import LIVE, Desk, assert_all_accounted_for
from entries import BUY, price

from harvest_tasks.fills.sweep import sweep
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from kernel.positions.ladder_state import LadderState

SELL = BUY | {"side": "SELL"}
AT_MOST = Decimal("0.1")
"""What one market order takes where harvests are split."""


def ended(intent: Mapping[str, str], status: str = "REJECTED") -> dict[str, str]:
    return {"symbol": "BTCUSDT", "status": status, "intent_id": intent["intent_id"]}


def filled(intent: Mapping[str, str], qty: str, at: str = "105") -> dict[str, str]:
    return BUY | {"side": intent["side"], "qty": qty, "price": at, "intent_id": intent["intent_id"]}


@pytest.fixture
def desk(redis: Client) -> Desk:
    return Desk(redis, **LIVE)


@pytest.fixture
def maximum(tmp_path: Path) -> dict[str, str]:
    """Settings of an exchange that takes at most 0.1 in one market order, in steps of 0.01."""
    lot = {"minQty": "0.01", "maxQty": str(AT_MOST), "stepSize": "0.01"}
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": "0.01"},
        {"filterType": "LOT_SIZE", **lot},
        {"filterType": "MARKET_LOT_SIZE", **lot},
        {"filterType": "MIN_NOTIONAL", "notional": "1"},
    ]
    market = {"symbol": "BTCUSDT", "status": "TRADING", "quoteAsset": "USDT", "filters": filters}
    path = tmp_path / "exchangeInfo.json"
    path.write_text(json.dumps({"symbols": [market]}))
    return {"INSTRUMENTS_FILE": str(path)}


@pytest.fixture
def split(redis: Client, maximum: dict[str, str]) -> Desk:
    """A desk of that exchange."""
    return Desk(redis, **LIVE, **maximum)


def kill(desk: Desk) -> None:
    desk.client.set("quantum:kill", "1")


def revive(desk: Desk) -> None:
    desk.client.delete("quantum:kill")
    desk.process("BTCUSDT")


def ladder_state(desk: Desk) -> LadderState:
    return desk.position().ladder_state


def asked(desk: Desk) -> list[tuple[str, str]]:
    """Of each intent its action, from the journal, and its quantity."""
    return [(r["action"], r["qty"]) for r in desk.journal("published") if r["action"].startswith("partial")]


def reserved(desk: Desk) -> list[tuple[str, Decimal]]:
    return [(r.intent_id, r.qty) for r in ladder_state(desk).reservations]


# ended without being filled


@pytest.mark.parametrize("status", ["REJECTED", "CANCELED", "EXPIRED"])
def test_an_intent_that_ends_unfilled_is_asked_for_again_under_an_id_of_its_own(desk: Desk, status: str) -> None:
    desk.run(BUY, price("105"))
    desk.run(ended(desk.live_intents()[0], status))
    first, second = desk.live_intents()
    assert first["intent_id"] != second["intent_id"]
    assert asked(desk) == [("partial:0.5:1", "0.25"), ("partial:0.5:2", "0.25")]
    assert reserved(desk) == [(second["intent_id"], Decimal("0.25"))]
    assert_all_accounted_for(desk)


def test_a_rung_that_is_rejected_three_times_is_spent_and_journaled_once(desk: Desk) -> None:
    desk.run(BUY, price("105"))
    for attempt in range(3):
        desk.run(ended(desk.live_intents()[attempt]))
    desk.run(ended(desk.live_intents()[2]), price("105"), price("106"))
    assert [action for action, _ in asked(desk)] == ["partial:0.5:1", "partial:0.5:2", "partial:0.5:3"]
    assert len({intent["intent_id"] for intent in desk.live_intents()}) == 3
    (record,) = desk.journal("exhausted")
    assert (record["action"], record["intent_id"]) == ("0.5", desk.live_intents()[2]["intent_id"])
    assert (ladder_state(desk).spent, ladder_state(desk).reserved, ladder_state(desk).carry) == (("0.5",), 0, 0)
    assert_all_accounted_for(desk)


def test_a_rung_that_was_given_up_leaves_the_next_ones_their_own_share(desk: Desk) -> None:
    desk.run(BUY, price("105"))
    for attempt in range(3):
        desk.run(ended(desk.live_intents()[attempt]))
    desk.run(price("110"))
    assert asked(desk)[3:] == [("partial:1:1", "0.25")]


def test_rungs_asked_for_together_are_given_up_together(desk: Desk) -> None:
    desk.run(BUY, price("110"))
    for attempt in range(3):
        desk.run(ended(desk.live_intents()[attempt]))
    assert [action for action, _ in asked(desk)] == [f"partial:0.5+1:{attempt}" for attempt in (1, 2, 3)]
    assert sorted(r["action"] for r in desk.journal("exhausted")) == ["0.5", "1"]
    assert ladder_state(desk).spent == ("0.5", "1")


def test_a_rung_armed_again_waits_for_its_level(desk: Desk) -> None:
    desk.run(BUY, price("105"), price("104"))
    desk.run(ended(desk.live_intents()[0]))
    assert (ladder_state(desk).spent, len(desk.live_intents())) == ((), 1)
    desk.run(price("105"))
    assert asked(desk) == [("partial:0.5:1", "0.25"), ("partial:0.5:2", "0.25")]


def test_a_rung_armed_again_goes_out_with_the_next_one(desk: Desk) -> None:
    desk.run(BUY, price("105"), price("104"))
    desk.run(ended(desk.live_intents()[0]), price("110"))
    assert asked(desk)[1:] == [("partial:0.5+1:2", "0.5")]


@pytest.mark.parametrize("status", ["CANCELED", "EXPIRED", "REJECTED"])
def test_after_a_partial_fill_only_the_rest_is_asked_for(desk: Desk, status: str) -> None:
    desk.run(BUY, price("105"))
    first = desk.live_intents()[0]
    desk.run(filled(first, "0.1"), ended(first, status))
    assert asked(desk) == [("partial:0.5:1", "0.25"), ("partial:0.5:2", "0.15")]
    desk.run(filled(desk.live_intents()[1], "0.15"))
    assert (desk.position().holding.qty, ladder_state(desk).reservations) == (Decimal("0.75"), ())
    assert_all_accounted_for(desk)


def test_partial_fills_over_several_attempts_never_take_more_than_the_rung(desk: Desk) -> None:
    desk.run(BUY, price("105"))
    for attempt, qty in enumerate(("0.1", "0.1")):
        intent = desk.live_intents()[attempt]
        desk.run(filled(intent, qty), ended(intent, "CANCELED"))
    assert [qty for _, qty in asked(desk)] == ["0.25", "0.15", "0.05"]
    desk.run(ended(desk.live_intents()[2]))
    assert desk.position().holding.qty == Decimal("0.8")
    assert [r["action"] for r in desk.journal("exhausted")] == ["0.5"]


def test_an_outcome_that_arrives_twice_counts_once(desk: Desk) -> None:
    desk.run(BUY, price("105"))
    rejected = ended(desk.live_intents()[0])
    desk.run(rejected, rejected)
    assert dict(ladder_state(desk).failures) == {"0.5": 1}
    assert len(asked(desk)) == 2


def test_an_outcome_of_an_intent_that_was_filled_changes_nothing(desk: Desk) -> None:
    desk.run(BUY, price("105"))
    (intent,) = desk.live_intents()
    desk.run(filled(intent, "0.25"), ended(intent, "CANCELED"))
    assert (ladder_state(desk).spent, ladder_state(desk).failures, len(asked(desk))) == (("0.5",), (), 1)


@pytest.mark.parametrize("stranger", ["hv-" + "0" * 32, "somebody-elses"])
def test_the_end_of_an_unknown_order_changes_nothing(desk: Desk, stranger: str) -> None:
    desk.run(BUY, price("105"))
    before = ladder_state(desk)
    desk.run(ended({"intent_id": stranger}))
    assert ladder_state(desk) == before
    assert_all_accounted_for(desk)


def test_in_shadow_mode_an_outcome_arms_nothing(redis: Client) -> None:
    desk = Desk(redis)
    desk.run(BUY, price("105"))
    desk.run(ended(desk.suggestions()[0]), price("105"))
    assert ladder_state(desk).spent == ("0.5",)
    assert asked(desk) == [("partial:0.5:1", "0.25")]


def test_a_failed_harvest_asks_for_no_more_than_is_left_after_a_manual_close(desk: Desk) -> None:
    desk.run(BUY, price("116"))
    intent = desk.live_intents()[0]
    desk.run(SELL | {"qty": "0.6", "price": "116"}, ended(intent, "CANCELED"))
    assert asked(desk) == [("partial:0.5+1+1.5:1", "0.75"), ("partial:0.5+1+1.5:2", "0.4")]
    assert ladder_state(desk).reserved <= desk.position().holding.qty


# late fills


def test_a_fill_after_the_expiry_is_a_fill_like_any_other(desk: Desk) -> None:
    desk.run(BUY, price("105"))
    first = desk.live_intents()[0]
    desk.run(ended(first, "EXPIRED"), filled(first, "0.25"))
    assert desk.position().holding.qty == Decimal("0.75")
    assert reserved(desk) == [(desk.live_intents()[1]["intent_id"], Decimal("0.25"))]
    assert_all_accounted_for(desk)


def test_late_fills_never_leave_more_reserved_than_is_held(desk: Desk) -> None:
    desk.run(BUY, price("116"))
    first = desk.live_intents()[0]
    desk.run(ended(first, "EXPIRED"), filled(first, "0.75", at="116"))
    assert (desk.position().holding.qty, ladder_state(desk).reserved) == (Decimal("0.25"), Decimal("0.25"))


def test_a_late_fill_after_the_close_of_a_leg_opens_nothing(desk: Desk) -> None:
    leg = {"position_side": "LONG"}
    desk.run(BUY | leg, price("105"))
    (intent,) = desk.live_intents()
    desk.run(SELL | leg | {"price": "105"}, filled(intent, "0.25") | leg)
    position = desk.position("BTCUSDT:LONG")
    assert (position.holding.qty, position.epoch) == (0, 1)
    assert [r["qty"] for r in desk.journal("clamped")] == ["0.25"]


# overtaken by the position


def test_a_manual_close_under_an_open_intent_clamps_what_it_may_take(desk: Desk) -> None:
    desk.run(BUY, price("116"), SELL | {"qty": "0.6", "price": "116"})
    assert (desk.position().holding.qty, ladder_state(desk).reserved) == (Decimal("0.4"), Decimal("0.4"))
    assert desk.position().available == 0


def test_the_newest_intent_is_capped_first(desk: Desk) -> None:
    desk.run(BUY, price("105"), price("110"), SELL | {"qty": "0.6", "price": "110"})
    first, second = desk.live_intents()
    assert reserved(desk) == [(first["intent_id"], Decimal("0.25")), (second["intent_id"], Decimal("0.15"))]


def test_a_manual_close_of_everything_forgets_its_intents(desk: Desk) -> None:
    desk.run(BUY, price("105"), SELL | {"price": "105"})
    assert ladder_state(desk).reservations == ()
    assert desk.client.smembers(keys.OPEN) == set()
    desk.run(ended(desk.live_intents()[0], "CANCELED"), price("106"))
    assert len(desk.live_intents()) == 1
    assert_all_accounted_for(desk)


def test_a_flip_through_zero_forgets_the_intents_of_the_old_position(desk: Desk) -> None:
    desk.run(BUY, price("116"))
    (old,) = desk.live_intents()
    desk.run(SELL | {"qty": "3", "price": "116", "stop_loss": "126"})
    position = desk.position()
    assert (position.position_id, position.holding.qty) == ("BTCUSDT:2", -2)
    assert (position.ladder_state.reservations, position.ladder_state.spent) == ((), ())
    desk.run(ended(old, "CANCELED"))
    assert desk.position().ladder_state == position.ladder_state
    desk.run(price("111"))
    assert [(i["position_id"], i["side"], i["qty"]) for i in desk.live_intents()[1:]] == [("BTCUSDT:2", "BUY", 0.5)]
    assert_all_accounted_for(desk)


def test_an_intent_that_itself_flips_the_position_starts_a_new_lifecycle_without_it(desk: Desk) -> None:
    desk.run(BUY, price("105"))
    (intent,) = desk.live_intents()
    desk.run(filled(intent, "1.5"))
    assert (desk.position().holding.qty, desk.position().epoch) == (Decimal("-0.5"), 2)
    assert ladder_state(desk).reservations == ()


# nobody answers


@pytest.fixture
def impatient(redis: Client) -> Desk:
    """A desk that waits a second for an answer."""
    return Desk(redis, **LIVE, HARVEST_INTENT_TIMEOUT_SEC="1")


def published_a_while_ago(desk: Desk) -> dict[str, Any]:
    """A harvest at 105 whose price is two seconds old; the intent."""
    then = str(desk.server_ms() - 2_000)
    desk.run(BUY | {"ts": then}, price("105") | {"ts": then})
    (intent,) = desk.live_intents()
    return intent


def test_an_intent_that_nobody_answers_is_journaled_once(impatient: Desk) -> None:
    intent = published_a_while_ago(impatient)
    for _ in range(3):
        sweep(impatient.client, impatient.settings)
        impatient.process()
    (record,) = impatient.journal("unanswered")
    assert (record["book"], record["intent_id"]) == ("BTCUSDT", intent["intent_id"])
    assert_all_accounted_for(impatient)


def test_sweeps_faster_than_workers_alarm_once(impatient: Desk) -> None:
    published_a_while_ago(impatient)
    for _ in range(3):
        sweep(impatient.client, impatient.settings)
    impatient.process()
    assert len(impatient.journal("unanswered")) == 1


def test_an_unanswered_intent_stays_reserved_and_nothing_fires_again(impatient: Desk) -> None:
    intent = published_a_while_ago(impatient)
    sweep(impatient.client, impatient.settings)
    impatient.process()
    impatient.run(price("105"), price("106"))
    assert reserved(impatient) == [(intent["intent_id"], Decimal("0.25"))]
    assert ladder_state(impatient).spent == ("0.5",)
    assert len(impatient.live_intents()) == 1


def test_an_intent_within_its_time_is_not_late(redis: Client) -> None:
    desk = Desk(redis, **LIVE, HARVEST_INTENT_TIMEOUT_SEC="60")
    published_a_while_ago(desk)
    sweep(desk.client, desk.settings)
    assert desk.process() == {}
    assert desk.journal("unanswered") == []


def test_a_late_fill_of_an_unanswered_intent_releases_it(impatient: Desk) -> None:
    intent = published_a_while_ago(impatient)
    sweep(impatient.client, impatient.settings)
    impatient.process()
    impatient.run(filled(intent, "0.25"))
    assert (ladder_state(impatient).reservations, impatient.position().holding.qty) == ((), Decimal("0.75"))
    assert impatient.client.hget(keys.position("BTCUSDT"), "unanswered_ms") == ""


def test_a_late_rejection_of_an_unanswered_intent_arms_its_rung(impatient: Desk) -> None:
    intent = published_a_while_ago(impatient)
    sweep(impatient.client, impatient.settings)
    impatient.process()
    impatient.run(ended(intent))
    assert asked(impatient) == [("partial:0.5:1", "0.25"), ("partial:0.5:2", "0.25")]


def test_a_partial_fill_is_not_the_whole_answer(impatient: Desk) -> None:
    intent = published_a_while_ago(impatient)
    impatient.run(filled(intent, "0.1"))
    sweep(impatient.client, impatient.settings)
    impatient.process()
    assert [r["intent_id"] for r in impatient.journal("unanswered")] == [intent["intent_id"]]
    assert reserved(impatient) == [(intent["intent_id"], Decimal("0.15"))]


def test_each_unanswered_intent_has_its_own_alarm(impatient: Desk) -> None:
    first = published_a_while_ago(impatient)
    sweep(impatient.client, impatient.settings)
    impatient.process()
    impatient.run(price("110") | {"ts": str(impatient.server_ms() - 1_500)})
    sweep(impatient.client, impatient.settings)
    impatient.process()
    second = impatient.live_intents()[1]
    assert [r["intent_id"] for r in impatient.journal("unanswered")] == [first["intent_id"], second["intent_id"]]


# harvests in parts


def test_a_harvest_above_the_market_maximum_goes_out_in_parts_that_say_which_they_are(split: Desk) -> None:
    split.run(BUY, price("105"))
    assert asked(split) == [
        ("partial:0.5:1:1of3", "0.09"),
        ("partial:0.5:1:2of3", "0.08"),
        ("partial:0.5:1:3of3", "0.08"),
    ]
    assert len({intent["intent_id"] for intent in split.live_intents()}) == 3
    assert [qty for _, qty in reserved(split)] == [Decimal("0.09"), Decimal("0.08"), Decimal("0.08")]
    assert ladder_state(split).spent == ("0.5",)
    assert_all_accounted_for(split)


def test_each_part_has_a_dedup_key_of_its_own(split: Desk) -> None:
    split.run(BUY, price("105"))
    assert {key for key in split.client.scan_iter("quantum:dedup:*") if "partial" in key} == {
        keys.dedup("BTCUSDT:1", f"partial:0.5:1:{k}of3") for k in (1, 2, 3)
    }


def test_parts_are_filled_one_by_one(split: Desk) -> None:
    split.run(BUY, price("105"))
    for intent in split.live_intents():
        split.run(filled(intent, str(intent["qty"])))
    assert (split.position().holding.qty, ladder_state(split).reservations) == (Decimal("0.75"), ())
    assert len(split.live_intents()) == 3


def test_a_harvest_within_the_maximum_is_one_intent(split: Desk) -> None:
    split.run(BUY | {"qty": "0.4"}, price("105"))
    assert asked(split) == [("partial:0.5:1", "0.1")]


@pytest.mark.parametrize(("room", "published"), [(2, 0), (3, 3)])
def test_parts_go_out_together_or_not_at_all(redis: Client, split: Desk, room: int, published: int) -> None:
    taken = [split.server_ms()] * (1000 - room)
    redis.lpush(keys.WINDOW, *taken)
    split.run(BUY, price("105"))
    assert len(split.live_intents()) == published
    held = [(r["action"], r["reason"]) for r in split.journal("held") if r["action"].startswith("partial")]
    assert held == ([] if published else [("partial:0.5:1", "rate_limited")])
    assert_all_accounted_for(split)


def test_parts_that_had_no_room_go_out_when_there_is(redis: Client, split: Desk) -> None:
    redis.lpush(keys.WINDOW, *[split.server_ms()] * 998)
    split.run(BUY, price("105"))
    assert split.live_intents() == []
    redis.delete(keys.WINDOW)
    split.process("BTCUSDT")
    assert len(split.live_intents()) == 3


def test_one_part_that_is_out_already_holds_all_of_them_back(split: Desk) -> None:
    split.client.set(keys.dedup("BTCUSDT:1", "partial:0.5:1:2of3"), "x")
    split.run(BUY, price("105"))
    assert split.live_intents() == []
    held = [(r["action"], r["reason"]) for r in split.journal("held") if r["action"].startswith("partial")]
    assert held == [("partial:0.5:1", "duplicate")]


def test_more_than_may_go_out_in_a_minute_is_cut_off_and_owed_to_the_next_rung(
    redis: Client, maximum: dict[str, str]
) -> None:
    few = Desk(redis, **LIVE, **maximum, HARVEST_MAX_ACTIONS_PER_MIN="2")
    few.run(BUY, price("105"))
    assert asked(few) == [("partial:0.5:1:1of2", "0.1"), ("partial:0.5:1:2of2", "0.1")]
    assert ladder_state(few).carry == Decimal("0.05")


def test_of_a_part_that_is_rejected_only_its_quantity_is_asked_for_again(split: Desk) -> None:
    split.run(BUY, price("105"))
    first, *others = split.live_intents()
    split.run(ended(first))
    assert asked(split)[3:] == [("partial:0.5:2", "0.09")]
    again = split.live_intents()[3]
    assert [intent_id for intent_id, _ in reserved(split)] == [i["intent_id"] for i in (*others, again)]
    assert ladder_state(split).reserved == Decimal("0.25")


def test_of_a_part_that_was_filled_in_part_only_the_rest_is_asked_for_again(split: Desk) -> None:
    split.run(BUY, price("105"))
    first = split.live_intents()[0]
    split.run(filled(first, "0.04"), ended(first, "CANCELED"))
    assert asked(split)[3:] == [("partial:0.5:2", "0.05")]


def test_a_rung_whose_parts_are_all_rejected_counts_one_attempt_and_asks_for_all_again(split: Desk) -> None:
    split.run(BUY, price("105"))
    kill(split)
    split.run(*map(ended, split.live_intents()))
    assert dict(ladder_state(split).failures) == {"0.5": 1}
    revive(split)
    assert asked(split)[3:] == [(f"partial:0.5:2:{k}of3", qty) for k, qty in ((1, "0.09"), (2, "0.08"), (3, "0.08"))]


def test_parts_rejected_one_after_the_other_count_one_attempt(split: Desk) -> None:
    split.run(BUY, price("105"))
    split.run(*map(ended, split.live_intents()))
    assert dict(ladder_state(split).failures) == {"0.5": 1}
    assert split.journal("exhausted") == []


def test_parts_rejected_one_after_the_other_are_each_asked_for_again_under_an_id_of_their_own(split: Desk) -> None:
    """Between the two rejections the first part is out again already."""
    # Fails: both are attempt 2 of the rung, so both are `partial:0.5:2`, and the second is held back as a duplicate.
    split.run(BUY | {"qty": "0.8"}, price("105"))
    for intent in split.live_intents():
        split.run(ended(intent))
    assert [intent["qty"] for intent in split.live_intents()] == [0.1, 0.1, 0.1, 0.1]
    assert len({intent["intent_id"] for intent in split.live_intents()}) == 4
    assert ladder_state(split).reserved == Decimal("0.2")


def test_no_two_intents_share_an_id_even_when_all_keys_with_a_ttl_are_gone(split: Desk) -> None:
    # Fails for the same reason: without its dedup key, `partial:0.5:2` goes out twice.
    split.run(BUY | {"qty": "0.8"}, price("105"))
    for intent in split.live_intents():
        for key in split.client.scan_iter():
            if split.client.ttl(key) > 0:
                split.client.delete(key)
        split.run(ended(intent))
    ids = [intent["intent_id"] for intent in split.live_intents()]
    assert len(set(ids)) == len(ids)


def test_a_rung_in_parts_is_given_up_after_three_attempts(split: Desk) -> None:
    split.run(BUY, price("105"))
    for start in (0, 3, 6):
        kill(split)
        split.run(*map(ended, split.live_intents()[start:]))
        revive(split)
    assert len(split.live_intents()) == 9
    assert [r["action"] for r in split.journal("exhausted")] == ["0.5"]
    assert (ladder_state(split).spent, ladder_state(split).reserved) == (("0.5",), 0)


# restarts


def test_a_fill_reaches_the_worker_that_runs_after_a_restart(redis: Client, desk: Desk) -> None:
    desk.run(BUY, price("105"))
    (intent,) = desk.live_intents()
    after = Desk(redis, **LIVE)
    after.run(filled(intent, "0.25"), price("106"))
    assert (after.position().holding.qty, ladder_state(after).reservations) == (Decimal("0.75"), ())
    assert len(after.live_intents()) == 1
    assert_all_accounted_for(after)


def test_a_rejection_reaches_the_worker_that_runs_after_a_restart(redis: Client, desk: Desk) -> None:
    desk.run(BUY, price("105"))
    after = Desk(redis, **LIVE)
    after.run(ended(desk.live_intents()[0]))
    again = Desk(redis, **LIVE)
    again.run(ended(desk.live_intents()[1]))
    assert [action for action, _ in asked(again)] == ["partial:0.5:1", "partial:0.5:2", "partial:0.5:3"]
    assert dict(ladder_state(again).failures) == {"0.5": 2}


def test_a_restart_publishes_nothing_again(redis: Client, desk: Desk) -> None:
    desk.run(BUY, price("116"))
    Desk(redis, **LIVE).process("BTCUSDT")
    Desk(redis, **LIVE).run(price("116"))
    assert len(desk.live_intents()) == 1
    assert_all_accounted_for(desk)
