"""The operator's commands on a real server: what they print, what they write, and how they fail."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import inputs
import pytest
from click.testing import Result
from command_line import Harvest
from desk import LIVE, Desk, assert_all_accounted_for
from entries import BUY, price
from processes import program
from waiting import wait_until

from harvest_tasks.operations import dead_letters
from harvest_tasks.processes.embedded_server import EmbeddedServer
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.wire import execution_result
from harvest_tasks.wire.refusal import RefusalReason

HARVEST = [sys.executable, "-c", "from harvest_tasks.cli import main; main()"]
Process = Callable[..., subprocess.CompletedProcess[str]]
Refuse = Callable[..., list[str]]


@pytest.fixture
def process(environ: dict[str, str]) -> Process:
    """Runs the command line in a process of its own, where the broker and signals are real."""

    def run(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        env = {**environ, "COLUMNS": "200", **extra}
        argv = [*HARVEST, *arguments]
        return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - ours

    return run


def said(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def rows(result: Result) -> list[list[str]]:
    """The words of each line under the first table's rule."""
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("─")) + 1
    return [line.split() for line in lines[start:]]


def everything(redis: Client) -> dict[bytes | str, bytes | None]:
    """The server's content."""
    return {key: redis.dump(key) for key in redis.scan_iter()}


# positions


def test_positions_without_any_say_so_and_what_to_do(harvest: Harvest) -> None:
    assert harvest("positions").stdout == ("No position is open: `harvest positions --all` also shows flat books.\n")
    assert harvest("positions", "--all").stdout.startswith("No book is tracked yet")
    assert said(harvest("positions", "--json")) == []


def test_positions_show_the_open_books_in_figures(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY | {"fee": "0.05"}, price("105.2"), BUY | {"side": "SELL", "qty": "0.25", "price": "105.2"})
    ((book, side, qty, entry, mark, _, unit, r, *rest),) = rows(harvest("positions"))
    assert (book, side, qty, entry, mark, unit, r) == ("BTCUSDT", "LONG", "0.75", "100", "105.2", "s", "0.52")
    assert rest == ["+3.9", "+1.3", "0.05", "0.12", "100.2", "0.5", "1", "1.5"]


def test_positions_as_json_are_exact(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY | {"price": "0.1", "stop_loss": "0.07", "qty": "0.3"}, price("0.109999999999"))
    (row,) = said(harvest("positions", "--json"))
    assert {name: row[name] for name in ("side", "qty", "entry", "mark", "r", "unrealized_pnl", "risk_per_unit")} == {
        "side": "LONG",
        "qty": "0.3",
        "entry": "0.1",
        "mark": "0.109999999999",
        "r": "0.333333",
        "unrealized_pnl": "0.0029999999997",
        "risk_per_unit": "0.03",
    }
    assert row["rungs_armed"] == ["0.5", "1", "1.5"]
    assert 0 <= row["mark_age_ms"] < 60_000


def test_positions_show_flat_books_on_request_with_what_they_earned(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY | {"fee": "0.1"}, BUY | {"side": "SELL", "price": "103"})
    assert harvest("positions").stdout.startswith("No position is open")
    assert rows(harvest("positions", "--all")) == [["BTCUSDT", "FLAT", "+3", "0.1", "0.29"]]


def test_positions_name_the_frozen_and_why(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY, BUY | {"price": "0"})
    assert "BTCUSDT is frozen: refused_entry" in harvest("positions").stdout
    assert said(harvest("positions", "--json"))[0]["frozen"].endswith("not_positive")


def test_positions_show_reserved_quantity_and_waiting_entries(redis: Client, harvest: Harvest) -> None:
    live = Desk(redis, **LIVE)
    live.run(BUY, price("105"))
    live.feed(price("106"))
    live.route()
    (row,) = said(harvest("positions", "--json"))
    assert (row["reserved"], row["waiting"]) == ("0.25", 1)
    assert rows(harvest("positions"))[0][-2:] == ["0.25", "1"]


def test_an_unreadable_position_is_named_beside_the_others(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY, BUY | {"symbol": "ETHUSDT"})
    desk.client.hset(keys.position("ETHUSDT"), "qty", "many")
    result = harvest("positions")
    assert result.exit_code == 1
    assert "BTCUSDT" in result.stdout
    assert "harvest: ETHUSDT: the tracked position of ETHUSDT cannot be read" in result.stderr


def test_what_does_not_fit_goes_on_below_under_the_same_books(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY, BUY | {"symbol": "ETHUSDT"}, price("105.2"))
    shown = harvest("positions", COLUMNS="60").stdout
    assert max(map(len, shown.splitlines())) <= 60
    assert [line.split()[0] for line in shown.splitlines() if line.startswith("ETH")] == ["ETHUSDT"] * 2
    assert "…" not in shown


