"""What is remembered of harvests and of closed positions, and how `harvest history` and `harvest positions` show it."""

import json
from collections.abc import Mapping
from decimal import Decimal

import pytest
from click.testing import Result
from command_line import Harvest
from desk import LIVE, Desk, assert_all_accounted_for
from entries import BUY, price

from harvest_tasks.fills import inbox
from harvest_tasks.operations import history
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from kernel.positions.entry import Adopt

SELL = BUY | {"side": "SELL", "price": "110", "stop_loss": "120"}


def remembered(desk: Desk, *symbols: str) -> history.History:
    return history.read_history(desk.client, symbols or ("BTCUSDT",))


def filled(intent: Mapping[str, str], qty: str, at: str = "105", **fields: str) -> dict[str, str]:
    return BUY | {"side": intent["side"], "qty": qty, "price": at, "intent_id": intent["intent_id"], **fields}


def ended(intent: Mapping[str, str], status: str = "CANCELED") -> dict[str, str]:
    return {"symbol": intent["symbol"], "status": status, "intent_id": intent["intent_id"]}


def adopt(desk: Desk, qty: str, entry: str = "100") -> None:
    """What reconciliation delivers when the exchange holds `qty` at `entry`."""
    seen = desk.position().holding.qty
    inbox.deliver(desk.client, {"BTCUSDT": Adopt("", desk.server_ms(), seen, Decimal(qty), Decimal(entry))})
    desk.process()


def tables(result: Result) -> list[list[list[str]]]:
    """Of each table that was printed, its lines as words, without title and rule."""
    assert result.exit_code == 0, result.output
    parts = [part.splitlines() for part in result.stdout.strip().split("\n\n")]
    return [[line.split() for line in part[2:]] for part in parts]


# harvests


def test_a_harvest_is_remembered_once_its_intent_is_filled(live: Desk) -> None:
    live.run(BUY, price("105"))
    assert remembered(live).harvests == []
    (intent,) = live.live_intents()
    live.run(filled(intent, "0.25", at="106"))
    (row,) = remembered(live).harvests
    assert (row.kind, row.book, row.position_id, row.intent_id) == (
        "executed",
        "BTCUSDT",
        "BTCUSDT:1",
        intent["intent_id"],
    )
    assert (row.rungs, row.qty, row.price, row.r, row.pnl) == (
        ("0.5",),
        Decimal("0.25"),
        106,
        Decimal("0.6"),
        Decimal("1.5"),
    )


def test_the_price_of_a_harvest_is_the_mean_of_its_fills(live: Desk) -> None:
    live.run(BUY, price("105"))
    (intent,) = live.live_intents()
    live.run(filled(intent, "0.1", at="105"), filled(intent, "0.05", at="106"))
    assert remembered(live).harvests == []
    live.run(filled(intent, "0.1", at="104"))
    (row,) = remembered(live).harvests
    assert (row.qty, row.price, row.pnl) == (Decimal("0.25"), Decimal("104.8"), Decimal("1.2"))
    assert row.r == Decimal("0.48")


def test_a_mean_price_that_does_not_end_is_rounded_to_twelve_decimals(live: Desk) -> None:
    live.run(BUY | {"qty": "1.2"}, price("105"))
    (intent,) = live.live_intents()
    live.run(filled(intent, "0.1", at="105"), filled(intent, "0.2", at="106"))
    (row,) = remembered(live).harvests
    assert (row.price, row.r) == (Decimal("105.666666666667"), Decimal("0.566666"))


def test_an_intent_that_ended_after_a_partial_fill_is_remembered_with_what_it_took(live: Desk) -> None:
    live.run(BUY, price("105"))
    (intent,) = live.live_intents()
    live.run(filled(intent, "0.1"), ended(intent))
    (row,) = remembered(live).harvests
    assert (row.qty, row.price, row.intent_id) == (Decimal("0.1"), 105, intent["intent_id"])


