"""Effects happen once: any process may read or commit, and any reply may be lost."""

from collections.abc import Sequence
from threading import Thread
from time import monotonic

import pytest
from desk import Desk, assert_all_accounted_for
from entries import BUY
from redis.exceptions import ResponseError

from harvest_tasks.fills.brain import Brain
from harvest_tasks.fills.commit import CommitOutcome, Committed, Conflict
from harvest_tasks.fills.lease import LEASE_MS, Lease
from harvest_tasks.fills.ledger import Ledger
from harvest_tasks.fills.loading import BusyBook, FailedBook, LoadedBook
from harvest_tasks.fills.plan import Plan, make_plan
from harvest_tasks.fills.router import LeaseLost, Moved, OlderPending, Router
from harvest_tasks.fills.stream import InputStream
from harvest_tasks.fills.symbol_rules import base_rules
from harvest_tasks.fills.watcher import watch
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client, connect

MARK = {"symbol": "BTCUSDT", "status": "PRICE_UPDATE", "price": "106"}


@pytest.fixture
def stream(desk: Desk) -> InputStream:
    stream = InputStream(desk.client, desk.settings)
    stream.ensure_group()
    return stream


@pytest.fixture
def router(desk: Desk, stream: InputStream) -> Router:
    return Router(desk.client, desk.settings)


def committed(ledger: Ledger, loaded: LoadedBook, made: Plan) -> CommitOutcome:
    """What became of it."""
    ((*_, outcome),) = ledger.commit([(loaded, made)])
    return outcome


def planned(desk: Desk, ledger: Ledger, book: str = "BTCUSDT") -> tuple[LoadedBook, Plan]:
    guards, (loaded,), _ = ledger.load([book])
    assert isinstance(loaded, LoadedBook)
    return loaded, make_plan(loaded.position, loaded.waiting, base_rules(desk.settings), guards, loaded.terms, {})


def inbox_ids(desk: Desk, book: str = "BTCUSDT") -> list[str]:
    """Source ids in the order in which they wait."""
    return [values["e"].split('"')[3] for _, values in desk.client.xrange(keys.inbox(book))]


def test_only_one_watcher_holds_the_lease(desk: Desk, stream: InputStream) -> None:
    assert Lease(desk.client).acquire()
    assert not Lease(desk.client).acquire()
    assert watch(desk.client, desk.settings, 1.0, lambda books: None) is False


def test_a_watcher_whose_lease_ran_out_moves_nothing(desk: Desk, stream: InputStream, router: Router) -> None:
    desk.feed(BUY, MARK)
    slow, quick = Lease(desk.client), Lease(desk.client)
    slow.acquire()
    entries, _ = stream.read()
    desk.client.delete(keys.LEASE)
    quick.acquire()
    claimed, _ = stream.claim()
    assert router.move(quick.token, LEASE_MS, claimed) == Moved(2, ("BTCUSDT",))
    assert router.move(slow.token, LEASE_MS, entries) == LeaseLost()
    assert len(inbox_ids(desk)) == 2
    assert not slow.renew()


def test_entries_behind_which_an_older_one_is_pending_are_refused_so_order_is_kept(
    desk: Desk, stream: InputStream, router: Router
) -> None:
    ids = desk.feed(BUY, BUY)
    stream.read()  # by a watcher that stalls before moving them
    ids += desk.feed(BUY, MARK)
    lease = Lease(desk.client)
    lease.acquire()
    assert router.move(lease.token, LEASE_MS, stream.read()[0]) == OlderPending()
    lease.release()
    watch(desk.client, desk.settings, 0.05, lambda books: None)
    assert inbox_ids(desk) == ids


def test_moving_the_same_entries_again_changes_nothing(desk: Desk, stream: InputStream, router: Router) -> None:
    desk.feed(BUY, MARK)
    lease = Lease(desk.client)
    lease.acquire()
    entries, _ = stream.read()
    router.move(lease.token, LEASE_MS, entries)
    assert router.move(lease.token, LEASE_MS, entries) == OlderPending()  # as after a lost reply
    assert len(inbox_ids(desk)) == 2
    assert desk.counts()["in"] == 2


