"""What the doctor concludes from figures that no test server can be made to show."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from harvest_tasks.cli import COMMANDS
from harvest_tasks.metrics.families import gauge, gauges
from harvest_tasks.metrics.scrape import Scrape
from harvest_tasks.operations.diagnosis import CHECKS, UNITS, Finding, diagnose

NOW = 1_700_000_000.0


def figures(
    name: str = "redis",
    version: str = "7.0.15",
    ahead: float = 0.0,
    ages: Mapping[str, float] | None = None,
    started: float = NOW - 3_600,
    memory: tuple[float, float] = (500.0, 0.0),
) -> Scrape:
    """Of a healthy Harvest, but for what is given."""
    parts = {"beat": 5.0, "reconciliation": 60.0}
    metrics = [
        *(gauge(one, "", 1.0) for one in ("up", "broker_up", "input_has_group", "server_persists")),
        gauge("server_clock_ahead_seconds", "", ahead),
        gauge("server_memory_bytes", "", memory[0]),
        gauge("server_memory_limit_bytes", "", memory[1]),
        gauges("server_info", "", ("name", "version"), {(name, version): 1.0}),
        gauges("heartbeat_interval_seconds", "", ("of",), {(part,): sec for part, sec in parts.items()}),
        gauges("heartbeat_age_seconds", "", ("of",), {(part,): sec for part, sec in (ages or parts).items()}),
        gauges("worker_started_timestamp_seconds", "", ("worker",), {("fills@desk",): started}),
    ]
    return Scrape(metrics, UNITS, NOW)


def everything_wrong() -> Scrape:
    """Of a Harvest that fails every check but the first, which would hide all others."""
    bad = {
        **dict.fromkeys(("up", "scrape_refused_questions", "server_evicts", "input_lost", "kill_switch"), 1.0),
        **dict.fromkeys(("server_clock_ahead_seconds", "input_oldest_unread_seconds", "inbox_oldest_seconds"), 99.0),
        **dict.fromkeys(("intents_unanswered", "proposals_held_synthetic"), 5.0),
        "server_memory_bytes": 950.0,
        "server_memory_limit_bytes": 1000.0,
    }
    by_label = [
        ("heartbeat_interval_seconds", "of", {"watcher": 5.0, "beat": 5.0}),
        ("heartbeat_age_seconds", "of", {"watcher": 999.0, "beat": 999.0}),
        ("queue_messages", "queue", {"fills": 500.0}),
        ("books", "state", {"unreadable": 1.0}),
        ("reconciled_books", "result", {"differ": 1.0}),
        ("book_frozen", "book", {"BTCUSDT": 1.0}),
        ("market_states", "state", {"missing": 1.0}),
        ("position_mark_age_seconds", "book", {"BTCUSDT": 999.0}),
    ]
    metrics = [
        *(gauge(name, "", value) for name, value in bad.items()),
        gauges("server_info", "", ("name", "version"), {("redis", "6.2.14"): 1.0}),
        *(gauges(name, "", (label,), {(of,): n for of, n in values.items()}) for name, label, values in by_label),
    ]
    return Scrape(metrics, [], NOW)


def subjects(found: Scrape) -> list[str]:
    return [finding.subject for finding in diagnose(found)]


def test_nothing_is_wrong_with_a_healthy_one() -> None:
    assert subjects(figures()) == []


@pytest.mark.parametrize(
    ("name", "version", "is_old"),
    [
        ("redis", "6.2.14", True),
        ("redis", "7.0.0", False),
        ("redis", "10.0.1", False),
        ("valkey", "7.1.9", True),
        ("valkey", "7.2.0", False),
        ("valkey", "9.1.0", False),
    ],
)
def test_a_server_that_is_too_old_is_named(name: str, version: str, is_old: bool) -> None:
    assert subjects(figures(name=name, version=version)) == (["version"] if is_old else [])


@pytest.mark.parametrize(("ahead", "side"), [(2.0, ""), (-2.0, ""), (2.5, "ahead of"), (-3.0, "behind")])
def test_clocks_that_differ_are_named(ahead: float, side: str) -> None:
    found = diagnose(figures(ahead=ahead))
    assert [finding.subject for finding in found] == (["clock"] if side else [])
    assert all(side in finding.problem for finding in found)


@pytest.mark.parametrize(
    ("used", "limit", "is_full"), [(899.0, 1000.0, False), (900.0, 1000.0, True), (9e9, 0.0, False)]
)
def test_a_server_that_is_nearly_full_is_named(used: float, limit: float, is_full: bool) -> None:
    assert subjects(figures(memory=(used, limit))) == (["memory"] if is_full else [])


def test_what_never_worked_has_time_until_it_is_due() -> None:
    never = {"beat": 5.0, "reconciliation": float("inf")}
    assert subjects(figures(ages=never, started=NOW - 199)) == []
    (found,) = diagnose(figures(ages=never, started=NOW - 201))
    assert (found.subject, found.problem) == ("reconciliation", "has never run")


def test_what_worked_long_ago_is_late_however_young_its_worker_is() -> None:
    assert subjects(figures(ages={"beat": 36.0, "reconciliation": 1.0}, started=NOW - 1)) == ["beat"]
    assert subjects(figures(ages={"beat": 35.0, "reconciliation": 1.0})) == []


def test_the_page_lists_what_is_checked_in_the_order_of_the_checks() -> None:
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    listed = re.findall(r"`([^`]+)`", page.partition("It checks, in this order:")[2].partition("\n\n")[0])
    unreachable, watcher = listed.index("server"), listed.index("watcher")
    assert unreachable == 0
    assert listed[watcher : watcher + 4] == ["watcher", "sweep", "proposals", "reconciliation"]
    # The other three heartbeats share a check with the watcher's.
    assert listed[1 : watcher + 1] + listed[watcher + 4 :] == subjects(everything_wrong())
    assert len(CHECKS) == len(listed) - 4
    assert subjects(Scrape([], None, NOW)) == listed[:1]


@pytest.mark.parametrize("finding", diagnose(everything_wrong()), ids=lambda finding: finding.subject)
def test_a_fix_names_only_commands_that_exist(finding: Finding) -> None:
    assert set(re.findall(r"\bharvest ([a-z]+)", finding.remedy)) <= set(COMMANDS)