@pytest.mark.parametrize("status", ["REJECTED", "CANCELED", "EXPIRED"])
def test_an_intent_that_took_nothing_is_no_harvest(live: Desk, status: str) -> None:
    live.run(BUY, price("105"))
    assert live.run(ended(live.live_intents()[0], status))["applied"] == 1
    assert remembered(live).harvests == []


def test_a_manual_close_ends_a_harvest_that_was_filled_in_part(live: Desk) -> None:
    live.run(BUY, price("105"))
    (intent,) = live.live_intents()
    live.run(filled(intent, "0.1"), SELL)
    found = remembered(live)
    assert [(row.qty, row.price) for row in found.harvests] == [(Decimal("0.1"), 105)]
    assert [row.position_id for row in found.lifecycles] == ["BTCUSDT:1"]


def test_an_intent_that_closes_the_position_is_remembered_with_its_lifecycle(redis: Client) -> None:
    live = Desk(redis, **LIVE, HARVEST_LADDER="0.5:1")
    live.run(BUY, price("105"))
    live.run(filled(live.live_intents()[0], "1", at="106"))
    found = remembered(live)
    assert [(row.qty, row.pnl) for row in found.harvests] == [(1, 6)]
    assert [row.realized_pnl for row in found.lifecycles] == [6]


def test_an_intent_whose_fill_flips_the_position_took_only_what_was_held(live: Desk) -> None:
    live.run(BUY, price("105"))
    live.run(filled(live.live_intents()[0], "3", at="106"))
    (row,) = remembered(live).harvests
    assert (row.qty, row.pnl, row.position_id) == (1, 6, "BTCUSDT:1")


def test_an_intent_that_is_filled_by_more_than_it_asked_for_took_that(live: Desk) -> None:
    live.run(BUY, price("105"))
    live.run(filled(live.live_intents()[0], "0.4"))
    assert [row.qty for row in remembered(live).harvests] == [Decimal("0.4")]


def test_a_short_earns_by_buying_back_lower(live: Desk) -> None:
    live.run(SELL | {"price": "100", "stop_loss": "110"}, price("95"))
    live.run(filled(live.live_intents()[0], "0.25", at="94"))
    (row,) = remembered(live).harvests
    assert (row.price, row.r, row.pnl) == (94, Decimal("0.6"), Decimal("1.5"))


def test_a_harvest_at_a_loss_has_a_negative_r(live: Desk) -> None:
    live.run(BUY, price("105"))
    live.run(filled(live.live_intents()[0], "0.25", at="99"))
    (row,) = remembered(live).harvests
    assert (row.r, row.pnl) == (Decimal("-0.1"), Decimal("-0.25"))


def test_in_shadow_mode_a_harvest_is_what_was_suggested_at_its_mark(desk: Desk) -> None:
    desk.run(BUY, price("111"))
    (row,) = remembered(desk).harvests
    assert (row.kind, row.rungs, row.qty, row.price) == ("suggested", ("0.5", "1"), Decimal("0.5"), 111)
    assert (row.r, row.pnl) == (Decimal("1.1"), Decimal("5.5"))
    assert row.intent_id == desk.suggestions()[0]["intent_id"]


def test_what_is_held_back_was_not_suggested(desk: Desk) -> None:
    desk.client.set("quantum:kill", "1")
    desk.run(BUY, price("111"))
    assert remembered(desk).harvests == []


def test_a_stop_move_is_no_harvest(live: Desk) -> None:
    live.run(BUY | {"atr": "1"}, price("105"), price("106"))
    assert len(live.suggestions()) >= 2
    assert remembered(live).harvests == []


def test_a_partial_fill_that_arrives_twice_counts_once(live: Desk) -> None:
    live.run(BUY, price("105"))
    (intent,) = live.live_intents()
    tenth = filled(intent, "0.1", trade_id="7")
    live.run(tenth, tenth, filled(intent, "0.15", trade_id="8"))
    assert [row.qty for row in remembered(live).harvests] == [Decimal("0.25")]
    assert_all_accounted_for(live)