# intents


def test_intents_without_any_say_so(harvest: Harvest) -> None:
    assert harvest("intents").stdout.startswith("No intent in quantum:stream:harvest.suggestions")
    assert harvest("intents", "--symbol", "ethusdt").stdout.startswith("No intent of ETHUSDT in")
    assert said(harvest("intents", "--json")) == []


def test_intents_come_newest_first_from_both_streams(redis: Client, harvest: Harvest) -> None:
    Desk(redis).run(BUY, price("105"))
    Desk(redis, **LIVE).run(BUY | {"symbol": "ETHUSDT"}, price("111", "ETHUSDT"))
    seen = [(i["mode"], i["intent_type"], i["book"], i["qty"]) for i in said(harvest("intents", "--json"))]
    # Two that were published in the same millisecond have no order across streams.
    assert set(seen[:2]) == {("shadow", "MOVE_SL_BE", "ETHUSDT", "1"), ("live", "REDUCE_ONLY", "ETHUSDT", "0.5")}
    assert seen[2:] == [("shadow", "MOVE_SL_BE", "BTCUSDT", "1"), ("shadow", "HARVEST_PARTIAL", "BTCUSDT", "0.25")]


def test_intents_as_a_table(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY, price("105"))
    stop, partial = rows(harvest("intents"))
    intent_id = desk.suggestions()[0]["intent_id"]
    words = ["shadow", "HARVEST_PARTIAL", "BTCUSDT", "SELL", "0.25", "R=0.50", ">=", "0.5", intent_id]
    assert partial[2:] == words
    assert stop[2:] == ["shadow", "MOVE_SL_BE", "BTCUSDT", "SELL", "1", "100.2", "R=0.50", ">=", "0.5", stop[-1]]


def test_intents_of_one_symbol_and_no_more_than_asked_for(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY, BUY | {"symbol": "ETHUSDT"}, price("105"), price("105", "ETHUSDT"))
    assert {i["book"] for i in said(harvest("intents", "--json", "--symbol", "ETHUSDT"))} == {"ETHUSDT"}
    assert len(said(harvest("intents", "--json", "--limit", "3"))) == 3
    assert harvest("intents", "--symbol", "BTC/USDT").exit_code == 2


def test_what_other_programs_write_to_the_intent_stream_is_no_intent_of_ours(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY, price("105"))
    for payload in ("{", "7", '{"source": "other"}', '{"source": "harvest_brain", "qty": "many"}'):
        desk.client.xadd(desk.settings.stream_trade_intent, {"payload": payload})
    desk.client.xadd(desk.settings.stream_trade_intent, {"symbol": "BTCUSDT"})
    assert len(said(harvest("intents", "--json"))) == 2


# explain


def test_explain_shows_risk_rungs_guards_and_the_last_decisions(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY, price("105.2"))
    shown = " ".join(harvest("explain", "btcusdt").stdout.split())
    for part in (
        "BTCUSDT LONG 1 from 100, mark 105.2",
        "Now nothing is due",
        "Next SELL 0.25 (rung 1) at mark 110",
        "Risk 10 per unit, 10 % of the entry: set when it opened, as if the stop were 90",
        "Stop 100.2, past break-even; it does not trail: no ATR is known",
        "R 0.5 25 % 105 -0.19 % spent R 1 25 % 110 +4.56 % armed",
        "killed passes quantum:kill is off",
        "published partial:0.5:1 SELL 0.25 R=0.52 >= 0.5",
    ):
        assert part in shown


@pytest.mark.parametrize(
    ("opening", "distance", "source"),
    [
        ({}, None, "opening_stop"),
        ({"stop_loss": "0"}, None, "fallback"),
        ({"stop_loss": ""}, "0.05", "published_distance"),
        ({"stop_loss": "110"}, None, "fallback"),
    ],
)
def test_explain_says_where_the_risk_comes_from(
    desk: Desk, harvest: Harvest, opening: dict[str, str], distance: str | None, source: str
) -> None:
    if distance:
        inputs.risk_proposal(desk.client, stop_dist_pct=distance)
    desk.run({name: text for name, text in (BUY | opening).items() if text not in ("", "0")})
    assert said(harvest("explain", "BTCUSDT", "--json"))["risk"]["source"] == source


