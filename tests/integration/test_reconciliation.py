"""Tracked positions beside the exchange's record on a real server: what freezes a book, and what never does."""

import logging
from decimal import Decimal

import pytest
from desk import Desk, assert_all_accounted_for
from entries import BUY

from harvest_tasks.fills import inbox
from harvest_tasks.reconciling.mismatch import SECOND_LOOK_MS, confirm_mismatches, reconcile_books
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.tasks import reconcile_positions
from kernel.positions.entry import Freeze, Release

LONG = BUY | {"position_side": "LONG"}
SHORT = BUY | {"position_side": "SHORT", "side": "SELL", "stop_loss": "110"}


def on_record(desk: Desk, qty: str, key: str = "BTCUSDT", side: str = "LONG", **fields: str) -> None:
    """What the other service writes."""
    desk.client.delete(keys.position_state(key))
    desk.client.hset(keys.position_state(key), mapping={"side": side, "qty": qty, "entry_price": "100", **fields})


def look(desk: Desk) -> dict[str, int]:
    """The comparison that comes each minute."""
    return dict(reconcile_books(desk.client, desk.settings).counts)


def look_again(desk: Desk) -> list[str]:
    """The second look, once it is time for it."""
    for book, note in desk.client.hgetall(keys.MISMATCHES).items():
        since_ms, _, rest = note.partition(" ")
        desk.client.hset(keys.MISMATCHES, book, f"{int(since_ms) - SECOND_LOOK_MS} {rest}")
    frozen = confirm_mismatches(desk.client, desk.settings)
    desk.process()
    return frozen


def frozen(desk: Desk, book: str = "BTCUSDT") -> str:
    return desk.position(book).frozen


def tracked(desk: Desk) -> inbox.TrackedBook:
    (found,) = inbox.read_tracked_books(desk.client, ["BTCUSDT"])
    assert isinstance(found, inbox.TrackedBook)
    return found


def mismatched(desk: Desk) -> set[str]:
    return set(desk.client.hgetall(keys.MISMATCHES))


# what differs, and freezes


def test_a_difference_freezes_at_the_second_look_and_not_before(desk: Desk) -> None:
    desk.run(BUY)
    on_record(desk, "3")
    assert look(desk) == {"compared": 1, "agreed": 0, "differ": 1, "unknown": 0, "unreadable": 0, "frozen": 0}
    assert confirm_mismatches(desk.client, desk.settings) == []
    assert frozen(desk) == ""
    assert look_again(desk) == ["BTCUSDT"]
    assert frozen(desk) == "reconciliation: tracked 1, exchange 3"
    assert mismatched(desk) == set()
    assert_all_accounted_for(desk)


def test_the_next_minutes_look_is_a_second_one_too(desk: Desk) -> None:
    desk.run(BUY)
    on_record(desk, "3")
    look(desk)
    desk.client.hset(keys.MISMATCHES, "BTCUSDT", f"{desk.server_ms() - SECOND_LOOK_MS} 0-0 -2")
    assert look(desk)["frozen"] == 1


def test_a_position_that_agrees_is_left_alone(desk: Desk) -> None:
    desk.run(BUY)
    on_record(desk, "1.0005")
    assert look(desk)["agreed"] == 1
    assert look_again(desk) == []
    assert frozen(desk) == ""


def test_the_tolerance_is_a_setting(redis: Client) -> None:
    desk = Desk(redis, RECONCILE_TOLERANCE="0.5")
    desk.run(BUY)
    on_record(desk, "1.9")
    assert look(desk)["agreed"] == 1


def test_a_lost_fill_is_found_and_the_book_publishes_nothing_more(desk: Desk) -> None:
    desk.run(BUY)
    on_record(desk, "0.4")
    look(desk)
    look_again(desk)
    desk.run({"symbol": "BTCUSDT", "status": "PRICE_UPDATE", "price": "110"})
    assert desk.suggestions() == []
    assert [record["reason"] for record in desk.journal("frozen")] == ["reconciliation: tracked 1, exchange 0.4"]


def test_the_other_side_differs(desk: Desk) -> None:
    desk.run(BUY)
    on_record(desk, "1", side="SHORT")
    look(desk)
    assert look_again(desk) == ["BTCUSDT"]
    assert frozen(desk) == "reconciliation: tracked 1, exchange -1"


def test_a_position_that_no_fill_shows_is_tracked_and_frozen(desk: Desk) -> None:
    on_record(desk, "2", "ETHUSDT")
    assert look(desk)["differ"] == 1
    assert desk.client.smembers(keys.BOOKS) == set()
    assert look_again(desk) == ["ETHUSDT"]
    assert desk.client.smembers(keys.BOOKS) == {"ETHUSDT"}
    assert frozen(desk, "ETHUSDT") == "reconciliation: tracked 0, exchange 2"
    assert_all_accounted_for(desk)


