"""The first start beside positions that were opened long ago, on a real server."""

import logging
from decimal import Decimal
from typing import Any

import pytest
from desk import LIVE, Desk, assert_all_accounted_for
from entries import BUY, price

from harvest_tasks.fills import inbox
from harvest_tasks.reconciling import adoption
from harvest_tasks.reconciling.mismatch import SECOND_LOOK_MS, confirm_mismatches, reconcile_books
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.wire.inbox_entry import ADOPTING
from kernel.positions.holding import Origin

SELL = BUY | {"side": "SELL", "stop_loss": "110"}


@pytest.fixture
def desk(redis: Client) -> Desk:
    return Desk(redis, **LIVE)


def on_record(desk: Desk, qty: str, key: str = "BTCUSDT", side: str = "LONG", **fields: str) -> None:
    desk.client.delete(keys.position_state(key))
    desk.client.hset(keys.position_state(key), mapping={"side": side, "qty": qty, "entry_price": "100", **fields})


def begin(desk: Desk) -> None:
    """What the watcher does before it creates its group."""
    adoption.begin_adoption(desk.client, desk.settings)


def advance(desk: Desk) -> list[str]:
    """What the sweep does each second."""
    notified = list(adoption.advance_adoption(desk.client, desk.settings))
    desk.process()
    return notified


def let_pass(desk: Desk, ms: int = SECOND_LOOK_MS) -> None:
    """As if what was seen so far had been seen that much earlier."""
    for book, note in desk.client.hgetall(keys.ADOPTION).items():
        since_ms, separator, rest = note.partition(" ")
        if separator:
            desk.client.hset(keys.ADOPTION, book, f"{int(since_ms) - ms} {rest}")


def adopt(desk: Desk) -> None:
    """Until it is over."""
    for _ in range(10):
        if not is_adopting(desk):
            return
        advance(desk)
        let_pass(desk)
    pytest.fail(f"adoption does not end: {desk.client.hgetall(keys.ADOPTION)}")


def start(desk: Desk) -> None:
    """The first start: read all there is."""
    begin(desk)
    desk.route()
    desk.process()


def is_adopting(desk: Desk) -> bool:
    return bool(desk.client.exists(keys.ADOPTION))


def qty(desk: Desk, book: str = "BTCUSDT") -> Decimal:
    return desk.position(book).holding.qty


def frozen(desk: Desk, book: str = "BTCUSDT") -> str:
    return desk.position(book).frozen


# the ways a first start can find things


def test_without_a_record_nothing_is_adopted(desk: Desk) -> None:
    desk.feed(BUY)
    on_record(desk, "0", "ETHUSDT")
    start(desk)
    assert not is_adopting(desk)
    assert advance(desk) == []
    assert frozen(desk) == ""


def test_a_position_that_no_fill_shows_is_adopted_as_the_exchange_has_it(desk: Desk) -> None:
    on_record(desk, "2", entry_price="95", current_sl="85", age_sec="3600")
    start(desk)
    assert advance(desk) == ["BTCUSDT"]
    assert frozen(desk) == ADOPTING
    adopt(desk)
    position = desk.position()
    assert (position.epoch, position.holding.qty, position.holding.avg_entry) == (1, 2, 95)
    assert (position.holding.risk_per_unit, position.ladder_state.stop) == (10, 85)
    assert position.holding.origin is Origin.ADOPTED
    assert abs(desk.server_ms() - 3_600_000 - position.holding.opened_ms) < 60_000
    assert position.frozen == ""
    assert_all_accounted_for(desk)


