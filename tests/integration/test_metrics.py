"""The metrics of the exporter on a real server: each metric, when it changes, and that a scrape only reads."""

import logging
import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from math import isnan
from types import SimpleNamespace

import inputs
import pytest
from desk import LIVE, Desk
from entries import BUY, price
from metrics_scrape import Scrape, scraping
from redis.exceptions import ResponseError

from harvest_tasks import celery, proposals, tasks
from harvest_tasks.fills import brain, sweep
from harvest_tasks.metrics import events, exporter, positions
from harvest_tasks.metrics import proposals as proposals_module
from harvest_tasks.metrics.exporter import Exporter
from harvest_tasks.processes.embedded_server import EmbeddedServer, free_port
from harvest_tasks.proposing.cycle import run_cycle
from harvest_tasks.reconciling import mismatch
from harvest_tasks.server import keys, liveness
from harvest_tasks.server.client import Client, connect
from harvest_tasks.settings import model as settings_module
from kernel.positions.guards import Refusal

SELL = {**BUY, "side": "SELL", "stop_loss": "110"}
READS = {
    *("TIME", "INFO", "GET", "HGETALL", "HMGET", "SMEMBERS", "LRANGE", "LLEN", "PTTL", "ZCARD", "ZRANGE"),
    *("XINFO", "XLEN", "XPENDING", "XRANGE"),
}
"""All that the server's user for the exporter needs; docs/metrics.md says so."""

Watch = Callable[..., Callable[[], Scrape]]


@pytest.fixture
def broker(server: EmbeddedServer, redis: Client) -> Iterator[Client]:
    client = connect(server.url(db=1))
    yield client
    client.close()


@pytest.fixture
def watched(broker: Client) -> Watch:
    """Scrapes the deployment of a desk; the first time at once, so that events count from here on."""

    def of(desk: Desk) -> Callable[[], Scrape]:
        scrape = scraping(Exporter(desk.client, broker, desk.settings))
        scrape()
        return scrape

    return of