def test_a_freeze_does_not_replace_an_earlier_reason(desk: Desk) -> None:
    desk.run(BUY, BUY | {"price": "0"})
    reason = frozen(desk)
    assert "not_positive" in reason
    on_record(desk, "3")
    assert look(desk)["differ"] == 1
    assert look_again(desk) == []
    assert frozen(desk) == reason


def test_a_frozen_book_is_frozen_once(desk: Desk) -> None:
    desk.run(BUY)
    on_record(desk, "3")
    for _ in range(3):
        look(desk)
        look_again(desk)
    assert len(desk.journal("frozen")) == 1


# what lags, and does not


def test_a_record_that_lags_behind_never_freezes(desk: Desk) -> None:
    on_record(desk, "0")
    for traded in range(1, 6):
        desk.run(BUY)
        assert look(desk)["differ"] == 1
        on_record(desk, str(traded))
        assert look_again(desk) == []
    assert frozen(desk) == ""
    assert mismatched(desk) == set()


def test_another_difference_is_seen_for_the_first_time(desk: Desk) -> None:
    desk.run(BUY)
    on_record(desk, "3")
    look(desk)
    on_record(desk, "4")
    assert look_again(desk) == []
    assert mismatched(desk) == {"BTCUSDT"}
    assert look_again(desk) == ["BTCUSDT"]


def test_a_difference_that_passed_must_be_seen_twice_again(desk: Desk) -> None:
    desk.run(BUY)
    on_record(desk, "3")
    look(desk)
    on_record(desk, "1")
    assert look_again(desk) == []
    on_record(desk, "3")
    look(desk)
    assert confirm_mismatches(desk.client, desk.settings) == []
    assert frozen(desk) == ""


def test_trading_on_does_not_hide_what_is_missing(desk: Desk) -> None:
    desk.run(BUY)
    on_record(desk, "3")
    look(desk)
    desk.run(BUY)
    on_record(desk, "4")
    assert look_again(desk) == ["BTCUSDT"]


def test_input_that_is_not_taken_in_may_explain_a_difference(desk: Desk) -> None:
    desk.run(BUY)
    desk.feed(BUY, BUY)
    on_record(desk, "3")
    assert look(desk)["differ"] == 1
    assert look_again(desk) == []
    assert mismatched(desk) == {"BTCUSDT"}
    desk.route()
    assert look_again(desk) == []
    assert frozen(desk) == ""
    assert look(desk)["agreed"] == 1


def test_a_book_with_entries_in_its_inbox_is_not_compared(desk: Desk) -> None:
    desk.run(BUY)
    on_record(desk, "3")
    desk.feed(BUY)
    desk.route()
    assert look(desk)["compared"] == 0
    assert mismatched(desk) == set()


def test_an_entry_that_comes_between_the_second_look_and_the_freeze_puts_it_off(desk: Desk) -> None:
    desk.run(BUY)
    before = tracked(desk)
    desk.feed(BUY)
    desk.route()
    assert not inbox.deliver_if_unchanged(desk.client, before, [Freeze("", 1, "late")])
    desk.process()
    assert not inbox.deliver_if_unchanged(desk.client, before, [Freeze("", 1, "late")])
    after = tracked(desk)
    assert inbox.deliver_if_unchanged(desk.client, after, [Freeze("", 1, "in time")])
    desk.process()
    assert frozen(desk) == "in time"


def test_a_release_that_was_concluded_before_a_freeze_never_follows_it(desk: Desk) -> None:
    desk.run(BUY)
    before = tracked(desk)
    desk.run(BUY | {"qty": "-1"})
    assert frozen(desk)
    assert not inbox.deliver_if_unchanged(desk.client, before, [Release("", 1)])


def test_a_symbol_that_turns_out_to_have_legs_meanwhile_is_not_tracked_as_one(desk: Desk) -> None:
    on_record(desk, "2")
    look(desk)
    before = tracked(desk)
    desk.run(LONG)
    assert not inbox.deliver_if_unchanged(desk.client, before, [Freeze("", 1, "late")])
    assert desk.client.smembers(keys.BOOKS) == {"BTCUSDT:LONG"}


# what is not known


def test_without_any_record_nothing_is_known_and_nothing_freezes(desk: Desk) -> None:
    desk.run(BUY)
    assert look(desk) == {"compared": 1, "agreed": 0, "differ": 0, "unknown": 1, "unreadable": 0, "frozen": 0}
    assert look_again(desk) == []


def test_a_record_that_vanishes_says_that_the_position_was_closed(desk: Desk) -> None:
    desk.run(BUY)
    on_record(desk, "1")
    look(desk)
    desk.client.delete(keys.position_state("BTCUSDT"))
    assert look(desk)["differ"] == 1
    assert look(desk)["differ"] == 1
    assert look_again(desk) == ["BTCUSDT"]
    assert frozen(desk) == "reconciliation: tracked 1, exchange 0"


