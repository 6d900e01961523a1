"""From the input stream to the intents, on a real server."""

import pytest
from desk import LIVE, Desk, assert_all_accounted_for
from entries import BUY, price

from harvest_tasks.fills import inbox
from harvest_tasks.fills.commit import Committed, Conflict
from harvest_tasks.fills.ledger import Ledger
from harvest_tasks.fills.loading import LoadedBook
from harvest_tasks.fills.plan import make_plan
from harvest_tasks.fills.symbol_rules import base_rules
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client


def test_a_fill_becomes_a_position_and_a_price_becomes_a_suggestion(desk: Desk) -> None:
    desk.run(BUY, price("105.2"))
    (intent,) = [i for i in desk.suggestions() if i["intent_type"] == "HARVEST_PARTIAL"]
    assert {name: intent[name] for name in ("symbol", "side", "action", "qty", "quantity", "reason", "r_level")} == {
        "symbol": "BTCUSDT",
        "side": "SELL",
        "action": "SELL",
        "qty": 0.25,
        "quantity": 0.25,
        "reason": "R=0.52 >= 0.5",
        "r_level": 0.5,
    }
    assert (intent["reduce_only"], intent["reduceOnly"], intent["dry_run"]) == (True, True, True)
    assert desk.live_intents() == []
    assert desk.position().holding.qty == 1
    assert_all_accounted_for(desk)


def test_live_mode_publishes_to_the_intent_stream_and_keeps_stop_moves_out_of_it(live: Desk) -> None:
    live.run(BUY, price("106"))
    (intent,) = live.live_intents()
    assert (intent["intent_type"], intent["dry_run"]) == ("REDUCE_ONLY", False)
    assert [i["intent_type"] for i in live.suggestions()] == ["MOVE_SL_BE"]
    assert live.suggestions()[0]["dry_run"] is True


def test_stop_moves_go_live_only_when_allowed(redis: Client) -> None:
    desk = Desk(redis, **LIVE, HARVEST_LIVE_STOPS="true")
    desk.run(BUY, price("106"))
    assert [i["intent_type"] for i in desk.live_intents()] == ["REDUCE_ONLY", "MOVE_SL_BE"]


def test_entries_fed_twice_change_nothing(desk: Desk) -> None:
    ids = desk.feed(BUY, price("105.2"))
    desk.route()
    desk.process()
    before = desk.suggestions(), desk.position()
    desk.client.xgroup_setid(desk.source, keys.GROUP, "0")
    desk.route()
    desk.process()
    assert (desk.suggestions(), desk.position()) == before
    assert desk.counts()["duplicate"] == len(ids)
    assert_all_accounted_for(desk)


def test_the_same_trade_in_a_new_entry_is_a_duplicate(desk: Desk) -> None:
    desk.run(BUY | {"trade_id": "7"}, BUY | {"trade_id": "7"})
    desk.run(BUY | {"trade_id": "7"}, BUY | {"trade_id": "8"})
    assert desk.position().holding.qty == 2
    assert desk.counts()["duplicate"] == 2
    assert_all_accounted_for(desk)


def test_a_trade_id_with_other_content_is_dead_lettered_and_freezes_the_book(desk: Desk) -> None:
    desk.run(BUY | {"trade_id": "7"})
    desk.run(BUY | {"trade_id": "7", "qty": "2"}, price("106"))
    assert (desk.position().holding.qty, desk.position().frozen) == (1, "trade_id_reused")
    assert [message["reason"] for message in desk.deadletters()] == ["trade_id_reused"]
    assert desk.suggestions() == []
    assert {r["reason"] for r in desk.journal("held")} == {"frozen"}
    assert_all_accounted_for(desk)


def test_a_refused_fill_freezes_its_book_and_stops_nothing_behind_it(desk: Desk) -> None:
    desk.run(BUY, BUY | {"qty": "NaN"}, BUY | {"symbol": "ETHUSDT"}, price("106"), price("106", "ETHUSDT"))
    assert desk.position("BTCUSDT").frozen.startswith("refused_entry")
    assert {i["symbol"] for i in desk.suggestions()} == {"ETHUSDT"}
    (message,) = desk.deadletters()
    assert message["reason"].startswith("not_finite")
    assert_all_accounted_for(desk)


def test_a_field_that_is_there_twice_refuses_the_entry(desk: Desk) -> None:
    desk.client.execute_command("XADD", desk.source, "*", *(text for pair in BUY.items() for text in pair), "qty", "2")
    desk.run()
    assert desk.position().frozen.endswith("duplicate_key")
    assert desk.position().holding.qty == 0
    assert_all_accounted_for(desk)


