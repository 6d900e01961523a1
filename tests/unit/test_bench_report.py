"""What a measurement says of itself: its row, its goal, and its place in the document."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import __main__ as program
from bench import report
from bench.cost import CpuTicks
from bench.processes import NotStarted
from bench.report import Goal, Result
from bench.setup import Setup

NAMES = ("name", "unit", "ours", "peer", "peer_name", "ratio", "spread")


def some(**values: object) -> Result:
    return Result(**{"name": "x", "unit": "ms", **values})  # type: ignore[arg-type]


def test_every_result_has_the_promised_names() -> None:
    assert set(NAMES) <= set(some().as_dict())


@pytest.mark.parametrize(
    ("goal", "met"),
    [
        (Goal("ours", at_most=5.0), True),
        (Goal("ours", at_most=4.9), False),
        (Goal("ours", at_least=5.0), True),
        (Goal("ratio", at_least=0.5), True),
        (Goal("ratio", at_least=0.51), False),
    ],
)
def test_a_goal_is_of_ours_or_of_the_ratio_and_includes_its_bound(goal: Goal, met: bool) -> None:
    assert some(ours=5.0, ratio=0.5, goal=goal).is_met is met


def test_a_goal_without_a_figure_is_missed() -> None:
    assert some(goal=Goal("ratio", at_least=0.5)).is_met is False


def test_what_was_skipped_has_one_line_and_no_figure() -> None:
    skipped = some(skipped="no wheel for this machine", goal=Goal("ours", at_least=1.0))
    assert report.lines(skipped) == [f"{'x':<38} skipped: no wheel for this machine"]
    assert skipped.is_met is None
    assert skipped.as_dict()["ours"] is None


def test_a_missed_goal_is_plain_to_see() -> None:
    assert "MISSED" in report.lines(some(ours=9.0, goal=Goal("ours", at_most=5.0)))[0]


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (0.123456, "0.123"), (12.34, "12.3"), (84_999.6, "85,000")])
def test_figures_have_three_digits_or_no_decimals(value: float | None, text: str) -> None:
    assert report.figure(value) == text


def test_the_document_says_which_machine_and_whether_it_was_quick(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "latest.json"
    report.write(path, [some(ours=1.0)], quick=True)
    written = json.loads(path.read_text())
    assert written["quick"] is True
    assert written["machine"]["cores"] >= 1
    assert written["results"][0]["ours"] == 1.0


def test_every_result_says_its_own_seconds_and_not_those_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(program, "monotonic", lambda: clock[0])

    def measure(_: Setup) -> Iterator[Result]:
        for seconds in (7.0, 2.0):
            clock[0] += seconds
            yield some(ours=1.0)
        clock[0] += 4.0
        raise NotStarted("a worker: not within 60 s")

    results = list(program._results("x", measure, Setup(quick=True)))
    assert [result.as_dict()["seconds"] for result in results] == [7.0, 2.0, 4.0]
    assert " 7 " in report.lines(results[0])[0]


def test_cpu_steal_is_a_share_of_the_wanted_time() -> None:
    assert CpuTicks(worked=130, steal=25).steal_share_since(CpuTicks(worked=100, steal=15)) == 0.25
    assert CpuTicks(worked=100, steal=15).steal_share_since(CpuTicks(worked=100, steal=15)) == 0.0


def test_the_row_has_the_cpu_steal() -> None:
    heading = report.HEADER.index(" steal")
    row = report.lines(some(ours=1.0, cpu_steal=0.34))[0]
    assert row[heading : heading + len(" steal")].strip() == "34%"