@pytest.mark.parametrize(
    ("obstacle", "rules", "reason"),
    [
        (lambda desk: desk.client.set("quantum:kill", "yes"), {}, "killed"),
        (lambda desk: None, {"HARVEST_REQUIRE_FRESH_SNAPSHOT_SEC": "1"}, "stale"),
        (lambda desk: desk.run(BUY | {"price": "0"}), {}, "frozen"),
        (lambda desk: None, {"HARVEST_MIN_NOTIONAL": "1000"}, "below_minimum"),
        (
            lambda desk: desk.client.lpush(keys.WINDOW, desk.server_ms()),
            {"HARVEST_MAX_ACTIONS_PER_MIN": "1"},
            "rate_limited",
        ),
        (lambda desk: desk.client.set(keys.dedup("BTCUSDT:1", "partial:0.5:1"), "x"), {}, "duplicate"),
    ],
)
def test_explain_names_the_guard_that_holds_back_what_is_due(
    desk: Desk, harvest: Harvest, obstacle: Callable[[Desk], object], rules: dict[str, str], reason: str
) -> None:
    then = str(desk.server_ms() - 3_000)
    desk.run(BUY | {"ts": then})
    desk.feed(price("105", ts=then))
    desk.client.set("quantum:kill", "1")
    desk.route()
    desk.process()
    desk.client.set("quantum:kill", "0")
    obstacle(desk)
    explained = said(harvest("explain", "BTCUSDT", "--json", **rules))
    (harvesting, *_) = explained["due"]
    assert (harvesting["action"], harvesting["held_back_by"]) == ("partial:0.5:1", reason)
    assert explained["guards"][reason] is True
    assert f"held back: {reason}" in harvest("explain", "BTCUSDT", **rules).stdout


def make_due(desk: Desk) -> None:
    """A harvest and a stop move have been due for 3 s; the kill switch held them back, and is off again."""
    then = str(desk.server_ms() - 3_000)
    desk.client.set("quantum:kill", "1")
    desk.run(BUY | {"ts": then}, price("111", ts=then))
    desk.client.set("quantum:kill", "0")


def use_up(desk: Desk, intents: int, *, age_ms: int = 0) -> None:
    """`intents` intents of other books went out `age_ms` ago."""
    if intents:
        desk.client.lpush(keys.WINDOW, *[desk.server_ms() - age_ms] * intents)


def test_explain_counts_the_window_and_holds_back_what_does_not_fit(desk: Desk, harvest: Harvest) -> None:
    make_due(desk)
    use_up(desk, 29)
    shown = " ".join(harvest("explain", "BTCUSDT", HARVEST_MAX_ACTIONS_PER_MIN="30").stdout.split())
    assert "29 of 30 intents used in the last 60 s" in shown
    assert "SELL 0.5 (rung 0.5 + 1) is due, and nothing holds it back" in shown
    assert "the stop's move to 100.2 (break-even) is due, held back: rate_limited" in shown


@pytest.mark.parametrize(
    ("obstacle", "rules"),
    [
        (lambda desk: None, {}),
        (lambda desk: use_up(desk, 28), {}),
        (lambda desk: use_up(desk, 29), {}),
        (lambda desk: use_up(desk, 30), {}),
        (lambda desk: use_up(desk, 30, age_ms=-5_000), {}),
        (lambda desk: use_up(desk, 30, age_ms=61_000), {}),
        (lambda desk: (use_up(desk, 20, age_ms=61_000), use_up(desk, 29)), {}),
        (lambda desk: desk.client.set("quantum:kill", "yes"), {}),
        (lambda desk: (desk.client.delete("quantum:kill"), desk.client.hset("quantum:kill", "a", "b")), {}),
        (lambda desk: None, {"HARVEST_REQUIRE_FRESH_SNAPSHOT_SEC": "1"}),
        (lambda desk: desk.run(BUY | {"price": "0"}), {}),
        (lambda desk: desk.client.set(keys.dedup("BTCUSDT:1", "partial:0.5+1:1"), "x"), {}),
    ],
    ids=[
        *("nothing", "two_left", "one_left", "none_left", "ahead_of_the_clock", "long_ago", "long_ago_and_one_left"),
        *("killed", "switch_of_another_type", "stale", "frozen", "out_already"),
    ],
)
def test_explain_holds_back_what_the_next_commit_holds_back(
    redis: Client, harvest: Harvest, obstacle: Callable[[Desk], object], rules: dict[str, str]
) -> None:
    rules = {"HARVEST_MAX_ACTIONS_PER_MIN": "30", **rules}
    desk = Desk(redis, **rules)
    feeder = Desk(redis)
    make_due(feeder)
    obstacle(feeder)
    before = len(desk.journal("published"))
    due = {
        asked["action"]: asked["held_back_by"]
        for asked in said(harvest("explain", "BTCUSDT", "--json", **rules))["due"]
    }
    desk.process("BTCUSDT")
    published = {record["action"] for record in desk.journal("published")[before:]}
    assert due.keys() == {"partial:0.5+1:1", "sl_be"}
    assert due == {**dict.fromkeys(published), **dict(desk.position().ladder_state.held)}