def test_an_adopted_position_is_harvested_and_closed_by_its_exit(desk: Desk) -> None:
    on_record(desk, "2", entry_price="100", current_sl="90")
    start(desk)
    adopt(desk)
    desk.run(price("105"))
    (intent,) = desk.live_intents()
    assert (intent["side"], intent["qty"]) == ("SELL", 0.5)
    desk.run(SELL | {"qty": "0.5", "price": "105", "intent_id": intent["intent_id"]})
    desk.run(SELL | {"qty": "1.5", "price": "106"})
    position = desk.position()
    assert (position.holding.qty, position.epoch) == (0, 1)
    assert position.holding.realized_pnl == Decimal("11.5")
    assert len(desk.live_intents()) == 1
    assert_all_accounted_for(desk)


def test_a_stream_that_explains_the_position_in_full_is_believed_without_waiting(desk: Desk) -> None:
    desk.feed(BUY, BUY, SELL)
    on_record(desk, "1")
    start(desk)
    assert frozen(desk) == ADOPTING
    advance(desk)
    advance(desk)
    assert frozen(desk) == ""
    assert qty(desk) == 1
    assert desk.position().holding.origin is Origin.FILLS
    advance(desk)
    assert not is_adopting(desk)


def test_a_short_that_only_its_opening_left_behind_is_adopted_as_a_short(desk: Desk) -> None:
    on_record(desk, "-3", side="SELL", current_sl="110")
    start(desk)
    adopt(desk)
    assert qty(desk) == -3
    desk.run(price("95"))
    assert [i["side"] for i in desk.live_intents()] == ["BUY"]


def test_the_exit_of_a_position_opened_long_ago_never_becomes_a_published_short(desk: Desk) -> None:
    """The buy was trimmed; the sell is all that is left, and looks like a short in profit."""
    on_record(desk, "0")
    on_record(desk, "1", "ETHUSDT")
    desk.feed(BUY)
    desk.feed(SELL, price("80"), price("70"))
    desk.client.xtrim(desk.source, maxlen=3, approximate=False)
    start(desk)
    assert (qty(desk), frozen(desk)) == (-1, ADOPTING)
    adopt(desk)
    assert (qty(desk), frozen(desk)) == (0, "")
    desk.run(price("60"))
    assert desk.live_intents() == []
    assert desk.suggestions() == []
    assert {record["decision"] for record in desk.journal()} == {"frozen", "held", "adopted", "released"}
    assert_all_accounted_for(desk)


def test_an_exit_whose_record_is_gone_is_one_of_no_position(desk: Desk) -> None:
    on_record(desk, "1", "ETHUSDT")
    desk.feed(SELL, price("80"))
    start(desk)
    adopt(desk)
    assert (qty(desk), qty(desk, "ETHUSDT")) == (0, 1)


def test_a_partial_exit_of_a_trimmed_position_leaves_what_the_exchange_holds(desk: Desk) -> None:
    on_record(desk, "3", current_sl="90")
    desk.feed(SELL | {"qty": "1"})
    start(desk)
    assert qty(desk) == -1
    adopt(desk)
    position = desk.position()
    assert (position.holding.qty, position.epoch) == (3, 2)
    desk.run(price("105"))
    assert [(i["side"], i["qty"]) for i in desk.live_intents()] == [("SELL", 0.75)]


# what happens meanwhile


def test_nothing_is_compared_before_all_input_of_the_time_before_was_taken_in(desk: Desk) -> None:
    desk.feed(BUY, BUY)
    on_record(desk, "2")
    begin(desk)
    assert advance(desk) == []
    assert desk.client.smembers(keys.BOOKS) == set()
    desk.route()
    assert advance(desk) == []
    assert advance(desk) == ["BTCUSDT"]
    assert desk.position().holding.origin is Origin.FILLS


def test_pending_entries_of_the_time_before_are_waited_for(desk: Desk) -> None:
    desk.feed(BUY)
    on_record(desk, "2")
    begin(desk)
    desk.client.xgroup_create(desk.source, keys.GROUP, id="0")
    desk.client.xreadgroup(keys.GROUP, "a watcher that died", {desk.source: ">"})
    assert advance(desk) == []
    assert desk.client.smembers(keys.BOOKS) == set()
    desk.route()
    desk.process()
    adopt(desk)
    assert qty(desk) == 2