@pytest.fixture
def worker(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment of a worker process, without workers that receive its wake-ups."""
    monkeypatch.setenv("REDIS_URL", url)
    monkeypatch.setenv("WATCH_SLICE_SEC", "0.5")
    for module in (brain, sweep, tasks):
        monkeypatch.setattr(module, "wake", lambda _: None)
    monkeypatch.setattr(tasks.watch_fills, "apply_async", lambda **_: None)
    for remembered in (settings_module.current_settings, brain.this_brain):
        remembered.cache_clear()
    yield
    for remembered in (settings_module.current_settings, brain.this_brain):
        remembered.cache_clear()


# the server itself


def test_without_a_server_only_its_absence_is_reported(desk: Desk) -> None:
    nobody = connect(f"redis://127.0.0.1:{free_port()}/0")
    scrape = scraping(Exporter(nobody, nobody, desk.settings))()
    assert (scrape.value("up"), scrape.value("broker_up")) == (0, 0)
    assert scrape.names == {"harvest_up", "harvest_broker_up", "harvest_info", "harvest_scrape_seconds"}


def test_a_server_that_hangs_is_away_and_comes_back(
    desk: Desk, server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    with EmbeddedServer(server.executable) as own:
        impatient, other = (connect(own.url(db=db), timeout_sec=0.2) for db in (0, 1))
        scrape = scraping(Exporter(impatient, other, desk.settings))
        assert scrape().value("up") == 1
        os.kill(own.pid, signal.SIGSTOP)
        assert scrape().value("up") == 0
        os.kill(own.pid, signal.SIGCONT)
        seen = scrape()
        assert seen.value("up") == 1
        assert 0 <= seen.value("scrape_seconds") <= 60
    lines = [record.getMessage() for record in caplog.records]
    assert "the server of REDIS_URL answers again" in lines


def test_what_keeps_the_server_away_is_logged_once(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    nobody = connect(f"redis://127.0.0.1:{free_port()}/0")
    scrape = scraping(Exporter(nobody, desk.client, desk.settings))
    with caplog.at_level(logging.WARNING, logger=exporter.log.name):
        scrape()
        (line,) = (record.getMessage() for record in caplog.records)
        assert line.startswith("the server of REDIS_URL does not answer: ")
        scrape()
        assert len(caplog.records) == 1


def test_an_empty_server_has_figures_for_everything_that_must_be_watched(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)()
    assert (scrape.value("up"), scrape.value("broker_up")) == (1, 1)
    assert scrape.by("of", "heartbeat_age_seconds") == dict.fromkeys(
        ("beat", "watcher", "sweep", "proposals", "reconciliation"), float("inf")
    )
    assert scrape.value("input_newest_seconds") == float("inf")
    assert (scrape.value("input_lag_entries"), scrape.value("input_lost"), scrape.value("kill_switch")) == (0, 0, 0)
    assert scrape.by("reason", "held_back_total") == dict.fromkeys((reason.value for reason in Refusal), 0)
    assert scrape.by("result", "entries_total")["deadlettered"] == 0


def test_a_server_that_would_delete_keys_says_so(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)
    assert scrape().value("server_evicts") == 0
    desk.client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        assert scrape().value("server_evicts") == 1
    finally:
        desk.client.config_set("maxmemory-policy", "noeviction")
    seen = scrape()
    assert (seen.value("server_persists"), seen.value("server_save_failed")) == (1, 0)
    assert seen.value("server_memory_bytes") > 0
    assert abs(seen.value("server_clock_ahead_seconds")) <= 60
    assert re.fullmatch(r"(7|8|9|\d\d)\.\d+\.\d+", next(iter(seen.by("version", "server_info"))))


def test_a_server_that_keeps_nothing_on_disk_says_so(desk: Desk, server: EmbeddedServer, broker: Client) -> None:
    with EmbeddedServer(server.executable, options=("--appendonly", "no")) as own, connect(own.url()) as client:
        assert scraping(Exporter(client, broker, desk.settings))().value("server_persists") == 0


# the input


def test_what_no_watcher_has_read_is_the_lag_and_has_an_age(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)
    desk.run(BUY)
    assert scrape().value("input_lag_entries") == 0
    desk.feed(price("101"), price("102"))
    seen = scrape()
    assert seen.value("input_lag_entries") == 2
    assert 0 <= seen.value("input_oldest_unread_seconds") <= 60
    desk.route()
    seen = scrape()
    assert (seen.value("input_lag_entries"), seen.value("input_oldest_unread_seconds")) == (0, 0)


def test_an_old_entry_that_nobody_read_is_as_old_as_it_is(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)
    desk.feed(price("101"), at=f"{desk.server_ms() - 90_000}-0")
    desk.feed(price("102"))
    seen = scrape()
    assert 90 <= seen.value("input_oldest_unread_seconds") <= 150
    assert seen.value("input_newest_seconds") <= 60


def test_without_a_group_everything_is_unread(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)
    desk.feed(BUY, price("101"), price("102"))
    seen = scrape()
    assert (seen.value("input_has_group"), seen.value("input_lag_entries")) == (0, 3)
    desk.route()
    assert scrape().value("input_has_group") == 1


def test_a_group_whose_count_the_server_forgot_is_counted_by_our_cursor(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)
    desk.run(BUY, price("101"))
    desk.client.xgroup_setid(desk.source, keys.GROUP, desk.client.xinfo_stream(desk.source)["last-generated-id"])
    desk.feed(price("102"))
    assert scrape().value("input_lag_entries") == 1


def test_what_was_read_and_not_moved_is_pending(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)
    desk.run(BUY)
    desk.feed(price("101"))
    desk.client.xreadgroup(keys.GROUP, "somebody", {desk.source: ">"})
    assert scrape().value("input_pending_entries") == 1
    desk.route()
    assert (scrape().value("input_pending_entries"), scrape().value("input_oldest_pending_seconds")) == (0, 0)


def test_lost_entries_stay_lost_until_the_books_are_released(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)
    desk.run(BUY)
    desk.feed(price("101"), price("102"))
    desk.client.xtrim(desk.source, maxlen=0, approximate=False)
    desk.run(price("103"))
    seen = scrape()
    assert (seen.value("input_lost"), seen.value("input_lost_entries")) == (1, 2)
    assert seen.value("book_frozen", book="BTCUSDT", cause="lost_input") == 1


# heartbeats


def test_each_part_that_works_leaves_a_heartbeat(desk: Desk, watched: Watch, worker: None) -> None:
    scrape = watched(desk)
    for part, work in {
        "beat": tasks.heartbeat,
        "watcher": tasks.watch_fills,
        "sweep": tasks.evaluate_positions,
        "proposals": lambda: proposals.compute_proposals(["BTCUSDT"]),
        "reconciliation": tasks.reconcile_positions,
    }.items():
        assert scrape().by("of", "heartbeat_age_seconds")[part] == float("inf"), part
        work()
        assert scrape().by("of", "heartbeat_age_seconds")[part] <= 60, part


def test_a_heartbeat_that_cannot_be_written_costs_no_work(
    desk: Desk, worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.run(BUY)
    desk.client.set(keys.HEARTBEAT, "text")
    desk.feed(price("101"))
    started: list[object] = []
    monkeypatch.setattr(tasks.watch_fills, "apply_async", lambda **how: started.append(how["kwargs"]))
    for work in (tasks.watch_fills, tasks.evaluate_positions):
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            work()
    assert (started, desk.position().mark.price) == ([{"succeeds": True}], 101)
    celery._count_start(SimpleNamespace(hostname="fills@desk"))


def test_a_heartbeat_gets_old(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)
    liveness.record_sign(desk.client, liveness.SWEPT_MS, desk.server_ms() - 90_000)
    assert 90 <= scrape().by("of", "heartbeat_age_seconds")["sweep"] <= 150


def test_a_watcher_at_work_is_known_by_its_lease(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)
    liveness.record_sign(desk.client, liveness.WATCHED_MS, desk.server_ms() - 90_000)
    desk.client.set(keys.LEASE, "somebody", px=60_000)
    assert scrape().by("of", "heartbeat_age_seconds")["watcher"] == 0


def test_intervals_are_those_of_the_settings(redis: Client, watched: Watch) -> None:
    desk = Desk(redis, PUBLISH_INTERVAL_SEC="7", RECONCILE_INTERVAL_SEC="90")
    found = watched(desk)().by("of", "heartbeat_interval_seconds")
    assert (found["proposals"], found["reconciliation"], found["beat"]) == (7, 90, 5)


def test_each_start_of_a_worker_is_counted_by_its_name(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)
    for name in ("fills@one", "fills@one", "fills@two"):
        liveness.record_start(desk.client, name, desk.server_ms())
    seen = scrape()
    assert seen.by("worker", "worker_starts_total") == {"fills@one": 2, "fills@two": 1}
    assert abs(seen.value("worker_started_timestamp_seconds", worker="fills@two") - desk.server_ms() / 1000) <= 60


# positions


def test_an_open_position_shows_its_r_quantity_and_the_age_of_its_price(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)
    desk.run(BUY, price("104"), {**SELL, "symbol": "ETHUSDT", "qty": "2"}, price("98", "ETHUSDT"))
    seen = scrape()
    assert seen.by("book", "position_r") == {"BTCUSDT": 0.4, "ETHUSDT": 0.2}
    assert seen.by("book", "position_quantity") == {"BTCUSDT": 1, "ETHUSDT": -2}
    assert 0 <= seen.by("book", "position_mark_age_seconds")["BTCUSDT"] <= 60
    desk.run({**SELL, "price": "104"})
    after = scrape()
    assert after.by("book", "position_r").keys() == {"ETHUSDT"}
    assert after.value("books", state="unreadable") == 0


def test_a_price_gets_old(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)
    desk.run({**BUY, "ts": str(desk.server_ms() - 90_000)})
    assert 90 <= scrape().by("book", "position_mark_age_seconds")["BTCUSDT"] <= 150


def test_r_is_net_of_costs_as_the_ladder_has_it(redis: Client, watched: Watch) -> None:
    desk = Desk(redis, HARVEST_COST_BPS="100")
    scrape = watched(desk)
    desk.run(BUY, price("104"))
    assert scrape().by("book", "position_r") == {"BTCUSDT": pytest.approx(0.3)}


def test_of_too_many_positions_those_with_the_largest_r_are_shown(
    desk: Desk, watched: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(positions, "MAX_SERIES", 2)
    scrape = watched(desk)
    for symbol, mark in {"AAUSDT": "101", "BBUSDT": "91", "CCUSDT": "104"}.items():
        desk.run({**BUY, "symbol": symbol}, price(mark, symbol))
    seen = scrape()
    assert seen.by("book", "position_r").keys() == {"BBUSDT", "CCUSDT"}
    assert seen.value("positions_left_out") == 1
    assert seen.value("books", state="open") == 3


def test_a_record_that_harvest_did_not_write_is_counted_beside_the_others(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)
    desk.run(BUY, {**BUY, "symbol": "ETHUSDT"})
    desk.client.hset(keys.position("ETHUSDT"), "avg_entry", "much")
    seen = scrape()
    assert seen.value("books", state="unreadable") == 1
    assert seen.by("book", "position_r").keys() == {"BTCUSDT"}


def test_a_frozen_book_is_named_with_its_cause_and_its_dead_letter_counted(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)
    desk.run(BUY, {**BUY, "qty": "-1"})
    seen = scrape()
    assert seen.value("book_frozen", book="BTCUSDT", cause="refused_entry") == 1
    assert seen.value("books", state="frozen") == 1
    assert seen.by("reason", "deadletters_total")["signed"] == 1
    assert seen.by("result", "entries_total")["deadlettered"] == 1


def test_of_too_many_frozen_books_the_open_ones_are_named(
    desk: Desk, watched: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(positions, "MAX_SERIES", 1)
    scrape = watched(desk)
    desk.run(
        {**BUY, "symbol": "AAUSDT", "qty": "-1"}, {**BUY, "symbol": "BBUSDT"}, {**BUY, "symbol": "BBUSDT", "qty": "-1"}
    )
    seen = scrape()
    assert seen.by("book", "book_frozen").keys() == {"BBUSDT"}
    assert seen.value("books", state="frozen") == 2


def test_entries_are_counted_as_the_ledger_counts_them(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)
    desk.run(BUY, {**BUY, "trade_id": "1"}, {**BUY, "trade_id": "1"}, price("1", "NOBODYUSDT"))
    seen = scrape()
    assert seen.value("entries_received_total") == 4
    assert seen.by("result", "entries_total") == {"applied": 2, "duplicate": 1, "deadlettered": 0, "ignored": 1}


def test_entries_that_no_worker_applied_wait_in_inboxes(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)
    desk.feed(BUY, price("101"))
    desk.route()
    seen = scrape()
    assert (seen.value("inbox_entries"), seen.value("books", state="waiting")) == (2, 1)
    desk.process()
    seen = scrape()
    assert (seen.value("inbox_entries"), seen.value("inbox_oldest_seconds")) == (0, 0)


def test_an_entry_that_waits_in_an_inbox_is_as_old_as_it_is(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)
    desk.client.xadd(keys.inbox("BTCUSDT"), {"e": "an entry"}, id=f"{desk.server_ms() - 90_000}-0")
    desk.client.sadd(keys.WAITING, "BTCUSDT")
    assert 90 <= scrape().value("inbox_oldest_seconds") <= 150


def test_the_result_of_the_comparison_with_the_exchange_is_reported(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)
    desk.run(BUY, {**BUY, "symbol": "ETHUSDT"})
    for symbol, qty in {"BTCUSDT": "1", "ETHUSDT": "3"}.items():
        inputs.write_hash(desk.client, keys.position_state(symbol), {"side": "LONG", "qty": qty, "entry_price": "100"})
    mismatch.reconcile_books(desk.client, desk.settings)
    assert scrape().by("result", "reconciled_books") == {"agreed": 1, "differ": 1, "unknown": 0, "unreadable": 0}


# intents and guards


def test_intents_are_counted_by_mode_kind_and_highest_rung(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)
    desk.run(BUY, price("110"))
    seen = scrape()
    assert seen.value("intents_total", mode="shadow", kind="HARVEST", rung="1") == 1
    assert seen.value("intents_total", mode="shadow", kind="HARVEST", rung="0.5") == 0
    assert seen.value("intents_total", mode="shadow", kind="MOVE_SL_BE", rung="") == 1
    assert (seen.value("intents_published_total"), seen.value("intents_last_minute")) == (2, 2)


@pytest.mark.parametrize(
    ("environ", "harvests", "stops"),
    [({}, "shadow", "shadow"), (LIVE, "live", "shadow"), (LIVE | {"HARVEST_LIVE_STOPS": "true"}, "live", "live")],
)
def test_intents_that_may_come_begin_at_zero(
    redis: Client, watched: Watch, environ: dict[str, str], harvests: str, stops: str
) -> None:
    seen = watched(Desk(redis, HARVEST_LADDER="0.5:0.5,2:0.5", **environ))()
    series = {
        tuple(line.split('"')[1:6:2]) for line in seen.text.splitlines() if line.startswith("harvest_intents_total{")
    }
    assert series == {
        *(("HARVEST", harvests, "0.5"), ("HARVEST", harvests, "2")),
        *(("MOVE_SL_BE", stops, ""), ("TRAIL_UPDATE", stops, "")),
    }


def test_live_intents_are_counted_apart_and_those_of_other_programs_not_at_all(redis: Client, watched: Watch) -> None:
    desk = Desk(redis, **LIVE)
    scrape = watched(desk)
    desk.client.xadd(desk.settings.stream_trade_intent, {"payload": '{"source": "somebody", "intent_type": "OPEN"}'})
    desk.client.xadd(desk.settings.stream_trade_intent, {"payload": "no json"})
    desk.run(BUY, price("105"))
    seen = scrape()
    assert seen.value("intents_total", mode="live", kind="HARVEST", rung="0.5") == 1
    assert seen.value("intents_total", mode="shadow", kind="MOVE_SL_BE", rung="") == 1
    assert "OPEN" not in seen.text
    assert seen.value("intents_open") == 1


def test_the_way_from_an_entry_to_its_intent_is_timed(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)
    desk.feed(BUY, at=f"{desk.server_ms() - 9_000}-0")
    desk.feed(price("105"), at=f"{desk.server_ms() - 8_000}-0")
    desk.route()
    desk.process()
    seen = scrape()
    assert seen.value("fill_to_intent_seconds_count") == 2
    assert 2 * 8 <= seen.value("fill_to_intent_seconds_sum") <= 2 * 60
    assert seen.value("fill_to_intent_seconds_bucket", le="5.0") == 0


def test_a_price_that_came_by_key_is_timed_from_its_own_moment(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)
    desk.feed(BUY, at=f"{desk.server_ms() - 3_600_000}-0")
    desk.route()
    desk.process()
    desk.client.hset(keys.ticker("BTCUSDT"), mapping={"markPrice": "105", "ts": str(desk.server_ms())})
    sweep.sweep(desk.client, desk.settings)
    desk.process()
    seen = scrape()
    assert seen.value("fill_to_intent_seconds_count") == 2
    assert seen.value("fill_to_intent_seconds_sum") <= 120


def test_what_a_guard_holds_back_is_counted_by_its_reason(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)
    desk.client.set("quantum:kill", "1")
    desk.run(BUY, price("105"))
    seen = scrape()
    assert seen.value("kill_switch") == 1
    assert seen.by("reason", "held_back_actions")["killed"] == 2
    assert seen.by("reason", "held_back_total")["killed"] == 2
    assert seen.value("books", state="held") == 1
    desk.client.set("quantum:kill", "0")
    desk.process("BTCUSDT")
    seen = scrape()
    assert (seen.value("kill_switch"), seen.by("reason", "held_back_actions")["killed"]) == (0, 0)
    assert seen.by("reason", "held_back_total")["killed"] == 2


def test_nothing_of_a_closed_position_is_held_back(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)
    desk.client.set("quantum:kill", "1")
    desk.run(BUY, price("105"), {**SELL, "price": "105"})
    seen = scrape()
    assert (seen.value("books", state="held"), seen.by("reason", "held_back_actions")["killed"]) == (0, 0)


def test_a_kill_switch_of_another_type_is_on(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)
    desk.client.hset("quantum:kill", "a", "b")
    assert scrape().value("kill_switch") == 1


def test_an_intent_without_a_reply_is_reported_until_it_gets_one(redis: Client, watched: Watch) -> None:
    desk = Desk(redis, HARVEST_INTENT_TIMEOUT_SEC="1", **LIVE)
    scrape = watched(desk)
    then = str(desk.server_ms() - 5_000)
    desk.run({**BUY, "ts": then}, price("105", ts=then))
    (intent,) = desk.live_intents()
    assert scrape().value("intents_unanswered") == 0
    sweep.sweep(desk.client, desk.settings)
    desk.process()
    seen = scrape()
    assert (seen.value("intents_unanswered"), seen.by("decision", "decisions_total")["unanswered"]) == (1, 1)
    assert 5 <= seen.value("intents_oldest_open_seconds") <= 65
    desk.run({"symbol": "BTCUSDT", "status": "CANCELED", "intent_id": intent["intent_id"]})
    assert scrape().value("intents_unanswered") == 0


def test_a_sweep_counts_what_it_scanned_and_why_it_evaluated_nothing(desk: Desk, watched: Watch, worker: None) -> None:
    scrape = watched(desk)
    desk.run({**BUY, "ts": str(desk.server_ms() - 90_000)})
    tasks.evaluate_positions()
    found = scrape().by("result", "sweep_books_total")
    assert (found["scanned"], found["evaluated"], found["current"]) == (1, 0, 0)
    assert found["mark_missing"] == 1


def test_a_book_that_cannot_be_processed_is_counted(desk: Desk, watched: Watch, worker: None) -> None:
    scrape = watched(desk)
    desk.run(BUY)
    desk.client.hset(keys.position("BTCUSDT"), "avg_entry", "much")
    assert scrape().value("book_failures_total") == 0
    desk.feed(price("101"))
    desk.route()
    tasks.process_fills(["BTCUSDT"])
    assert scrape().value("book_failures_total") == 1
    tasks.evaluate_positions()
    assert scrape().value("book_failures_total") == 2


# proposals


def test_a_proposal_shows_its_kill_score_parts_r_and_age(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)
    now_sec = desk.server_ms() / 1000
    inputs.write_hash(desk.client, "quantum:marketstate:BTCUSDT", {**inputs.FLIPPED, "ts_timestamp": str(int(now_sec))})
    inputs.write_hash(desk.client, keys.position_state("BTCUSDT"), inputs.position())
    run_cycle(desk.client, desk.settings, ["BTCUSDT"], now_sec - 40)
    seen = scrape()
    assert seen.by("book", "kill_score")["BTCUSDT"] > 0.6
    assert seen.value("kill_score_part", book="BTCUSDT", part="regime_flip") == 1
    assert seen.by("book", "proposal_r_net") == {"BTCUSDT": pytest.approx(2.45)}
    assert 39 <= seen.by("book", "proposal_age_seconds")["BTCUSDT"] <= 100
    assert seen.by("action", "proposals_held")["FULL_CLOSE_PROPOSED"] == 1
    assert seen.by("result", "proposals_total")["published"] == 1


def test_a_synthetic_position_is_seen_at_once(redis: Client, watched: Watch) -> None:
    desk = Desk(redis, SYNTHETIC_FALLBACK="true")
    scrape = watched(desk)
    run_cycle(desk.client, desk.settings, ["BTCUSDT"], desk.server_ms() / 1000)
    seen = scrape()
    assert (seen.value("proposals_held_synthetic"), seen.value("proposals_synthetic_total")) == (1, 1)


def test_a_symbol_that_is_skipped_says_why(redis: Client, watched: Watch) -> None:
    desk = Desk(redis, SYNTHETIC_FALLBACK="false")
    scrape = watched(desk)
    run_cycle(desk.client, desk.settings, ["BTCUSDT"], desk.server_ms() / 1000)
    assert scrape().by("reason", "proposals_skipped_total")["no_position"] == 1


def test_the_legs_of_a_symbol_have_proposals_of_their_own(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)
    inputs.market_state(desk.client, "XRPUSDT")
    desk.run(*({**BUY, "symbol": "XRPUSDT", "position_side": leg} for leg in ("LONG", "SHORT")))
    run_cycle(desk.client, desk.settings, ["XRPUSDT"], desk.server_ms() / 1000)
    assert scrape().by("book", "kill_score").keys() == {"XRPUSDT:LONG"}


def test_of_too_many_proposals_those_with_the_highest_score_are_shown(
    desk: Desk, watched: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposals_module, "MAX_SERIES", 1)
    scrape = watched(desk)
    for symbol, state in {
        "BTCUSDT": inputs.CALM,
        "ETHUSDT": inputs.FLIPPED,
        "SOLUSDT": inputs.CALM,
    }.items():
        inputs.write_hash(desk.client, f"quantum:marketstate:{symbol}", state)
        inputs.write_hash(desk.client, keys.position_state(symbol), {**inputs.position(), "symbol": symbol})
    run_cycle(desk.client, desk.settings, ["BTCUSDT", "ETHUSDT", "SOLUSDT"], desk.server_ms() / 1000)
    seen = scrape()
    assert seen.by("book", "kill_score").keys() == {"ETHUSDT"}
    assert seen.value("proposals_left_out") == 2


def test_market_states_are_missing_untimed_stale_or_fresh(redis: Client, watched: Watch) -> None:
    desk = Desk(redis, SYMBOLS="AAUSDT,BBUSDT,CCUSDT,DDUSDT,EEUSDT")
    scrape = watched(desk)
    now = redis.time()[0]
    inputs.market_state(redis, "BBUSDT")
    inputs.market_state(redis, "CCUSDT", ts_timestamp=str(now - 9_000))
    inputs.market_state(redis, "DDUSDT", ts_timestamp=str(now))
    inputs.market_state(redis, "EEUSDT", ts_timestamp="0")
    seen = scrape()
    assert seen.by("state", "market_states") == {"missing": 1, "untimed": 1, "stale": 2, "fresh": 1}
    ages = seen.by("symbol", "market_state_age_seconds")
    assert ages.keys() == {"CCUSDT", "DDUSDT", "EEUSDT"}
    assert (9_000 <= ages["CCUSDT"] <= 9_060, ages["EEUSDT"]) == (True, float("inf"))


# queues


def test_queues_show_what_waits_and_what_was_taken(desk: Desk, broker: Client, watched: Watch) -> None:
    scrape = watched(desk)
    broker.lpush("fills", "a", "b")
    broker.zadd("unacked_index", {"tag": desk.server_ms() / 1000 - 90, "newer": desk.server_ms() / 1000})
    seen = scrape()
    assert seen.by("queue", "queue_messages") == {"proposals": 0, "adhoc": 0, "fills": 2, "watch": 0, "control": 0}
    assert seen.value("queue_unacked_messages") == 2
    assert 89 <= seen.value("queue_oldest_unacked_seconds") <= 150


# how it reads


def test_events_before_the_first_scrape_are_not_counted_again(desk: Desk, watched: Watch) -> None:
    desk.run(BUY, price("105"))
    seen = watched(desk)()
    assert seen.value("fill_to_intent_seconds_count") == 0
    assert seen.value("intents_published_total") == 2


def test_more_events_than_a_page_are_all_counted(desk: Desk, watched: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PAGE_ENTRIES", 2)
    scrape = watched(desk)
    desk.run(*({**BUY, "qty": "-1"} for _ in range(7)))
    assert scrape().by("reason", "deadletters_total")["signed"] == 7
    desk.run({**BUY, "qty": "-1"})
    assert scrape().by("reason", "deadletters_total")["signed"] == 8


def test_a_flood_of_events_is_counted_over_several_scrapes(
    desk: Desk, watched: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "PAGE_ENTRIES", 2)
    monkeypatch.setattr(events, "MAX_PAGES", 2)
    scrape = watched(desk)
    desk.run(*({**BUY, "qty": "-1"} for _ in range(7)))
    assert [scrape().by("reason", "deadletters_total")["signed"] for _ in range(3)] == [4, 7, 7]


def test_a_stream_that_was_deleted_is_followed_from_its_new_beginning(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)
    desk.client.xadd(keys.DEADLETTER, {"reason": "signed: x"}, id="9999999999999-0")
    assert scrape().by("reason", "deadletters_total")["signed"] == 1
    desk.client.delete(keys.DEADLETTER)
    desk.client.xadd(keys.DEADLETTER, {"reason": "missing: x"})
    assert scrape().by("reason", "deadletters_total")["missing"] == 1


def test_keys_of_another_type_cost_their_own_figures_only(
    desk: Desk, watched: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    scrape = watched(desk)
    desk.run(BUY, price("104"))
    desk.client.set(keys.WINDOW, "text")
    desk.client.delete(keys.DECISIONS)
    desk.client.set(keys.DECISIONS, "text")
    desk.client.set("quantum:harvest:proposal:SOLUSDT", "text")
    desk.client.set("quantum:marketstate:SOLUSDT", "text")
    desk.client.sadd(keys.BOOKS, "SOLUSDT")
    desk.client.set(keys.position("SOLUSDT"), "text")
    seen = scrape()
    assert seen.value("scrape_refused_questions") == 5
    assert seen.value("books", state="unreadable") == 1
    assert "window: " in caplog.text
    assert seen.by("book", "position_r") == {"BTCUSDT": 0.4}


def test_values_that_are_no_numbers_cost_their_own_figures_only(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)
    desk.client.hset(
        keys.COUNTS, mapping={"applied": "many", "duplicate": "3", f"{liveness.STARTS_PREFIX}fills@desk": "?"}
    )
    desk.client.hset(keys.HEARTBEAT, mapping={liveness.BEAT_MS: "soon", f"{liveness.STARTED_PREFIX}fills@desk": "?"})
    desk.client.hset(keys.LOST, "entries", "some")
    desk.client.lpush(keys.WINDOW, "then", str(desk.server_ms()))
    seen = scrape()
    assert (seen.value("up"), seen.value("intents_last_minute"), seen.value("input_lost")) == (1, 1, 1)
    assert seen.by("result", "entries_total")["duplicate"] == 3
    assert isnan(seen.by("result", "entries_total")["applied"])
    assert seen.by("of", "heartbeat_age_seconds")["beat"] == float("inf")


def test_a_scrape_only_reads_and_only_what_its_page_says(desk: Desk, watched: Watch) -> None:
    scrape = watched(desk)
    desk.run(BUY, price("105"), {**BUY, "qty": "-1"})
    desk.feed(price("106"))
    desk.route()
    with desk.client.monitor() as monitor:
        scrape()
        desk.client.echo("enough")
        asked = set()
        for command in monitor.listen():
            name = command["command"].split()[0].upper()
            if name == "ECHO":
                break
            asked.add(name)
    assert asked - {"SELECT", "CLIENT", "HELLO", "PING"} == READS
    flags: Mapping[str, Mapping[str, list[str]]] = desk.client.command()
    assert [name for name in READS if "write" in flags[name.lower()]["flags"]] == []


def test_a_user_who_may_only_read_is_refused_nothing(desk: Desk, server: EmbeddedServer) -> None:
    desk.run(BUY, price("105"))
    rights = ["-@all", "%R~*", "+ping", "+select", *(f"+{name.lower()}" for name in READS)]
    desk.client.execute_command("ACL", "SETUSER", "onlooker", "on", ">secret", *rights)
    try:
        state, queues = (connect(server.url(db).replace("redis://", "redis://onlooker:secret@")) for db in (0, 1))
        scrape = scraping(Exporter(state, queues, desk.settings))
        desk.run(price("106"), {**BUY, "qty": "-1"})
        seen = scrape()
    finally:
        desk.client.execute_command("ACL", "DELUSER", "onlooker")
    assert (seen.value("up"), seen.value("broker_up"), seen.value("scrape_refused_questions")) == (1, 1, 0)
    assert seen.by("book", "position_r") == {"BTCUSDT": 0.6}


def test_a_user_without_rights_is_reported_as_a_server_that_does_not_answer(
    desk: Desk, broker: Client, server: EmbeddedServer
) -> None:
    desk.client.execute_command("ACL", "SETUSER", "blind", "on", ">secret", "~*", "+ping", "+hello", "+auth", "+select")
    try:
        blind = connect(server.url().replace("redis://", "redis://blind:secret@"))
        assert scraping(Exporter(blind, broker, desk.settings))().value("up") == 0
    finally:
        desk.client.execute_command("ACL", "DELUSER", "blind")