def test_a_released_book_publishes_what_is_due(desk: Desk) -> None:
    desk.run(BUY, BUY | {"price": "0"}, price("106"))
    assert desk.suggestions() == []
    inbox.release(desk.client, "BTCUSDT", desk.server_ms())
    desk.process()
    assert len(desk.suggestions()) == 2
    assert_all_accounted_for(desk)


def test_a_refused_price_freezes_nothing(desk: Desk) -> None:
    desk.run(BUY, price("-1"), price("106"))
    assert desk.position().frozen == ""
    assert len(desk.suggestions()) == 2


def test_entries_that_say_nothing_are_counted_as_ignored(desk: Desk) -> None:
    desk.run({"status": "NEW", "symbol": "BTCUSDT"}, {"status": "REJECTED", "symbol": "BTCUSDT"}, price("1", "XRPUSDT"))
    assert (desk.counts()["in"], desk.counts()["ignored"]) == (3, 3)
    assert desk.pending() == 0


def test_hedge_mode_keeps_a_long_and_a_short_of_one_symbol_apart(desk: Desk) -> None:
    sell = BUY | {"side": "SELL", "stop_loss": "110"}
    desk.run(BUY | {"position_side": "LONG"}, sell | {"position_side": "SHORT"}, price("105"))
    assert desk.position("BTCUSDT:LONG").holding.qty == 1
    assert desk.position("BTCUSDT:SHORT").holding.qty == -1
    assert {i["position_side"] for i in desk.suggestions()} == {"LONG"}


@pytest.mark.parametrize("switch", ["1", "true", "no", " ", "00", "off"])
def test_the_kill_switch_stops_publishing_and_not_tracking(desk: Desk, switch: str) -> None:
    desk.client.set("quantum:kill", switch)
    desk.run(BUY, price("106"))
    assert desk.suggestions() == []
    assert {r["reason"] for r in desk.journal("held")} == {"killed"}
    assert desk.position().holding.qty == 1


def test_a_kill_switch_of_another_type_stops_publishing(desk: Desk) -> None:
    desk.client.hset("quantum:kill", "a", "b")
    desk.run(BUY, price("106"))
    assert desk.suggestions() == []
    assert desk.position().holding.qty == 1


@pytest.mark.parametrize("switch", ["", "0"])
def test_a_kill_switch_that_is_off_lets_publish(desk: Desk, switch: str) -> None:
    desk.client.set("quantum:kill", switch)
    desk.run(BUY, price("106"))
    assert len(desk.suggestions()) == 2


def test_when_the_kill_switch_goes_off_what_is_due_is_published_without_a_new_price(desk: Desk) -> None:
    desk.client.set("quantum:kill", "1")
    desk.run(BUY, price("106"))
    assert desk.client.zrange(keys.HELD, 0, -1) == ["BTCUSDT"]
    desk.client.delete("quantum:kill")
    desk.process("BTCUSDT")
    assert len(desk.suggestions()) == 2
    assert desk.client.zrange(keys.HELD, 0, -1) == []


def test_old_fills_rebuild_state_and_publish_nothing(desk: Desk) -> None:
    old = str(desk.server_ms() - 31_000)
    desk.run(BUY | {"ts": old}, price("106", ts=old))
    assert desk.suggestions() == []
    assert {r["reason"] for r in desk.journal("held")} == {"stale"}
    assert desk.position().holding.qty == 1
    desk.run(price("106"))
    assert len(desk.suggestions()) == 2


def test_a_price_from_the_future_publishes_nothing(desk: Desk) -> None:
    desk.run(BUY, price("106", ts=str(desk.server_ms() + 3_600_000)))
    assert desk.suggestions() == []


def test_never_more_than_the_allowed_intents_in_a_minute_over_all_books(redis: Client) -> None:
    desk = Desk(redis, HARVEST_MAX_ACTIONS_PER_MIN="5")
    symbols = [f"C{i}USDT" for i in range(6)]
    desk.run(*(BUY | {"symbol": s} for s in symbols), *(price("106", s) for s in symbols))
    assert len(desk.suggestions()) == 5
    assert {r["reason"] for r in desk.journal("held")} == {"rate_limited"}
    desk.client.delete(keys.WINDOW)
    desk.process(*symbols)
    assert len(desk.suggestions()) == 10


def test_an_existing_dedup_key_holds_the_intent_back(desk: Desk) -> None:
    desk.client.set(keys.dedup("BTCUSDT:1", "partial:0.5:1"), "x")
    desk.run(BUY, price("106"))
    assert [i["intent_type"] for i in desk.suggestions()] == ["MOVE_SL_BE"]
    assert [(r["action"], r["reason"]) for r in desk.journal("held")] == [("partial:0.5:1", "duplicate")]