def test_explain_shows_what_is_reserved_and_since_when(redis: Client, harvest: Harvest) -> None:
    live = Desk(redis, **LIVE)
    old = live.server_ms() - 5_000
    live.run(BUY | {"ts": str(old)}, price("115", ts=str(old)))
    shown = harvest("explain", "BTCUSDT", **LIVE, HARVEST_INTENT_TIMEOUT_SEC="1").stdout
    assert f"0.75 by {live.live_intents()[0]['intent_id']}" in shown
    assert "no reply for too long" in shown
    assert "0.25 of 1 is not reserved" in shown


def test_explain_counts_failed_attempts(redis: Client, harvest: Harvest) -> None:
    live = Desk(redis, **LIVE)
    live.run(BUY, price("105"))
    (intent,) = live.live_intents()
    live.client.set("quantum:kill", "1")
    live.run({"symbol": "BTCUSDT", "status": "REJECTED", "intent_id": intent["intent_id"]})
    assert "due (1 of 3 attempts failed)" in harvest("explain", "BTCUSDT", **LIVE).stdout


def test_explain_shows_codes_of_the_journal_in_plain_words(redis: Client, harvest: Harvest) -> None:
    live = Desk(redis, **LIVE)
    live.run(BUY, price("105"))
    for _ in range(3):
        live.run({"symbol": "BTCUSDT", "status": "REJECTED", "intent_id": live.live_intents()[-1]["intent_id"]})
    assert live.journal("exhausted")
    assert "gave up after 3 attempts" in harvest("explain", "BTCUSDT", **LIVE).stdout
    assert "exhausted" in {row["decision"] for row in said(harvest("explain", "BTCUSDT", "--json", **LIVE))["journal"]}


def test_explain_says_what_would_go_out(desk: Desk, harvest: Harvest) -> None:
    desk.client.set("quantum:kill", "1")
    desk.run(BUY, price("111"))
    desk.client.delete("quantum:kill")
    shown = harvest("explain", "BTCUSDT").stdout
    assert "SELL 0.5 (rung 0.5 + 1) is due, and nothing holds it back" in shown
    assert "the stop's move to 100.2 (break-even) is due" in shown


def test_explain_of_a_flat_book_shows_what_it_earned(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY, BUY | {"side": "SELL", "price": "103"}, BUY | {"qty": "-1"})
    result = harvest("explain", "BTCUSDT")
    assert "BTCUSDT   flat; +3 earned so far, net of fees" in result.stdout
    assert "harvest release BTCUSDT" in result.stdout
    assert "rungs" not in said(harvest("explain", "BTCUSDT", "--json"))


def test_explain_of_a_book_whose_first_fill_waits(desk: Desk, harvest: Harvest) -> None:
    desk.feed(BUY)
    desk.route()
    shown = harvest("explain", "BTCUSDT").stdout
    assert "1 waiting" in shown
    assert "No decision in the journal about BTCUSDT." in shown


def test_explain_of_an_unknown_book_is_one_line(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY | {"position_side": "LONG"})
    for name, hint in (
        ("ETHUSDT", "`harvest positions --all` lists every tracked book"),
        ("btcusdt", "did you mean BTCUSDT:LONG?"),
    ):
        result = harvest("explain", name)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == f"harvest: {name.upper()} is not tracked: {hint}\n"


def test_explain_of_an_unreadable_book_is_one_line(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY)
    desk.client.delete(keys.position("BTCUSDT"))
    desk.client.set(keys.position("BTCUSDT"), "mine")
    result = harvest("explain", "BTCUSDT")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1


def test_looking_changes_nothing(desk: Desk, harvest: Harvest) -> None:
    desk.client.set("quantum:kill", "1")
    desk.run(BUY, price("111"), BUY | {"price": "0"})
    before = everything(desk.client)
    for looking in (
        ["positions", "--all"],
        ["intents"],
        ["explain", "BTCUSDT"],
        ["kill", "status"],
        ["deadletter", "list"],
    ):
        harvest(*looking)
    assert everything(desk.client) == before


# kill


def test_the_kill_switch_is_thrown_and_put_back(redis: Client, harvest: Harvest) -> None:
    assert harvest("kill", "on").stdout == "quantum:kill was off (absent), is on: no intent is published.\n"
    assert redis.get("quantum:kill") == "1"
    assert harvest("kill", "off").stdout == "quantum:kill was on, is off: intents may be published.\n"
    assert redis.get("quantum:kill") == "0"


