"""`harvest reconcile` on a real server: what it shows, what it adopts, and what it refuses."""

import json
from typing import Any

import pytest
from click.testing import Result
from command_line import Harvest, in_process
from desk import Desk, assert_all_accounted_for
from entries import BUY

from harvest_tasks.fills import inbox
from harvest_tasks.reconciling import settlement
from harvest_tasks.reconciling.mismatch import reconcile_books
from harvest_tasks.server import keys
from kernel.positions.entry import Freeze


@pytest.fixture
def notified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The books that the command wakes."""
    books: list[str] = []
    monkeypatch.setattr("harvest_tasks.messaging.wakeups.wake", books.extend)
    return books


@pytest.fixture
def harvest(environ: dict[str, str], notified: list[str]) -> Harvest:
    """Runs the command in this process."""
    return in_process(environ, "reconcile")


def on_record(desk: Desk, qty: str, key: str = "BTCUSDT", side: str = "LONG", **fields: str) -> None:
    desk.client.delete(keys.position_state(key))
    desk.client.hset(keys.position_state(key), mapping={"side": side, "qty": qty, "entry_price": "101", **fields})


def columns(result: Result, book: str) -> list[str]:
    """The cells of a book's line that are not empty."""
    return next(line.split() for line in result.output.splitlines() if line.startswith(book))


def test_without_a_record_it_says_so(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY)
    for arguments in ([], ["--adopt"], ["--json"], ["BTCUSDT"]):
        result = harvest(*arguments)
        assert result.exit_code == 1
        assert result.output == (
            "harvest: the exchange's positions are not known: no service writes quantum:state:positions:<SYMBOL>\n"
        )


def test_what_agrees_is_shown_and_ends_well(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY)
    on_record(desk, "1")
    result = harvest()
    assert result.exit_code == 0
    assert columns(result, "BTCUSDT") == ["BTCUSDT", "1", "1", "100", "101", "agrees"]
    assert "--adopt" not in result.output


def test_what_differs_is_shown_with_both_quantities_and_entries(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY)
    on_record(desk, "3", side="SELL")
    result = harvest()
    assert result.exit_code == 1
    assert columns(result, "BTCUSDT") == ["BTCUSDT", "1", "-3", "4", "100", "101", "differs"]
    assert "`harvest reconcile --adopt [BOOK]...` adopts" in result.output


@pytest.mark.parametrize("width", ["80", "120"])
def test_the_table_fits_the_terminal(desk: Desk, harvest: Harvest, width: str) -> None:
    desk.run(*[BUY | {"symbol": symbol, "price": "0.00012345"} for symbol in ("1000SHIBUSDT", "BTCUSDT")])
    desk.run(BUY | {"qty": "-1"})
    on_record(desk, "3")
    result = harvest(COLUMNS=width)
    assert max(len(line) for line in result.output.splitlines() if "`" not in line) <= int(width)


def test_json_has_exact_figures(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY | {"qty": "0.300000000001"})
    on_record(desk, "0.1")
    assert json.loads(harvest("--json").output) == [
        {
            "book": "BTCUSDT",
            "result": "differs",
            "tracked": "0.300000000001",
            "exchange": "0.1",
            "difference": "0.200000000001",
            "entry": "100",
            "exchange_entry": "101",
            "why": "",
            "frozen": "",
            "waiting": 0,
        }
    ]


def test_books_may_be_named_by_themselves_or_by_their_symbol(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY, BUY | {"symbol": "ETHUSDT", "position_side": "LONG"})
    on_record(desk, "1")
    on_record(desk, "2", "ETHUSDT")
    assert harvest("btcusdt").exit_code == 0
    assert [row["book"] for row in json.loads(harvest("ethusdt", "--json").output)] == ["ETHUSDT:LONG"]
    assert harvest("ETHUSDT:LONG").exit_code == 1
    result = harvest("BTCUSDT", "DOGEUSDT")
    assert (result.exit_code, result.output) == (1, "harvest: DOGEUSDT is neither tracked nor open on the exchange\n")