# lifecycles


def test_a_closed_position_is_remembered_with_what_it_earned(desk: Desk) -> None:
    desk.run(
        BUY | {"fee": "0.1"},
        BUY | {"price": "102", "fee": "0.02", "fee_asset": "BNB"},
        {"symbol": "BTCUSDT", "status": "FUNDING", "amount": "-0.4"},
        SELL | {"qty": "2", "fee": "0.5"},
    )
    (row,) = remembered(desk).lifecycles
    assert (row.book, row.position_id, row.side, row.origin) == ("BTCUSDT", "BTCUSDT:1", "LONG", "fills")
    assert (row.base_qty, row.entry, row.risk_per_unit, row.realized_pnl) == (2, 101, 10, 18)
    assert (row.fees, row.funding, row.other_fees) == (Decimal("0.6"), Decimal("-0.4"), {"BNB": Decimal("0.02")})
    assert (row.net_pnl, row.net_r) == (17, Decimal("0.85"))
    assert 0 <= row.closed_ms - row.opened_ms < 60_000


def test_an_open_position_is_not_among_the_closed(desk: Desk) -> None:
    desk.run(BUY, SELL | {"qty": "0.5"})
    assert remembered(desk).lifecycles == []


def test_a_flip_closes_one_lifecycle_and_its_fee_counts_in_the_next(desk: Desk) -> None:
    desk.run(BUY | {"fee": "0.1"}, SELL | {"qty": "3", "fee": "0.3"}, BUY | {"qty": "2", "price": "105"})
    second, first = remembered(desk).lifecycles
    assert (first.position_id, first.side, first.realized_pnl, first.fees) == ("BTCUSDT:1", "LONG", 10, Decimal("0.1"))
    assert (second.position_id, second.side, second.realized_pnl, second.fees) == (
        "BTCUSDT:2",
        "SHORT",
        10,
        Decimal("0.3"),
    )
    assert (first.net_r, second.net_r) == (Decimal("0.99"), Decimal("0.485"))


def test_an_exit_over_a_leg_closes_it_once(desk: Desk) -> None:
    leg = {"position_side": "LONG"}
    desk.run(BUY | leg, SELL | leg | {"qty": "3"}, SELL | leg)
    (row,) = remembered(desk).lifecycles
    assert (row.position_id, row.side, row.realized_pnl) == ("BTCUSDT:LONG:1", "LONG", 10)


def test_both_legs_of_a_symbol_share_its_history(desk: Desk) -> None:
    long, short = {"position_side": "LONG"}, {"position_side": "SHORT"}
    desk.run(BUY | long, SELL | long, SELL | short, BUY | short)
    assert [row.position_id for row in remembered(desk).lifecycles] == ["BTCUSDT:SHORT:1", "BTCUSDT:LONG:1"]


def test_an_exchange_that_says_flat_closes_the_lifecycle_and_makes_up_no_profit(desk: Desk) -> None:
    desk.run(BUY, SELL | {"qty": "0.5"})
    adopt(desk, "0")
    (row,) = remembered(desk).lifecycles
    assert (row.position_id, row.realized_pnl, row.origin) == ("BTCUSDT:1", 5, "adopted")


def test_an_exchange_that_says_the_other_side_closes_the_lifecycle_as_it_was(desk: Desk) -> None:
    desk.run(BUY, SELL | {"qty": "0.5"})
    adopt(desk, "-2", "120")
    (row,) = remembered(desk).lifecycles
    assert (row.position_id, row.side, row.realized_pnl, row.origin) == ("BTCUSDT:1", "LONG", 5, "fills")
    desk.run(BUY | {"qty": "2", "price": "115"})
    newest, _ = remembered(desk).lifecycles
    assert (newest.position_id, newest.side, newest.origin, newest.realized_pnl) == (
        "BTCUSDT:2",
        "SHORT",
        "adopted",
        10,
    )