def test_a_fill_between_comparison_and_adoption_is_not_overwritten(desk: Desk) -> None:
    desk.feed(BUY)
    on_record(desk, "3")
    start(desk)
    advance(desk)
    advance(desk)
    let_pass(desk)
    assert adoption.advance_adoption(desk.client, desk.settings) == ["BTCUSDT"]
    # Behind the adoption in the inbox, and not on record yet: it counts on top.
    desk.feed(BUY)
    desk.route()
    desk.process()
    assert qty(desk) == 4
    assert frozen(desk) == ADOPTING
    on_record(desk, "4")
    adopt(desk)
    assert (qty(desk), frozen(desk)) == (4, "")


def test_what_was_concluded_before_a_fill_is_not_delivered_behind_it(desk: Desk) -> None:
    desk.feed(BUY)
    on_record(desk, "3")
    start(desk)
    (before,) = inbox.read_tracked_books(desk.client, ["BTCUSDT"])
    assert isinstance(before, inbox.TrackedBook)
    desk.feed(BUY)
    desk.route()
    assert not inbox.deliver_if_unchanged(desk.client, before, [])
    assert not desk.journal("adoption_refused")


def test_a_record_that_lags_behind_is_not_adopted(desk: Desk) -> None:
    desk.feed(BUY)
    on_record(desk, "2", "ETHUSDT")
    on_record(desk, "0")
    start(desk)
    advance(desk)
    advance(desk)
    on_record(desk, "1")
    let_pass(desk)
    adopt(desk)
    assert desk.position().holding.origin is Origin.FILLS
    assert (qty(desk), frozen(desk)) == (1, "")


def test_a_position_opened_meanwhile_is_frozen_until_it_is_on_record(desk: Desk) -> None:
    on_record(desk, "2", "ETHUSDT")
    start(desk)
    desk.run(BUY, price("110"))
    assert frozen(desk) == ADOPTING
    assert desk.live_intents() == []
    on_record(desk, "1")
    adopt(desk)
    assert frozen(desk) == ""
    desk.run(price("111"))
    assert [i["symbol"] for i in desk.live_intents()] == ["BTCUSDT"]


def test_a_refused_fill_meanwhile_is_made_up_for_by_the_record(desk: Desk) -> None:
    on_record(desk, "2")
    desk.feed(BUY, BUY | {"qty": "one"})
    start(desk)
    assert qty(desk) == 1
    adopt(desk)
    assert (qty(desk), frozen(desk)) == (2, "")


def test_a_book_that_is_frozen_for_another_reason_is_left_to_an_operator(desk: Desk) -> None:
    on_record(desk, "2")
    desk.run(BUY | {"qty": "one"})
    reason = frozen(desk)
    begin(desk)
    adopt(desk)
    assert (qty(desk), frozen(desk)) == (0, reason)


def test_reconciliation_freezes_nothing_while_positions_are_adopted(desk: Desk) -> None:
    on_record(desk, "2")
    begin(desk)
    reconcile_books(desk.client, desk.settings)
    assert not desk.client.exists(keys.MISMATCHES)
    desk.client.hset(keys.MISMATCHES, "BTCUSDT", "0 0-0 -2")
    assert confirm_mismatches(desk.client, desk.settings) == []
    assert desk.client.smembers(keys.BOOKS) == set()


def test_adoption_does_not_end_before_a_new_book_knows_that_it_is_frozen(desk: Desk) -> None:
    on_record(desk, "1", "ETHUSDT")
    desk.feed(BUY | {"symbol": "ETHUSDT"})
    start(desk)
    advance(desk)
    advance(desk)
    desk.feed(BUY)
    desk.route()
    adoption.advance_adoption(desk.client, desk.settings)
    assert is_adopting(desk)
    desk.process()
    desk.feed(BUY)
    desk.route()
    adoption.advance_adoption(desk.client, desk.settings)
    assert is_adopting(desk)