def test_deleting_every_key_with_a_ttl_causes_no_second_intent(desk: Desk) -> None:
    desk.run(BUY, price("106"))
    before = desk.suggestions()
    for key in desk.client.scan_iter():
        if desk.client.ttl(key) > 0:
            desk.client.delete(key)
    desk.run(price("106"), price("107"))
    assert desk.suggestions() == before


def test_batches_of_any_size_give_the_same_intents(redis: Client) -> None:
    entries = [BUY, price("104"), price("106"), BUY | {"qty": "0.5"}, price("111"), price("109"), price("117")]
    seen = []
    for size in (1, 2, 3, 7):
        redis.flushall()
        desk = Desk(redis, 1_700_000_001_000)
        for start in range(0, len(entries), size):
            for i, entry in enumerate(entries[start : start + size], start):
                desk.feed(entry, at=f"{1_700_000_000_000 + i}-0")
            desk.route()
            desk.process()
        seen.append((desk.suggestions(), desk.journal(), desk.position()))
    assert seen.count(seen[0]) == len(seen)
    assert [s["intent_type"] for s in seen[0][0]].count("HARVEST_PARTIAL") == 3
    assert len(seen[0][0]) == 5  # and the stop: to break-even, then for the added quantity


def test_extra_wakeups_publish_nothing(desk: Desk) -> None:
    desk.run(BUY | {"atr": "1"}, price("106"))
    published = desk.suggestions()
    desk.process("BTCUSDT")
    desk.process("BTCUSDT")
    assert desk.suggestions() == published


def test_two_workers_with_the_same_batch_commit_it_once(desk: Desk) -> None:
    desk.feed(BUY, price("106"))
    desk.route()
    plans = []
    for _ in range(2):
        ledger = Ledger(desk.client, desk.settings)
        guards, (loaded,), _ = ledger.load(["BTCUSDT"])
        desk.client.delete(keys.lock("BTCUSDT"))  # as if it had run out
        assert isinstance(loaded, LoadedBook)
        made = make_plan(loaded.position, loaded.waiting, base_rules(desk.settings), guards, loaded.terms, {})
        plans.append((ledger, loaded, made))
    first, second = (ledger.commit([(loaded, made)])[0][2] for ledger, loaded, made in plans)
    assert first == Committed(0)
    assert second == Conflict()
    assert len(desk.suggestions()) == 2
    assert desk.client.hget(keys.position("BTCUSDT"), "version") == "1"


def test_input_trimmed_before_it_was_read_freezes_every_book_and_says_how_many(desk: Desk) -> None:
    desk.run(BUY)
    desk.feed(BUY, BUY, price("106"))
    desk.client.xtrim(desk.source, maxlen=1, approximate=False)
    desk.route()
    desk.process()
    assert desk.client.hget(keys.LOST, "entries") == "2"
    assert desk.position().frozen == "lost_input: 2 entries were trimmed or deleted before they were read"
    assert desk.suggestions() == []
    desk.run(BUY | {"symbol": "ETHUSDT"}, price("106", "ETHUSDT"))
    assert desk.position("ETHUSDT").frozen == "lost_input"
    inbox.release_all(desk.client, desk.server_ms())
    desk.process()
    assert len(desk.suggestions()) == 4
    assert_all_accounted_for(desk)


def test_what_was_trimmed_after_it_was_read_is_not_lost(desk: Desk) -> None:
    desk.run(BUY, BUY)
    desk.client.xtrim(desk.source, maxlen=0, approximate=False)
    desk.run(BUY, price("106"))
    assert not desk.client.exists(keys.LOST)
    assert desk.position().frozen == ""


def test_a_counter_that_the_server_forgot_is_no_loss(desk: Desk) -> None:
    """As Redis 7.0 does when it reloads its log."""
    desk.run(BUY, BUY)
    newest = desk.client.xinfo_stream(desk.source)["last-generated-id"]
    desk.client.xgroup_setid(desk.source, keys.GROUP, newest, entries_read=0)
    desk.run(BUY, price("106"))
    assert not desk.client.exists(keys.LOST)
    assert desk.client.xinfo_groups(desk.source)[0]["entries-read"] == 4


def test_input_that_is_lost_twice_is_counted_twice(desk: Desk) -> None:
    desk.run(BUY)
    for _ in range(2):
        desk.feed(BUY, BUY, BUY)
        desk.client.xtrim(desk.source, maxlen=1, approximate=False)
        desk.route()
    assert desk.client.hget(keys.LOST, "entries") == "4"