def test_committing_the_same_plan_again_changes_nothing(desk: Desk) -> None:
    desk.feed(BUY, MARK)
    desk.route()
    ledger = Ledger(desk.client, desk.settings)
    loaded, made = planned(desk, ledger)
    assert committed(ledger, loaded, made) == Committed(0)
    assert committed(ledger, loaded, made) == Conflict()  # as after a lost reply
    assert len(desk.suggestions()) == 2
    assert_all_accounted_for(desk)


def test_a_locked_book_is_left_to_its_worker(desk: Desk) -> None:
    desk.feed(BUY)
    desk.route()
    Ledger(desk.client, desk.settings).load(["BTCUSDT"])
    _, (second,), _ = Ledger(desk.client, desk.settings).load(["BTCUSDT"])
    assert second == BusyBook("BTCUSDT")


def test_entries_that_arrive_while_a_worker_commits_are_reported_by_its_commit(desk: Desk) -> None:
    desk.feed(BUY)
    desk.route()
    ledger = Ledger(desk.client, desk.settings)
    loaded, made = planned(desk, ledger)
    desk.feed(MARK, MARK)
    desk.route()
    assert committed(ledger, loaded, made) == Committed(2)
    assert desk.client.smembers(keys.WAITING) == {"BTCUSDT"}


def test_entries_that_arrive_while_a_worker_looks_in_vain_are_applied_by_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.run(BUY)
    load = Ledger.load
    looks: list[object] = []

    def disturbed(ledger: Ledger, books: Sequence[str]) -> object:
        work = load(ledger, books)
        looks.append(work)
        if len(looks) == 1:
            desk.feed(MARK)
            desk.route()
            # The process that moved it finds the book busy, and leaves it to the worker that has it.
            assert load(Ledger(desk.client, desk.settings), books).books == [BusyBook("BTCUSDT")]
        return work

    monkeypatch.setattr(Ledger, "load", disturbed)
    assert desk.process("BTCUSDT")["applied"] == 1
    assert len(looks) == 2
    assert desk.suggestions()
    assert_all_accounted_for(desk)


def test_a_book_that_waits_with_an_empty_inbox_is_looked_at_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.run(BUY)
    desk.client.sadd(keys.WAITING, "BTCUSDT")
    load = Ledger.load
    looks: list[object] = []
    monkeypatch.setattr(Ledger, "load", lambda ledger, books: looks.append(books) or load(ledger, books))
    desk.process("BTCUSDT")
    assert len(looks) == 1


