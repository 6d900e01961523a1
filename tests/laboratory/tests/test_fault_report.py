"""What a run of the fault harness tells: the table, the failures, the JSON."""

import json
from importlib import import_module
from pathlib import Path

import pytest
from laboratory.__main__ import main
from laboratory.arena import Arena
from laboratory.fault_classes import CLASSES
from laboratory.report import Failure, Result, table, write

FAILURE = Failure("F1", 7, "worker 1: GET a\nworker 1: crashes", "an intent is out twice")


def result(**counts: int) -> Result:
    return Result("F1", "interleavings", **{"cases": 3, "fills": 2, "intents": 1, **counts})


def test_a_result_passes_when_something_was_tried_and_everything_held() -> None:
    assert result().passed
    assert not result(cases=0).passed
    for wrong in ("lost", "doubled", "torn", "out_of_order"):
        assert not result(**{wrong: 1}).passed
    failed = result()
    failed.failures.append(FAILURE)
    assert not failed.passed


def test_the_table_has_a_line_for_each_class_and_then_what_failed() -> None:
    failed = result(cases=20_000, doubled=1)
    failed.failures.append(FAILURE)
    failed.notes["schedules"] = {"one fill": 12, "two fills": 3_456}
    lines = list(table([failed]))
    assert lines[0].split()[:4] == ["class", "cases", "fills", "intents"]
    assert lines[1].split()[2:] == ["20,000", "2", "1", "0", "1", "0", "0", "0.0", "FAILED"]
    assert lines[2] == "F1 schedules: one fill 12, two fills 3,456"
    assert lines[3:] == [
        "F1 failed: an intent is out twice",
        "  again: make faults SEED=7 ONLY=F1",
        "    worker 1: GET a",
        "    worker 1: crashes",
    ]


def test_rounds_add_up() -> None:
    both, second = result(lost=1), result()
    second.failures.append(FAILURE)
    both.add(second)
    assert (both.cases, both.fills, both.lost, both.failures) == (6, 4, 1, [FAILURE])


def test_the_json_lifts_what_has_a_place_of_its_own(tmp_path: Path) -> None:
    known = Result("BAD", "known-bad designs", cases=1, notes={"known_bad": {"a": "caught"}, "shown": "too"})
    write(tmp_path / "deep/latest.json", 7, [result(), known])
    latest = json.loads((tmp_path / "deep/latest.json").read_text())
    assert latest["seed"] == 7
    assert latest["known_bad"] == {"a": "caught"}
    assert [each["id"] for each in latest["classes"]] == ["F1", "BAD"]
    assert latest["classes"][1]["notes"] == {"shown": "too"}


def test_the_same_seed_and_class_give_the_same_chances() -> None:
    drawn = []
    for fault_id, seed in (("F1", 1), ("F1", 1), ("F1", 2), ("F2", 1)):
        with Arena(fault_id, seed) as arena:
            drawn.append((arena.rng.random(), arena.chance("part").random()))
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3


def test_a_scale_makes_fewer_cases_but_never_none() -> None:
    with Arena("F1", 1, scale=0.01) as arena:
        assert (arena.count(1000), arena.count(3)) == (10, 1)


@pytest.mark.parametrize("argv", [["--only", "F99"], ["--only", ","], ["--scale", "0"], ["--seed", "x"]])
def test_wrong_usage_is_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2
    assert "make faults: error: argument" in capsys.readouterr().err


def test_every_class_has_a_module_of_its_own() -> None:
    modules = [import_module(f"laboratory.{name}") for name in CLASSES.values()]
    assert [module.ID for module in modules] == list(CLASSES)