# records that cannot be used


def test_a_record_that_cannot_be_read_leaves_its_book_frozen_and_is_named_once(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    on_record(desk, "2", "ETHUSDT")
    desk.feed(BUY)
    on_record(desk, "much")
    start(desk)
    with caplog.at_level(logging.WARNING, "harvest_tasks"):
        for _ in range(8):
            advance(desk)
            let_pass(desk)
        assert is_adopting(desk)
        assert caplog.messages == []
        let_pass(desk, adoption.UNREADABLE_PATIENCE_MS)
        adopt(desk)
    assert (qty(desk, "ETHUSDT"), frozen(desk, "ETHUSDT")) == (2, "")
    assert (qty(desk), frozen(desk)) == (1, ADOPTING)
    assert caplog.messages == [
        "not adopted, stays frozen book=BTCUSDT: qty 'much' is not a plain positive number; see harvest reconcile"
    ]


def test_a_record_that_becomes_readable_in_time_is_adopted(desk: Desk) -> None:
    on_record(desk, "2", "ETHUSDT")
    desk.feed(BUY)
    on_record(desk, "2", ts="1500000000")
    start(desk)
    for _ in range(4):
        advance(desk)
        let_pass(desk)
    on_record(desk, "2")
    adopt(desk)
    assert (qty(desk), frozen(desk)) == (2, "")


def test_a_closed_positions_old_record_still_says_closed(desk: Desk) -> None:
    on_record(desk, "2", "ETHUSDT")
    on_record(desk, "0", ts="1500000000")
    desk.feed(SELL)
    start(desk)
    adopt(desk)
    assert (qty(desk), frozen(desk)) == (0, "")


# modes


def test_legs_are_adopted_each_from_its_own_record(desk: Desk) -> None:
    on_record(desk, "2", "BTCUSDT:LONG")
    on_record(desk, "1", "BTCUSDT:SHORT", side="SHORT")
    start(desk)
    adopt(desk)
    assert (qty(desk, "BTCUSDT:LONG"), qty(desk, "BTCUSDT:SHORT")) == (2, -1)


def test_fills_say_that_a_symbol_has_legs_where_its_record_does_not(desk: Desk) -> None:
    on_record(desk, "2")
    desk.feed(BUY | {"position_side": "LONG"})
    start(desk)
    adopt(desk)
    assert desk.client.smembers(keys.BOOKS) == {"BTCUSDT:LONG"}
    assert (qty(desk, "BTCUSDT:LONG"), frozen(desk, "BTCUSDT:LONG")) == (2, "")
    assert desk.deadletters() == []


def test_a_record_in_the_other_mode_is_not_adopted(desk: Desk) -> None:
    on_record(desk, "2", position_side="LONG")
    desk.feed(BUY)
    start(desk)
    adopt(desk)
    assert desk.client.smembers(keys.BOOKS) == {"BTCUSDT"}


# interrupted, repeated, at once


def test_beginning_twice_is_beginning_once(desk: Desk) -> None:
    on_record(desk, "2")
    begin(desk)
    since_ms = desk.client.hget(keys.ADOPTION, "since_ms")
    desk.feed(BUY)
    begin(desk)
    state = desk.client.hgetall(keys.ADOPTION)
    assert state == {"since_ms": since_ms, "until": desk.client.xinfo_stream(desk.source)["last-generated-id"]}


class Killed(Exception):
    """The process ended here."""


class Doomed:
    """A client whose process is killed at the n-th transaction: before it, or as soon as it was executed."""

    def __init__(self, client: Client, monkeypatch: pytest.MonkeyPatch, at: int, *, is_done: bool) -> None:
        self.left = at
        self.is_done = is_done
        kind = type(client.pipeline())
        execute = kind.execute

        def dying(pipe: Any, *args: Any, **kwargs: Any) -> Any:
            self.left -= bool(pipe.explicit_transaction or pipe.transaction)
            if self.left > 0:
                return execute(pipe, *args, **kwargs)
            if self.is_done:
                execute(pipe, *args, **kwargs)
            raise Killed

        monkeypatch.setattr(kind, "execute", dying)


@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize("at", range(1, 6))
def test_killed_at_any_step_the_next_one_goes_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, at: int, is_done: bool
) -> None:
    on_record(desk, "3", current_sl="90")
    on_record(desk, "1", "ETHUSDT")
    desk.feed(SELL, price("105"))
    start(desk)
    killed = 0
    for _ in range(12):
        with monkeypatch.context() as patch:
            Doomed(desk.client, patch, at, is_done=is_done)
            try:
                adoption.advance_adoption(desk.client, desk.settings)
            except Killed:
                killed += 1
        desk.process()
        let_pass(desk)
    assert killed
    adopt(desk)
    assert (qty(desk), frozen(desk)) == (3, "")
    assert (qty(desk, "ETHUSDT"), frozen(desk, "ETHUSDT")) == (1, "")
    assert len(desk.journal("adopted")) == 2
    assert_all_accounted_for(desk)