def test_an_exchange_that_says_more_closes_nothing(desk: Desk) -> None:
    desk.run(BUY)
    adopt(desk, "3")
    assert remembered(desk).lifecycles == []
    desk.run(SELL | {"qty": "3"})
    (row,) = remembered(desk).lifecycles
    assert (row.base_qty, row.origin, row.realized_pnl) == (3, "adopted", 30)


def test_a_close_that_is_seen_twice_is_remembered_once(desk: Desk) -> None:
    desk.run(BUY, SELL)
    desk.client.xgroup_setid(desk.source, keys.GROUP, "0")
    desk.run()
    assert len(remembered(desk).lifecycles) == 1
    assert_all_accounted_for(desk)


# how much of it


def test_the_newest_hundred_of_a_kind_and_symbol_are_kept(desk: Desk) -> None:
    desk.run(*[BUY, SELL] * 103)
    desk.run(BUY | {"symbol": "ETHUSDT"}, SELL | {"symbol": "ETHUSDT"})
    rows = remembered(desk).lifecycles
    assert len(rows) == 100
    assert {row.position_id for row in rows} == {f"BTCUSDT:{n}" for n in range(4, 104)}
    assert len(remembered(desk, "ETHUSDT").lifecycles) == 1


def test_suggestions_are_trimmed_by_themselves(desk: Desk) -> None:
    desk.run(*[BUY, price("105"), SELL] * 101)
    found = remembered(desk)
    assert (len(found.harvests), len(found.lifecycles)) == (100, 100)


def test_the_newest_comes_first_over_all_symbols(desk: Desk) -> None:
    for symbol in ("BTCUSDT", "ETHUSDT", "BTCUSDT"):
        desk.run(BUY | {"symbol": symbol}, SELL | {"symbol": symbol})
    rows = remembered(desk, "BTCUSDT", "ETHUSDT").lifecycles
    assert [row.position_id for row in rows] == ["BTCUSDT:2", "ETHUSDT:1", "BTCUSDT:1"]


def test_what_was_remembered_survives_a_restart_with_the_rest(redis: Client, live: Desk) -> None:
    live.run(BUY, price("105"))
    live.run(filled(live.live_intents()[0], "0.1"))
    after = Desk(redis, **LIVE)
    after.run(filled(live.live_intents()[0], "0.15", at="106"))
    assert [(row.qty, row.price) for row in remembered(after).harvests] == [(Decimal("0.25"), Decimal("105.6"))]


# harvest history


def test_without_any_history_the_command_says_so(desk: Desk, harvest: Harvest) -> None:
    nothing = "No harvest and no closed position yet: see `harvest positions`.\n"
    assert harvest("history").stdout == nothing
    desk.run(BUY)
    assert harvest("history").stdout == nothing
    assert harvest("history", "btcusdt").stdout.startswith("No harvest and no closed position of BTCUSDT yet")
    assert json.loads(harvest("history", "--json").stdout) == {"harvests": [], "lifecycles": [], "unreadable": 0}


def test_history_shows_harvests_and_then_lifecycles(live: Desk, harvest: Harvest) -> None:
    live.run(BUY | {"fee": "0.5"}, price("105"))
    live.run(filled(live.live_intents()[0], "0.25", at="106"), SELL | {"qty": "0.75"})
    ((_, _, *harvested),), ((_, _, *closed),) = tables(harvest("history"))
    assert harvested == ["BTCUSDT:1", "0.5", "0.25", "106", "0.60", "+1.5", "executed"]
    lifecycle, side, entered, entry, _, _, *earned = closed
    assert (lifecycle, side, entered, entry) == ("BTCUSDT:1", "LONG", "1", "100")
    assert earned == ["+8.5", "0.85", "+9", "0.5"]


def test_history_shows_what_only_some_rows_have(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY | {"fee": "0.02", "fee_asset": "BNB"}, {"symbol": "BTCUSDT", "status": "FUNDING", "amount": "-0.5"})
    adopt(desk, "2")
    desk.run(SELL | {"qty": "2"})
    shown = harvest("history").stdout
    assert all(title in shown for title in ("Funding", "Other fees", "Origin"))
    assert all(cell in shown for cell in ("-0.5", "0.02 BNB", "adopted", "+19.5"))