def test_the_kill_switch_is_the_configured_key_and_no_other(redis: Client, harvest: Harvest) -> None:
    harvest("kill", "on", HARVEST_KILL_SWITCH_KEY="desk:kill")
    assert redis.keys() == ["desk:kill"]


@pytest.mark.parametrize(
    ("value", "shown", "exit_code"),
    [
        (None, "off (absent)", 0),
        ("", "off (empty)", 0),
        ("0", "off", 0),
        ("1", "on", 1),
        ("off", "on (holds 'off')", 1),
    ],
)
def test_status_informs_programs_by_its_exit_code(
    redis: Client, harvest: Harvest, value: str | None, shown: str, exit_code: int
) -> None:
    if value is not None:
        redis.set("quantum:kill", value)
    result = harvest("kill", "status")
    assert result.exit_code == exit_code
    assert result.stdout.startswith(f"quantum:kill is {shown}: ")
    as_json = harvest("kill", "status", "--json")
    assert json.loads(as_json.stdout)["killed"] is bool(exit_code)
    assert as_json.exit_code == exit_code


def test_throwing_the_switch_outlives_a_value_with_a_lifetime(redis: Client, harvest: Harvest) -> None:
    redis.set("quantum:kill", "1", ex=100)
    assert harvest("kill", "on").stdout.startswith("quantum:kill was on, is on")
    assert redis.ttl("quantum:kill") == -1


def test_a_key_that_is_no_switch_is_left_alone(redis: Client, harvest: Harvest) -> None:
    redis.hset("quantum:kill", "whose", "another's")
    assert harvest("kill", "status").exit_code == 1
    for way in ("on", "off"):
        result = harvest("kill", way)
        assert result.exit_code == 1
        assert result.stderr.startswith("harvest: quantum:kill is a hash, not a switch: nothing is published meanwhile")
    assert redis.hgetall("quantum:kill") == {"whose": "another's"}


# release


def test_releasing_lets_the_book_publish_and_wakes_workers(desk: Desk, process: Process) -> None:
    desk.run(BUY, BUY | {"price": "0"}, price("105"))
    assert desk.suggestions() == []
    result = process("release", "btcusdt")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("BTCUSDT is released. It was frozen: refused_entry")
    assert desk.client.execute_command("SELECT", 1) and desk.client.llen("fills") == 1
    desk.client.execute_command("SELECT", 0)
    desk.process()
    assert len(desk.suggestions()) == 2
    assert_all_accounted_for(desk)


def test_releasing_needs_no_broker(desk: Desk, process: Process) -> None:
    desk.run(BUY, BUY | {"price": "0"}, price("105"))
    result = process("release", "BTCUSDT", BROKER_URL="redis://127.0.0.1:1/0")
    assert result.returncode == 0
    assert result.stderr == "The broker does not answer. Running workers notice the change within a second anyway.\n"
    desk.process()
    assert desk.position().frozen == ""


def test_releasing_all_forgets_lost_input(desk: Desk, process: Process) -> None:
    desk.run(BUY, BUY | {"symbol": "ETHUSDT"}, BUY | {"price": "0"})
    desk.client.hset(keys.LOST, "entries", 3)
    result = process("release", "--all")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("Books released: 2, of which frozen: 1\n  BTCUSDT: refused_entry")
    desk.process()
    assert desk.position().frozen == ""
    assert not desk.client.exists(keys.LOST)


def test_releasing_what_is_not_frozen_or_not_there_is_one_line(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY)
    for name, problem in (("BTCUSDT", "BTCUSDT is not frozen"), ("ETHUSDT", "ETHUSDT is not tracked")):
        result = harvest("release", name)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(f"harvest: {problem}")
        assert len(result.stderr.splitlines()) == 1
    assert desk.client.xlen(keys.inbox("BTCUSDT")) == 0


@pytest.mark.parametrize("arguments", [[], ["BTCUSDT", "--all"]])
def test_release_wants_one_book_or_all(harvest: Harvest, arguments: list[str]) -> None:
    assert harvest("release", *arguments).exit_code == 2


# deadletter