def test_two_sweeps_at_once_adopt_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    on_record(desk, "3")
    desk.feed(BUY)
    start(desk)
    advance(desk)
    advance(desk)
    let_pass(desk)
    deliver = inbox.deliver_if_unchanged

    def after_the_other(client: Client, book: Any, entries: Any) -> Any:
        monkeypatch.setattr(inbox, "deliver_if_unchanged", deliver)
        assert adoption.advance_adoption(client, desk.settings) == ["BTCUSDT"]
        return deliver(client, book, entries)

    monkeypatch.setattr(inbox, "deliver_if_unchanged", after_the_other)
    assert adoption.advance_adoption(desk.client, desk.settings) == []
    desk.process()
    assert qty(desk) == 3
    assert len(desk.journal("adopted")) == 1
    assert desk.journal("adoption_refused") == []
    adopt(desk)


def test_a_book_that_appears_while_adoption_ends_is_not_forgotten(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    on_record(desk, "1", "ETHUSDT")
    desk.feed(BUY | {"symbol": "ETHUSDT"})
    start(desk)
    advance(desk)
    advance(desk)
    verdict = adoption._verdict

    def meanwhile(*args: Any) -> Any:
        monkeypatch.setattr(adoption, "_verdict", verdict)
        desk.feed(BUY)
        desk.route()
        return verdict(*args)

    monkeypatch.setattr(adoption, "_verdict", meanwhile)
    advance(desk)
    assert is_adopting(desk)
    assert frozen(desk) == ADOPTING
    on_record(desk, "1")
    adopt(desk)
    assert frozen(desk) == ""


def test_adoption_ends_and_costs_one_command_a_second_after_that(desk: Desk) -> None:
    on_record(desk, "2")
    start(desk)
    adopt(desk)
    before = desk.client.info("stats")["total_commands_processed"]
    adoption.advance_adoption(desk.client, desk.settings)
    # One more is the first question itself.
    assert desk.client.info("stats")["total_commands_processed"] - before == 2


def test_books_that_appear_after_adoption_begin_unfrozen(desk: Desk) -> None:
    on_record(desk, "2", "ETHUSDT")
    start(desk)
    adopt(desk)
    desk.run(BUY)
    assert frozen(desk) == ""


def test_input_that_is_lost_meanwhile_keeps_new_books_frozen(desk: Desk) -> None:
    on_record(desk, "2")
    start(desk)
    advance(desk)
    inbox.freeze_all(desk.client, 3, "3 entries were trimmed", desk.server_ms())
    desk.run(BUY | {"symbol": "ETHUSDT"})
    on_record(desk, "1", "ETHUSDT")
    adopt(desk)
    assert "lost_input" in frozen(desk, "ETHUSDT")
    assert qty(desk) == 2