def test_a_record_that_was_there_for_an_earlier_position_says_nothing_of_the_next(desk: Desk) -> None:
    desk.run(BUY)
    on_record(desk, "1")
    look(desk)
    desk.run(BUY | {"side": "SELL"})
    desk.client.delete(keys.position_state("BTCUSDT"))
    assert look(desk)["agreed"] == 1
    assert desk.client.hgetall(keys.COMPARED) == {}
    desk.run(BUY)
    assert look(desk)["unknown"] == 1


def test_what_was_found_is_kept_only_where_something_is_open(desk: Desk) -> None:
    desk.run(BUY, BUY | {"symbol": "ETHUSDT"}, BUY | {"symbol": "ETHUSDT", "side": "SELL"}, BUY | {"symbol": "XRPUSDT"})
    on_record(desk, "1")
    on_record(desk, "0", "ETHUSDT")
    look(desk)
    assert set(desk.client.hgetall(keys.COMPARED)) == {"BTCUSDT"}
    assert desk.client.hget(keys.COMPARED, "BTCUSDT").endswith(" agreed tracked=1 exchange=1")


@pytest.mark.parametrize(
    "fields",
    [
        {"qty": "lots"},
        {"side": "UP"},
        {"entry_price": ""},
        {"ts": "1500000000"},
        {"updated_at": "2020-01-01T00:00:00Z"},
    ],
)
def test_a_record_that_cannot_be_used_is_counted_and_freezes_nothing(desk: Desk, fields: dict[str, str]) -> None:
    desk.run(BUY)
    on_record(desk, **{"qty": "3", **fields})
    assert look(desk)["unreadable"] == 1
    assert look_again(desk) == []


def test_an_unreadable_record_does_not_make_an_open_one_forgotten(desk: Desk) -> None:
    desk.run(BUY)
    on_record(desk, "1")
    look(desk)
    on_record(desk, "?")
    look(desk)
    desk.client.delete(keys.position_state("BTCUSDT"))
    assert look(desk)["differ"] == 1


def test_keys_of_another_type_and_of_no_symbol_stop_nothing(desk: Desk) -> None:
    desk.run(BUY, BUY | {"symbol": "ETHUSDT"})
    on_record(desk, "1", "ETHUSDT")
    desk.client.set(keys.position_state("BTCUSDT"), "1")
    for name in ("btc", "BTCUSDT:BOTH", "BTCUSDT:LONG:1", ""):
        on_record(desk, "1", name)
    desk.client.hset(b"quantum:state:positions:BTC\xffUSDT", "qty", "1")
    assert look(desk) == {"compared": 2, "agreed": 1, "differ": 0, "unknown": 0, "unreadable": 1, "frozen": 0}


def test_a_position_that_cannot_be_read_is_counted_and_the_others_are_compared(desk: Desk) -> None:
    desk.run(BUY, BUY | {"symbol": "ETHUSDT"}, BUY | {"symbol": "SOLUSDT"})
    for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT"):
        on_record(desk, "1", symbol)
    desk.client.hset(keys.position("BTCUSDT"), "qty", "much")
    desk.client.delete(keys.position("ETHUSDT"))
    desk.client.set(keys.position("ETHUSDT"), "1")
    assert look(desk) == {"compared": 3, "agreed": 1, "differ": 0, "unknown": 0, "unreadable": 2, "frozen": 0}


def test_notes_that_make_no_sense_are_no_notes(desk: Desk) -> None:
    desk.run(BUY)
    on_record(desk, "3")
    desk.client.hset(keys.MISMATCHES, mapping={"BTCUSDT": "since ever", "what?": "1 2 3"})
    assert confirm_mismatches(desk.client, desk.settings) == []
    assert mismatched(desk) == {"BTCUSDT"}
    assert look_again(desk) == ["BTCUSDT"]


def test_looking_again_costs_one_command_while_there_is_no_mismatch(desk: Desk) -> None:
    desk.run(BUY)
    on_record(desk, "1")
    look(desk)
    before = desk.client.info("stats")["total_commands_processed"]
    confirm_mismatches(desk.client, desk.settings)
    # One more is the first question itself.
    assert desk.client.info("stats")["total_commands_processed"] - before == 2


# legs


def test_each_leg_has_a_record_of_its_own(desk: Desk) -> None:
    desk.run(LONG, SHORT)
    on_record(desk, "1", "BTCUSDT:LONG")
    on_record(desk, "-2", "BTCUSDT:SHORT", side="SHORT")
    assert look(desk)["agreed"] == 1
    assert look_again(desk) == ["BTCUSDT:SHORT"]
    assert (frozen(desk, "BTCUSDT:LONG"), frozen(desk, "BTCUSDT:SHORT")) == (
        "",
        "reconciliation: tracked -1, exchange -2",
    )


