"""The fault classes that kill, stop and starve real workers, each at a small scale; `make faults` runs all of them.

And the failpoints by which they do it: no process has them that was not started for them.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGKILL

import pytest
from laboratory import messages, random_kills, recovery, stalls, watcher_kills, worker_kills
from laboratory.arena import Arena, executable
from laboratory.fleet import TESTS, Fleet
from laboratory.report import Result
from users import logins
from waiting import wait_until

SEED = int(os.environ.get("E2E_SEED", "20260123"))
FEWEST_KILLS = 5
AT_ONCE = 3
FEW_FILLS_A_SECOND = 50.0
"""As many as the slowest machine keeps up with."""

WITHOUT = """
import sys
from harvest_tasks import tasks
from harvest_tasks.fills.stream import InputStream
print("laboratory.failpoints" in sys.modules, hasattr(InputStream.read, "__wrapped__"))
"""
REACH = """
from laboratory import failpoints
failpoints.reach("fills.load.after")
"""


@pytest.fixture
def judged(measured: Callable[[str], None]) -> Callable[[Result], None]:
    def judge(result: Result) -> None:
        measured(f"{result.cases} cases, {result.fills} fills, {result.intents} intents; {result.notes}")
        assert result.passed, "\n".join(line for failure in result.failures for line in failure.lines())
        assert result.fills > 0
        assert result.intents > 0

    return judge


def arena(fault_id: str, scale: float) -> Arena:
    return Arena(fault_id, SEED, scale)


def test_workers_killed_at_each_step_lose_and_double_nothing(judged: Callable[[Result], None]) -> None:
    with arena(worker_kills.ID, 0.05) as place:
        result = worker_kills.run(place)
    judged(result)
    assert result.cases > len(worker_kills.STEPS)


def test_watchers_killed_at_a_step_lose_and_double_nothing(judged: Callable[[Result], None]) -> None:
    with arena(watcher_kills.ID, FEWEST_KILLS / watcher_kills.CASES) as place:
        result = watcher_kills.run(place)
    judged(result)
    assert result.cases >= FEWEST_KILLS


def test_processes_that_stood_still_past_every_lock_change_nothing(judged: Callable[[Result], None]) -> None:
    with arena(stalls.ID, 0.1) as place:
        result = stalls.run(place)
    judged(result)
    assert result.cases >= len(("worker", "worker", "watcher"))


def test_messages_that_are_lost_doubled_or_late_cost_time_only(judged: Callable[[Result], None]) -> None:
    with arena(messages.ID, 0.1) as place:
        result = messages.run(place)
    judged(result)
    assert result.cases >= messages.CASES // 10


def test_a_storm_of_kills_loses_and_doubles_nothing(judged: Callable[[Result], None]) -> None:
    with arena(random_kills.ID, 0.05) as place:
        result = random_kills.run(place)
    judged(result)
    assert result.cases > 1


def test_fills_become_intents_again_after_a_kill(judged: Callable[[Result], None]) -> None:
    killed = (recovery.CHILD, recovery.BEAT, recovery.SERVER)
    with arena(recovery.ID, 1 / recovery.SAMPLES) as place:
        result = recovery.run(place, killed, FEW_FILLS_A_SECOND)
    judged(result)
    assert set(killed) <= set(result.notes["recovery"])  # type: ignore[call-overload]


def test_no_process_of_a_fleet_is_the_owner() -> None:
    with Fleet(executable(), {}, is_observed=True) as fleet:
        before = logins(fleet.client)
        for program in fleet.programs.values():
            program.kill()
        wait_until(lambda: set(logins(fleet.client)) == {"default"}, 10.0, "their connections are gone")
        assert {*before} == {"default", "harvest-brain", "harvest-proposal", "harvest-beat"}
        assert logins(fleet.client)["default"] == before["default"]


def python(script: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    environ = {**environ, "PYTHONPATH": str(TESTS)}
    argv = [sys.executable, "-c", script]
    return subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=60.0, check=False)  # noqa: S603 - ours


def test_a_worker_has_no_failpoints_unless_it_is_started_for_them(environ: dict[str, str], tmp_path: Path) -> None:
    assert python(WITHOUT, environ).stdout.split() == ["False", "False"]
    refused = python(WITHOUT, {**environ, "HARVEST_FAILPOINT": str(tmp_path)})
    assert refused.returncode == os.EX_CONFIG
    assert "HARVEST_FAILPOINT: is not a setting" in refused.stderr


@pytest.mark.parametrize("place", ["", "no/such/place"])
def test_failpoints_need_a_directory(environ: dict[str, str], place: str) -> None:
    refused = python(REACH, {**environ, "HARVEST_FAILPOINT": place})
    assert refused.returncode == os.EX_CONFIG
    assert refused.stderr == f"HARVEST_FAILPOINT='{place}': must name a directory by its whole path\n"


def test_an_armed_step_ends_one_process_and_lets_the_others_pass(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "fills.load.after").write_text("kill")
    place = {**environ, "HARVEST_FAILPOINT": str(tmp_path)}
    with ThreadPoolExecutor(AT_ONCE) as threads:
        done = list(threads.map(lambda _: python(REACH, place), range(AT_ONCE)))
    assert sorted(each.returncode for each in done) == [-SIGKILL, *[0] * (AT_ONCE - 1)]
    assert [file.name.rpartition(".")[0] for file in tmp_path.iterdir()] == ["fills.load.after"]