def test_what_is_not_known_or_unreadable_is_explained(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY, BUY | {"symbol": "ETHUSDT"})
    on_record(desk, "some", "ETHUSDT")
    result = harvest()
    assert result.exit_code == 1
    assert "BTCUSDT: the exchange does not report it" in result.output
    assert "ETHUSDT: its exchange snapshot: qty 'some' is not a plain positive number" in result.output


def test_input_that_is_not_taken_in_yet_is_mentioned(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY)
    on_record(desk, "2")
    assert "taken in" not in harvest().output
    desk.feed(BUY)
    assert "Some of the input has not been applied yet" in harvest().output


def test_looking_writes_nothing(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY)
    on_record(desk, "2")
    before = set(desk.client.keys()), desk.counts(), desk.position()
    harvest()
    assert (set(desk.client.keys()), desk.counts(), desk.position()) == before


# --adopt


def test_adopting_takes_over_what_is_on_record_and_releases(desk: Desk, harvest: Harvest, notified: list[str]) -> None:
    desk.run(BUY)
    inbox.deliver(desk.client, {"BTCUSDT": Freeze("", 1, "looks wrong")})
    desk.process()
    on_record(desk, "3", current_sl="95")
    result = harvest("--adopt")
    assert (result.exit_code, result.output) == (0, "BTCUSDT: adopted 3, was 1; released\n")
    assert notified == ["BTCUSDT"]
    desk.process()
    position = desk.position()
    assert (position.holding.qty, position.holding.avg_entry, position.frozen) == (3, 101, "")
    assert [record["decision"] for record in desk.journal()] == ["frozen", "adopted", "released"]
    assert harvest().exit_code == 0
    assert_all_accounted_for(desk)


def test_adopting_a_position_that_is_not_tracked_tracks_it(desk: Desk, harvest: Harvest) -> None:
    on_record(desk, "2", "ETHUSDT")
    assert harvest("--adopt").output == "ETHUSDT: adopted 2, was 0; released\n"
    desk.process()
    assert desk.position("ETHUSDT").holding.qty == 2
    assert desk.client.smembers(keys.BOOKS) == {"ETHUSDT"}


def test_adopting_a_closed_position_closes_it(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY)
    on_record(desk, "1")
    reconcile_books(desk.client, desk.settings)
    on_record(desk, "0", side="FLAT")
    assert harvest("--adopt").output == "BTCUSDT: adopted 0, was 1; released\n"
    desk.process()
    assert desk.position().holding.qty == 0


def test_a_frozen_book_that_agrees_is_released_and_others_get_nothing(
    desk: Desk, harvest: Harvest, notified: list[str]
) -> None:
    desk.run(BUY, BUY | {"symbol": "ETHUSDT"}, BUY | {"symbol": "ETHUSDT", "qty": "x"})
    reason = desk.position("ETHUSDT").frozen
    on_record(desk, "1")
    on_record(desk, "1", "ETHUSDT")
    result = harvest("--adopt")
    assert (result.exit_code, result.output) == (0, f"ETHUSDT: agrees; released, was frozen: {reason}\n")
    assert notified == ["ETHUSDT"]
    desk.process()
    assert harvest("--adopt").output == "Nothing to adopt: all books agree, and none is frozen.\n"


def test_only_the_books_named_are_adopted(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY, BUY | {"symbol": "ETHUSDT"})
    on_record(desk, "2")
    on_record(desk, "2", "ETHUSDT")
    assert harvest("--adopt", "ETHUSDT").output == "ETHUSDT: adopted 2, was 1; released\n"


def test_a_book_with_entries_in_its_inbox_is_refused(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY)
    desk.feed(BUY)
    desk.route()
    on_record(desk, "3")
    result = harvest("--adopt")
    assert (result.exit_code, result.output) == (1, "BTCUSDT: refused: entries wait in its inbox: 1\n")
    desk.process()
    assert harvest("--adopt").exit_code == 0