@pytest.mark.parametrize("fields", [{"side": "SHORT"}, {"side": "SELL", "position_side": "SHORT"}])
def test_a_leg_may_be_recorded_under_its_symbol(desk: Desk, fields: dict[str, str]) -> None:
    desk.run(SHORT)
    on_record(desk, "1", **fields)
    assert look(desk)["agreed"] == 1
    on_record(desk, "3", **fields)
    look(desk)
    assert look_again(desk) == ["BTCUSDT:SHORT"]


def test_a_legs_own_key_goes_before_its_symbols(desk: Desk) -> None:
    desk.run(LONG)
    on_record(desk, "5")
    on_record(desk, "1", "BTCUSDT:LONG")
    assert look(desk)["agreed"] == 1


def test_a_record_of_one_leg_says_nothing_of_the_other(desk: Desk) -> None:
    desk.run(LONG, SHORT)
    on_record(desk, "1", side="SHORT")
    assert look(desk)["unknown"] == 1
    on_record(desk, "1", side="LONG")
    assert look(desk) == {"compared": 2, "agreed": 1, "differ": 0, "unknown": 1, "unreadable": 0, "frozen": 0}
    assert look_again(desk) == []
    desk.client.delete(keys.position_state("BTCUSDT"))
    assert look(desk) == {"compared": 2, "agreed": 0, "differ": 1, "unknown": 1, "unreadable": 0, "frozen": 0}
    assert look_again(desk) == ["BTCUSDT:LONG"]


def test_a_flat_record_without_a_leg_is_of_both(desk: Desk) -> None:
    desk.run(LONG, SHORT)
    on_record(desk, "0", side="")
    assert look(desk)["differ"] == 2


def test_a_position_in_the_other_mode_freezes_what_is_tracked_and_is_not_tracked_itself(desk: Desk) -> None:
    desk.run(BUY)
    on_record(desk, "1", position_side="LONG")
    assert look(desk) == {"compared": 2, "agreed": 0, "differ": 1, "unknown": 1, "unreadable": 0, "frozen": 0}
    assert look_again(desk) == ["BTCUSDT"]
    assert frozen(desk) == "reconciliation: tracked 0, exchange 1 as BTCUSDT:LONG"
    assert desk.client.smembers(keys.BOOKS) == {"BTCUSDT"}
    look(desk)
    assert mismatched(desk) == set()


def test_a_one_way_symbols_record_stays_its_own_beside_that_of_a_leg(desk: Desk) -> None:
    desk.run(BUY)
    on_record(desk, "1")
    on_record(desk, "1", "BTCUSDT:LONG")
    assert look(desk) == {"compared": 2, "agreed": 1, "differ": 1, "unknown": 0, "unreadable": 0, "frozen": 0}


def test_a_leg_on_record_says_that_an_untracked_symbol_has_legs(desk: Desk) -> None:
    on_record(desk, "1", side="SHORT")
    on_record(desk, "2", "BTCUSDT:LONG")
    look(desk)
    assert mismatched(desk) == {"BTCUSDT:LONG", "BTCUSDT:SHORT"}


# the task


def test_the_task_logs_one_line_and_wakes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    notified: list[str] = []
    monkeypatch.setattr("harvest_tasks.tasks.shared_client", lambda _url: desk.client)
    monkeypatch.setattr("harvest_tasks.tasks.current_settings", lambda: desk.settings)
    monkeypatch.setattr("harvest_tasks.tasks.wake", notified.extend)
    desk.run(BUY)
    on_record(desk, "3")
    desk.client.hset(keys.MISMATCHES, "BTCUSDT", f"{desk.server_ms() - SECOND_LOOK_MS} 0-0 -2")
    with caplog.at_level(logging.DEBUG, "harvest_tasks"):
        reconcile_positions()
    assert caplog.messages == [
        "froze book=BTCUSDT reconciliation: tracked 1, exchange 3: see harvest reconcile",
        "reconciled compared=1 agreed=0 differ=1 unknown=0 unreadable=0 frozen=1",
    ]
    assert notified == ["BTCUSDT"]


def test_positions_are_compared_exactly(desk: Desk) -> None:
    desk.run(BUY | {"qty": "0.300000000001"})
    on_record(desk, "0.3")
    assert look(desk)["agreed"] == 1
    exact = Desk(desk.client, RECONCILE_TOLERANCE="0")
    assert look(exact)["differ"] == 1
    assert desk.client.hget(keys.MISMATCHES, "BTCUSDT").rpartition(" ")[2] == "0.000000000001"
    assert desk.position().holding.qty == Decimal("0.300000000001")