def test_history_as_json_is_exact(live: Desk, harvest: Harvest) -> None:
    live.run(BUY | {"price": "0.1", "stop_loss": "0.07", "qty": "0.3"}, price("0.115"))
    live.run(filled(live.live_intents()[0], "0.075", at="0.115000000001"), SELL | {"qty": "0.225", "price": "0.12"})
    said = json.loads(harvest("history", "--json").stdout)
    (harvested,), (closed,) = said["harvests"], said["lifecycles"]
    assert (harvested["price"], harvested["pnl"], harvested["r"]) == ("0.115000000001", "0.001125000000075", "0.5")
    assert (closed["realized_pnl"], closed["net_pnl"]) == ("0.005625000000075", "0.005625000000075")
    assert (closed["net_r"], closed["other_fees"], harvested["rungs"]) == ("0.625", {}, ["0.5"])
    assert all(isinstance(row["time_ms"], int) for row in said["harvests"])


def test_history_of_one_symbol_by_any_of_its_books(desk: Desk, harvest: Harvest) -> None:
    leg = {"position_side": "LONG"}
    desk.run(BUY | leg, SELL | leg, BUY | {"symbol": "ETHUSDT"}, SELL | {"symbol": "ETHUSDT"})
    for name in ("BTCUSDT", "btcusdt", "BTCUSDT:LONG", "btcusdt:short"):
        said = json.loads(harvest("history", name, "--json").stdout)
        assert [row["position_id"] for row in said["lifecycles"]] == ["BTCUSDT:LONG:1"]


def test_history_shows_no_more_than_asked_for(desk: Desk, harvest: Harvest) -> None:
    desk.run(*[BUY, SELL] * 12)
    assert len(json.loads(harvest("history", "--json").stdout)["lifecycles"]) == 10
    assert len(json.loads(harvest("history", "--json", "--limit", "3").stdout)["lifecycles"]) == 3
    assert (
        json.loads(harvest("history", "--json", "--limit", "1").stdout)["lifecycles"][0]["position_id"] == "BTCUSDT:12"
    )


@pytest.mark.parametrize("arguments", [["BTC/USDT"], ["--limit", "0"], ["--limit", "101"]])
def test_history_refuses_what_it_cannot_mean(harvest: Harvest, arguments: list[str]) -> None:
    result = harvest("history", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")


def test_history_without_a_server_says_so_in_one_line(harvest: Harvest) -> None:
    result = harvest("history", REDIS_URL="redis://127.0.0.1:1/0")
    assert (result.exit_code, result.stdout) == (3, "")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "row",
    ["{", "7", "", "{}", "\x1b[31m", '{"kind": "imagined"}', b"\xff\xfe"],
    ids=["cut off", "a number", "nothing", "empty", "an escape", "another kind", "no UTF-8"],
)
def test_rows_that_nobody_of_ours_wrote_are_counted_beside_the_others(
    desk: Desk, harvest: Harvest, row: str | bytes
) -> None:
    desk.run(BUY, price("105"), SELL)
    desk.client.lpush(keys.history("BTCUSDT"), row)
    desk.client.lpush(keys.lifecycles("BTCUSDT"), row)
    result = harvest("history")
    assert result.exit_code == 1
    assert result.stderr == "harvest: history rows that Harvest cannot read: 2\n"
    assert result.stdout.count("BTCUSDT:1") == 2
    assert json.loads(harvest("history", "--json").stdout)["unreadable"] == 2


