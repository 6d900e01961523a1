"""What the doctor concludes from figures that no test server can be made to show."""

from collections.abc import Mapping

import pytest

from harvest_tasks.metrics.families import gauge, gauges
from harvest_tasks.metrics.scrape import Scrape
from harvest_tasks.operations.diagnosis import UNITS, diagnose

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