def test_nothing_is_adopted_while_input_is_unread(
    desk: Desk, harvest: Harvest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unread fill is on record already: adopting it would count it twice."""
    monkeypatch.setattr(settlement, "INPUT_PATIENCE_SEC", 0.2)
    desk.run(BUY)
    desk.feed(BUY)
    on_record(desk, "2")
    result = harvest("--adopt")
    assert result.exit_code == 1
    assert "entries of quantum:stream:execution.result are unread" in result.output
    desk.route()
    desk.process()
    assert harvest("--adopt").output.startswith("Nothing to adopt")


def test_what_is_not_known_is_refused(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY, BUY | {"symbol": "ETHUSDT"}, BUY | {"symbol": "SOLUSDT"})
    on_record(desk, "some", "ETHUSDT")
    on_record(desk, "1", "SOLUSDT", position_side="LONG")
    result = harvest("--adopt")
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "BTCUSDT: refused: the exchange does not report it",
        "ETHUSDT: refused: its exchange snapshot: qty 'some' is not a plain positive number",
        "SOLUSDT: refused: the exchange does not report it",
        "SOLUSDT:LONG: refused: its symbol is tracked in the other position mode",
    ]


def test_a_book_that_cannot_be_read_is_refused(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY)
    on_record(desk, "1")
    desk.client.hset(keys.position("BTCUSDT"), "qty", "much")
    result = harvest("--adopt")
    assert result.exit_code == 1
    assert "BTCUSDT: refused: the tracked position of BTCUSDT cannot be read" in result.output


# the loss of input


def lose(desk: Desk) -> None:
    inbox.freeze_all(desk.client, 3, "3 entries were trimmed", desk.server_ms())
    desk.process()


def test_once_every_book_is_right_the_loss_of_input_is_forgotten(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY, BUY | {"symbol": "ETHUSDT"})
    lose(desk)
    on_record(desk, "1")
    on_record(desk, "5", "ETHUSDT")
    result = harvest("--adopt")
    assert result.exit_code == 0
    assert "the record of lost input is cleared" in result.output
    assert not desk.client.exists(keys.LOST)
    desk.process()
    assert [desk.position(book).frozen for book in ("BTCUSDT", "ETHUSDT")] == ["", ""]


def test_the_loss_is_remembered_while_a_book_may_be_wrong(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY, BUY | {"symbol": "ETHUSDT"})
    lose(desk)
    on_record(desk, "1")
    assert harvest("--adopt").exit_code == 1
    assert desk.client.exists(keys.LOST)
    desk.process()
    on_record(desk, "4", "ETHUSDT")
    assert harvest("--adopt", "BTCUSDT").exit_code == 0
    assert desk.client.exists(keys.LOST)


def test_the_loss_is_remembered_while_entries_wait(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY, BUY | {"symbol": "ETHUSDT"})
    lose(desk)
    inbox.release(desk.client, "BTCUSDT", desk.server_ms())
    desk.process()
    on_record(desk, "1")
    on_record(desk, "1", "ETHUSDT")
    desk.feed({"symbol": "BTCUSDT", "status": "PRICE_UPDATE", "price": "101"})
    desk.route()
    assert harvest("--adopt").exit_code == 0
    assert desk.client.exists(keys.LOST)


def test_another_loss_meanwhile_is_not_forgotten(desk: Desk, harvest: Harvest, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.run(BUY)
    lose(desk)
    on_record(desk, "1")
    is_right = settlement._is_right

    def losing_more(*args: Any) -> Any:
        inbox.freeze_all(desk.client, 1, "1 entry was trimmed", desk.server_ms())
        return is_right(*args)

    monkeypatch.setattr(settlement, "_is_right", losing_more)
    harvest("--adopt")
    assert desk.client.hget(keys.LOST, "entries") == "4"
    desk.process()
    assert desk.position().frozen == "lost_input: 1 entry was trimmed"


def test_adopting_as_json(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY)
    on_record(desk, "3")
    assert json.loads(harvest("--adopt", "--json").output) == {
        "settled": [{"book": "BTCUSDT", "done": "adopted", "tracked": "1", "exchange": "3", "why": ""}],
        "forgot_loss": False,
    }