@pytest.mark.parametrize(
    ("name", "figure"),
    [("net_pnl", "NaN"), ("net_r", "Infinity"), ("fees", "many"), ("net_pnl", "1e999999"), ("closed_ms", 10**18)],
)
def test_a_row_with_an_impossible_figure_is_unreadable(
    desk: Desk, harvest: Harvest, name: str, figure: str | int
) -> None:
    desk.run(BUY, SELL)
    (row,) = desk.client.lrange(keys.lifecycles("BTCUSDT"), 0, -1)
    desk.client.lpush(keys.lifecycles("BTCUSDT"), json.dumps(json.loads(row) | {name: figure}))
    result = harvest("history")
    assert (result.exit_code, result.stderr) == (1, "harvest: history rows that Harvest cannot read: 1\n")
    assert result.stdout.count("BTCUSDT:1") == 1


def test_a_history_of_another_type_is_one_line(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY)
    desk.client.set(keys.history("BTCUSDT"), "mine")
    result = harvest("history")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "Traceback" not in result.output


def test_history_fits_a_narrow_terminal(live: Desk, harvest: Harvest) -> None:
    live.run(BUY, price("105"))
    live.run(filled(live.live_intents()[0], "0.25", at="106"), SELL | {"qty": "0.75"})
    for columns in ("80", "120"):
        shown = harvest("history", COLUMNS=columns).stdout
        harvested, closed, *_ = shown.split("\n\n")
        assert max(map(len, shown.splitlines())) <= int(columns)
        assert ("executed" in harvested, "Net R" in closed) == (True, True)


# harvest positions


def test_positions_show_what_was_earned_net_of_fees_and_funding(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY | {"fee": "0.5"}, SELL | {"qty": "0.5"}, {"symbol": "BTCUSDT", "status": "FUNDING", "amount": "1.5"})
    ((cells,),) = tables(harvest("positions"))
    assert cells[7:13] == ["1.00", "+5", "+5", "0.5", "+1.5", "0.60"]
    (row,) = json.loads(harvest("positions", "--json").stdout)
    assert (row["funding"], row["fees"], row["net_r"], row["origin"]) == ("1.5", "0.5", "0.6", "fills")


def test_positions_as_json_have_the_fees_in_other_assets(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY | {"fee": "0.001", "fee_asset": "BNB"}, BUY | {"fee": "0.002", "fee_asset": "BNB"})
    (row,) = json.loads(harvest("positions", "--json").stdout)
    assert (row["other_fees"], row["fees"]) == ({"BNB": "0.003"}, "0")


def test_positions_show_both_legs(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY | {"position_side": "LONG"}, SELL | {"position_side": "SHORT"})
    (rows,) = tables(harvest("positions"))
    assert [cells[:3] for cells in rows] == [["BTCUSDT:LONG", "LONG", "1"], ["BTCUSDT:SHORT", "SHORT", "1"]]


def test_positions_say_which_were_adopted(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY, BUY | {"symbol": "ETHUSDT"})
    assert "Origin" not in harvest("positions").stdout
    adopt(desk, "2")
    rows = {cells[0]: cells for cells in tables(harvest("positions"))[0]}
    assert (rows["BTCUSDT"][-1], "adopted" in rows["ETHUSDT"]) == ("adopted", False)


def test_a_flat_leg_that_was_never_open_earned_nothing(desk: Desk, harvest: Harvest) -> None:
    desk.run(SELL | {"position_side": "LONG", "fee": "0.1"})
    assert tables(harvest("positions", "--all")) == [[["BTCUSDT:LONG", "FLAT", "0", "0.1", "0.00"]]]


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_positions_fit_the_terminal_and_each_part_names_the_books(desk: Desk, harvest: Harvest, columns: int) -> None:
    leg = {"symbol": "1000PEPEUSDT", "price": "0.0123456", "stop_loss": "0.0119", "qty": "1500000"}
    desk.run(BUY | leg | {"position_side": "LONG", "fee": "9.2"}, BUY, price("105.2"))
    adopt(desk, "0.5")
    shown = harvest("positions", COLUMNS=str(columns)).stdout
    assert max(map(len, shown.splitlines())) <= columns
    assert shown.count("1000PEPEUSDT:LONG") == len(shown.split("\n\n"))
    assert "…" not in shown