@pytest.fixture
def refuse(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Refuse:
    """Has entries refused by a parser that accepted less; returns the ids of their dead-letter messages."""

    def by_an_older_parser(*entries: dict[str, str]) -> list[str]:
        refusal = execution_result.Refused(RefusalReason.BAD_SYMBOL, "an older parser", "BTCUSDT")
        with monkeypatch.context() as patch:
            patch.setattr(execution_result, "parse", lambda *_: refusal)
            desk.run(*entries)
        return [letter_id for letter_id, _ in desk.client.xrange(keys.DEADLETTER)]

    return by_an_older_parser


def test_dead_letters_are_listed_newest_first(desk: Desk, harvest: Harvest) -> None:
    ids = desk.feed(BUY | {"price": "0"}, BUY | {"price": "\x1b[31mred"})
    desk.route()
    newest, older = said(harvest("deadletter", "list", "--json"))
    assert (newest["source_id"], older["source_id"]) == (ids[1], ids[0])
    assert older["reason"].startswith("not_positive: ")
    shown = harvest("deadletter", "list").stdout
    assert "\x1b" not in shown
    assert "price=\\x1b[31mred" in shown
    assert [line[0] for line in rows(harvest("deadletter", "list"))] == [newest["letter_id"], older["letter_id"]]


def test_a_short_list_says_how_many_dead_letters_it_leaves_out(desk: Desk, harvest: Harvest) -> None:
    desk.feed(*[BUY | {"price": "0"}] * 3)
    desk.route()
    assert harvest("deadletter", "list", "--limit", "1").stdout.endswith("Older messages not shown: 2 (--limit 3)\n")


def test_no_dead_letters_is_one_line(harvest: Harvest) -> None:
    assert harvest("deadletter", "list").stdout.startswith("No message in quantum:stream:harvest.deadletter")
    assert said(harvest("deadletter", "list", "--json")) == []
    assert harvest("deadletter", "retry", "--all").stdout == "No dead-letter message to retry.\n"


def test_a_retried_fill_is_applied_once_and_its_message_is_gone(desk: Desk, harvest: Harvest, refuse: Refuse) -> None:
    (message_id,) = refuse(BUY)
    result = harvest("deadletter", "retry", message_id)
    assert result.exit_code == 0, result.output
    assert "harvest release BTCUSDT" in result.stdout
    assert desk.deadletters() == []
    again = harvest("deadletter", "retry", message_id)
    assert (again.exit_code, again.stdout) == (
        1,
        f"{message_id}: no such dead-letter message; it may have been retried before\n",
    )
    desk.run()
    assert desk.position().holding.qty == 1
    assert desk.position().frozen.startswith("refused_entry")
    assert_all_accounted_for(desk)


def test_a_retried_fill_keeps_its_time_and_names_its_original(desk: Desk, harvest: Harvest, refuse: Refuse) -> None:
    (message_id,) = refuse(BUY)
    (source_id, original), *_ = desk.client.xrange(desk.source)
    (result,) = said(harvest("deadletter", "retry", message_id, "--json"))
    assert result == {"letter_id": message_id, "retried": True, "entry_id": result["entry_id"], "book": "BTCUSDT"}
    ((_, again),) = desk.client.xrange(desk.source, result["entry_id"], result["entry_id"])
    assert again == {**original, "ts": source_id.partition("-")[0], "retry_of": source_id}


@pytest.mark.parametrize("stated", [{"ts": "1700000000"}, {"timestamp": "2023-11-14T22:13:20Z"}])
def test_a_retried_fill_that_states_its_time_keeps_stating_it(
    desk: Desk, harvest: Harvest, refuse: Refuse, stated: dict[str, str]
) -> None:
    refuse(BUY | stated)
    (result,) = said(harvest("deadletter", "retry", "--all", "--json"))
    ((_, again),) = desk.client.xrange(desk.source, result["entry_id"], result["entry_id"])
    assert again == {**BUY, **stated, "retry_of": again["retry_of"]}


def test_all_dead_letters_are_retried_oldest_first(desk: Desk, harvest: Harvest, refuse: Refuse) -> None:
    refuse(BUY | {"price": "100"}, BUY | {"side": "SELL", "price": "103"})
    assert [result["retried"] for result in said(harvest("deadletter", "retry", "--all", "--json"))] == [True, True]
    desk.run()
    assert desk.position().holding.realized_pnl == 3
    assert_all_accounted_for(desk)


def test_an_entry_that_was_refused_twice_is_retried_once(desk: Desk, harvest: Harvest, refuse: Refuse) -> None:
    refuse(BUY)
    desk.client.xgroup_setid(desk.source, keys.GROUP, "0")
    first, second = refuse()
    assert len(said(harvest("deadletter", "retry", first, "--json"))) == 1
    assert harvest("deadletter", "retry", second).exit_code == 1
    desk.run()
    assert desk.position().holding.qty == 1


def test_two_operators_retry_one_message_once(desk: Desk, refuse: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    (message_id,) = refuse(BUY)
    others: list[Any] = []
    original = execution_result.parse

    def while_another_is_at_it(*entry: Any) -> execution_result.Parsed:
        if not others:
            others.append("at it")
            others.extend(dead_letters.retry_dead_letters(desk.client, desk.source, [message_id]))
        return original(*entry)

    monkeypatch.setattr(execution_result, "parse", while_another_is_at_it)
    assert dead_letters.retry_dead_letters(desk.client, desk.source, [message_id]) == [
        dead_letters.NotFound(message_id)
    ]
    assert isinstance(others[1], dead_letters.Retried)
    assert desk.client.xlen(desk.source) == 2


def test_retry_gives_up_while_messages_keep_coming(
    desk: Desk, harvest: Harvest, refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(BUY)
    refusal = execution_result.Refused(RefusalReason.BAD_SYMBOL, "busy", None)

    def while_messages_come(*_: Any) -> execution_result.Parsed:
        desk.client.xadd(keys.DEADLETTER, {"reason": "another"})
        return refusal

    monkeypatch.setattr(execution_result, "parse", while_messages_come)
    result = harvest("deadletter", "retry", "--all")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.endswith("keeps changing, so nothing was retried. Fix: try again\n")


def test_what_is_still_refused_stays(desk: Desk, harvest: Harvest) -> None:
    desk.feed(BUY | {"qty": "NaN"})
    desk.route()
    result = harvest("deadletter", "retry", "--all")
    assert result.exit_code == 1
    assert "not retried: still refused: not_finite: qty 'NaN'" in result.stdout
    assert len(desk.deadletters()) == 1


def test_a_reused_trade_id_is_never_retried(desk: Desk, harvest: Harvest) -> None:
    desk.run(BUY | {"trade_id": "7"}, BUY | {"trade_id": "7", "qty": "2"})
    result = harvest("deadletter", "retry", "--all")
    assert result.exit_code == 1
    assert "not retried: its trade id belongs to another fill, which was applied" in result.stdout


def test_a_message_whose_entry_is_gone_or_another_stays(desk: Desk, harvest: Harvest, refuse: Refuse) -> None:
    gone, replaced, wrapped = refuse(BUY, BUY | {"qty": "2"}, {"status": "NEW"})
    ids = [entry_id for entry_id, _ in desk.client.xrange(desk.source)]
    desk.client.delete(desk.source)
    desk.feed(BUY, at=ids[1])
    desk.feed({"status": "NEW"}, at=ids[2])
    result = harvest("deadletter", "retry", "--all", "--json")
    assert result.exit_code == 1
    assert {answer["letter_id"]: answer["why"] for answer in json.loads(result.stdout)} == {
        gone: f"its entry {ids[0]} is no longer in the input stream",
        replaced: f"entry {ids[1]} of the input stream has changed",
        wrapped: "it would be ignored: no_execution",
    }
    assert desk.client.xlen(desk.source) == 2


def test_an_entry_that_has_no_room_for_its_origin_stays(desk: Desk, harvest: Harvest, refuse: Refuse) -> None:
    refuse(BUY | {"ts": "1700000000"} | {f"more{i}": "x" for i in range(25)})
    assert (
        "with the field retry_of it would exceed the limits of an entry"
        in harvest("deadletter", "retry", "--all").stdout
    )


@pytest.mark.parametrize("arguments", [[], ["1-0", "--all"]])
def test_retry_wants_one_message_or_all(harvest: Harvest, arguments: list[str]) -> None:
    assert harvest("deadletter", "retry", *arguments).exit_code == 2


# config


def test_config_lists_every_setting_and_where_it_comes_from(harvest: Harvest, url: str) -> None:
    listed = {line[0]: line[1:] for line in rows(harvest("config", HARVEST_MIN_R="1"))}
    assert listed["HARVEST_MIN_R"] == ["1", "env"]
    assert listed["HARVEST_MODE"] == ["shadow", "default"]
    as_json = said(harvest("config", "--json"))
    assert as_json["REDIS_URL"] == {"value": url, "from": "environment"}
    assert list(as_json) == list(listed)


def test_config_shows_no_password(harvest: Harvest) -> None:
    shown = harvest("config", REDIS_URL="redis://me:secret@127.0.0.1:7000/0")
    assert shown.exit_code == 0
    assert "secret" not in shown.output
    assert "redis://***@127.0.0.1:7000/0" in shown.stdout


@pytest.mark.parametrize("command", ["config", "positions", "intents", "propose"])
def test_wrong_settings_are_named_line_by_line(harvest: Harvest, command: str) -> None:
    result = harvest(command, HARVEST_MODE="lively", HARVEST_SPEED="9")
    assert (result.exit_code, result.stdout) == (2, "")
    assert [line.partition("=")[0].partition(":")[0] for line in result.stderr.splitlines()] == ["harvest", "harvest"]
    assert "HARVEST_MODE='lively'" in result.stderr
    assert "HARVEST_SPEED: is not a setting" in result.stderr


# propose


def test_one_cycle_shows_what_came_of_it_and_ends_with_its_line(redis: Client, process: Process) -> None:
    inputs.market_state(redis, "BTCUSDT")
    inputs.position_hash(redis, "BTCUSDT")
    result = process("propose", "--once", "--symbols", "BTCUSDT,ETHUSDT", SYNTHETIC_FALLBACK="false")
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines()[-1].endswith("Single cycle complete")
    assert "proposal published book=BTCUSDT harvest_action=" in result.stderr
    bitcoin, ether = [line.split() for line in result.stdout.splitlines()[2:]]
    assert bitcoin[:6] == ["BTCUSDT", "published", "PARTIAL_25", "2.45", "0.503", "100.2"]
    assert ether == ["ETHUSDT", "skipped", "no_position"]
    assert inputs.proposal(redis)["harvest_action"] == "PARTIAL_25"


def test_a_cycle_takes_its_source_from_the_command_line(redis: Client, process: Process) -> None:
    result = process("propose", "--once", "--symbols", "BTCUSDT", "--position-source", "synthetic", "--json")
    (outcome,) = json.loads(result.stdout)
    assert (outcome["position_source"], outcome["result"]) == ("synthetic", "published")


def test_a_cycle_over_no_symbol_says_so(redis: Client, process: Process) -> None:
    assert (
        process("propose", "--once", "--symbols", "*").stdout
        == "No symbol has had a fill yet, so there is nothing to propose.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "rules", "problem"),
    [
        (["--symbols", "btc"], {}, "SYMBOLS='btc'"),
        (["--symbols", ""], {}, "SYMBOLS=''"),
        (["--position-source", "synthetic"], LIVE, "POSITION_SOURCE='synthetic'"),
        (["--position-source", "guess"], {}, "--position-source"),
    ],
)
def test_a_cycle_refuses_what_settings_would_refuse(
    harvest: Harvest, arguments: list[str], rules: dict[str, str], problem: str
) -> None:
    result = harvest("propose", "--once", *arguments, **rules)
    assert result.exit_code == 2
    assert problem in result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_cycles_go_on_until_they_are_stopped(
    redis: Client, environ: dict[str, str], tmp_path: Path, number: int
) -> None:
    inputs.market_state(redis)
    inputs.position_hash(redis)
    argv = [*HARVEST, "propose", "--symbols", "BTCUSDT", "--json"]
    log = tmp_path / "log"
    with (
        log.open("wb") as err,
        program(argv, environ={**environ, "PUBLISH_INTERVAL_SEC": "0.1", "LOG_LEVEL": "DEBUG"}, stderr=err) as running,
    ):
        wait_until(lambda: log.read_text().count("proposals: computed=1") >= 3, 20.0, "three cycles")
        running.send_signal(number)
        out, _ = running.communicate(timeout=10)
        assert running.returncode == 0, log.read_text()
    assert log.read_text().splitlines()[-1].endswith("stopped")
    assert "Traceback" not in log.read_text()
    assert [json.loads(line)[0]["result"] for line in out.splitlines()][:3] == ["published", "unchanged", "unchanged"]


def test_cycles_go_on_after_the_server_was_away(redis: Client, tmp_path: Path, environ: dict[str, str]) -> None:
    log = tmp_path / "log"
    with EmbeddedServer(unix=True) as server:
        env = {**environ, "REDIS_URL": server.url(), "PUBLISH_INTERVAL_SEC": "0.1", "LOG_LEVEL": "DEBUG"}
        with log.open("wb") as err, program([*HARVEST, "propose"], environ=env, stderr=err) as running:
            wait_until(lambda: "proposals: computed" in log.read_text(), 20.0, "a cycle")
            server.kill()
            wait_until(lambda: "no proposals in this cycle" in log.read_text(), 20.0, "a line about the server")
            before = log.read_text().count("proposals: computed")
            server.restart()
            wait_until(lambda: log.read_text().count("proposals: computed") > before, 20.0, "another cycle")
            running.terminate()
            assert running.wait(10) == 0
    assert "Traceback" not in log.read_text()


# all of them


@pytest.mark.parametrize(
    "command",
    [
        ["positions"],
        ["intents"],
        ["explain", "BTCUSDT"],
        ["kill", "status"],
        ["kill", "on"],
        ["release", "BTCUSDT"],
        ["release", "--all"],
        ["deadletter", "list"],
        ["deadletter", "retry", "--all"],
        ["propose"],
    ],
)
def test_without_a_server_every_command_says_so_in_one_line(harvest: Harvest, command: list[str]) -> None:
    result = harvest(*command, REDIS_URL="redis://127.0.0.1:1/0")
    assert (result.exit_code, result.stdout) == (3, "")
    assert len(result.stderr.splitlines()) == 1
    assert "127.0.0.1:1" in result.stderr