def test_a_kill_switch_set_between_plan_and_commit_stops_the_intents(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.feed(BUY, MARK)
    desk.route()
    brain = Brain(desk.client, desk.settings)
    ledger = brain.ledger
    commit = ledger.commit

    def after_kill(plans: Sequence[tuple[LoadedBook, Plan]]) -> object:
        desk.client.set("quantum:kill", "1")
        return commit(plans)

    monkeypatch.setattr(ledger, "commit", after_kill)
    brain.process(["BTCUSDT"], monotonic() + 5)
    assert desk.suggestions() == []
    assert {r["reason"] for r in desk.journal("held")} == {"killed"}
    assert desk.position().ladder_state.spent == ()


def test_a_reused_trade_id_does_not_hide_the_kill_switch_from_the_second_look(desk: Desk) -> None:
    opened = {**BUY, "trade_id": "t1"}
    desk.run(opened)
    desk.client.set("quantum:kill", "1")
    desk.run(MARK)
    before = desk.position().ladder_state.held
    desk.run({**opened, "qty": "2"})
    assert desk.position().frozen
    assert {reason for _, reason in before} == {"killed"}
    assert desk.position().ladder_state.held == before


@pytest.mark.parametrize("stream", ["quantum:stream:harvest.suggestions", keys.DECISIONS, keys.WINDOW, keys.OPEN])
def test_an_output_key_of_another_type_leaves_nothing_half_written(desk: Desk, stream: InputStream) -> None:
    desk.client.set(stream, "not what it should be")
    desk.feed(BUY, MARK)
    desk.route()
    ledger = Ledger(desk.client, desk.settings)
    if stream == keys.WINDOW:
        with pytest.raises(ResponseError):
            ledger.load(["BTCUSDT"])
        return
    loaded, made = planned(desk, ledger)
    assert isinstance(committed(ledger, loaded, made), FailedBook)
    assert not desk.client.exists(keys.position("BTCUSDT"))
    assert len(inbox_ids(desk)) == 2
    desk.client.delete(stream)
    desk.client.delete(keys.lock("BTCUSDT"))
    desk.process()
    assert len(desk.suggestions()) == 2


def test_one_broken_book_does_not_stop_another(desk: Desk) -> None:
    desk.client.set(keys.position("BTCUSDT"), "broken")
    desk.run(BUY, BUY | {"symbol": "ETHUSDT"})
    assert desk.position("ETHUSDT").holding.qty == 1
    assert len(inbox_ids(desk)) == 1


def test_a_position_beyond_all_arithmetic_stops_only_its_own_book(desk: Desk) -> None:
    desk.run(BUY, BUY | {"symbol": "ETHUSDT"})
    desk.client.hset(keys.position("BTCUSDT"), "avg_entry", "1" + "0" * 75)
    desk.feed(BUY, BUY | {"symbol": "ETHUSDT"})
    desk.route()
    assert desk.process() == {"applied": 1, "failed": 1, "busy": 0}
    assert desk.position("ETHUSDT").holding.qty == 2
    assert len(inbox_ids(desk)) == 1


def test_scripts_that_the_server_forgot_are_loaded_again(desk: Desk) -> None:
    desk.run(BUY)
    desk.client.script_flush()
    desk.run(MARK)
    assert len(desk.suggestions()) == 2


def test_an_inbox_entry_that_is_not_ours_is_dead_lettered_and_freezes_the_book(desk: Desk) -> None:
    desk.run(BUY)
    desk.client.xadd(keys.inbox("BTCUSDT"), {"e": "[]"})
    desk.client.sadd(keys.WAITING, "BTCUSDT")
    desk.process()
    assert desk.position().frozen == "unreadable_inbox_entry"
    assert desk.deadletters()[0]["head"] == "[]"


def test_two_watchers_and_two_workers_apply_each_fill_once_and_in_order(redis: Client, server_url: str) -> None:
    desk = Desk(redis, HARVEST_MAX_ACTIONS_PER_MIN="10000")
    books = [f"C{i}USDT" for i in range(7)]
    entries = [
        {**BUY, "symbol": books[i % 7], "side": "SELL" if i % 3 == 2 else "BUY", "price": str(100 + i % 11)}
        for i in range(3000)
    ]
    InputStream(redis, desk.settings).ensure_group()
    desk.feed(*entries)
    stop_at = monotonic() + 60

    def done() -> bool:
        return desk.counts().get("applied", 0) == len(entries) or monotonic() > stop_at

    def watching() -> None:
        client = connect(server_url)
        while not done():
            watch(client, desk.settings, 0.02, lambda books: None)

    def processing() -> None:
        client = connect(server_url)
        while not done():
            Brain(client, desk.settings).process(books, monotonic() + 1)

    threads = [Thread(target=work) for work in (watching, watching, processing, processing)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = [desk.position(book) for book in books], sorted(i["intent_id"] for i in desk.suggestions())
    assert len(set(seen[1])) == len(seen[1])
    assert_all_accounted_for(desk)

    redis.flushall()
    alone = Desk(redis, HARVEST_MAX_ACTIONS_PER_MIN="10000")
    alone.run(*entries)
    expected = [alone.position(book) for book in books]
    for concurrent, single in zip(seen[0], expected, strict=True):
        assert (concurrent.holding.qty, concurrent.epoch) == (single.holding.qty, single.epoch)
        assert (concurrent.holding.avg_entry, concurrent.banked_pnl) == (single.holding.avg_entry, single.banked_pnl)
    assert seen[1] == sorted(i["intent_id"] for i in alone.suggestions())
