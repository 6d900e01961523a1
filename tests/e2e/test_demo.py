"""`harvest demo` as its user runs it: real server, workers, beat and executor, on the prices that it carries.

It takes no other server than its own, which knows no users.
"""

import json
import os
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from processes import marked, program
from waiting import wait_until

from harvest_tasks.server.client import Client

README = Path(__file__).parents[2] / "README.md"
DEMO = [str(Path(sys.executable).with_name("harvest")), "demo"]
LONGEST_SEC = 75.0
"""A minute after set-up is promised; the rest is for a machine that runs other things, too."""


@pytest.fixture
def watched(environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Names a server and settings that the demo must not use; what it leaves can be seen."""
    short = tmp_path / "t"
    short.mkdir()
    return {**environ, "TMPDIR": str(short), "STARTED_BY_DEMO_TEST": tmp_path.name, "HARVEST_MIN_R": "nonsense"}


def lines_of_the_readme() -> list[str]:
    """What README.md shows of the demo's output, with single blanks."""
    block = README.read_text(encoding="utf-8").partition("Some of its lines:\n\n```\n")[2].partition("```")[0]
    return [" ".join(line.split()) for line in block.splitlines()]


def until_gone(watched: dict[str, str]) -> None:
    wait_until(lambda: not marked(watched["STARTED_BY_DEMO_TEST"]), 5.0, "no process is left")
    assert list(Path(watched["TMPDIR"]).iterdir()) == []


def plausible(summary: dict[str, Any]) -> None:
    fills, entries, intents = summary["fills"], summary["entries"], summary["intents"]
    closed = fills["closed_by_stop"] + fills["closed_by_time"] + fills["closed_by_end"]
    assert fills["opened"] == closed >= 10
    assert fills["in"] == fills["opened"] + fills["harvested"] + closed
    assert entries["in"] == sum(entries[name] for name in ("applied", "duplicate", "deadlettered", "ignored"))
    assert entries["duplicate"] == entries["deadlettered"] == 0
    assert intents["published"] == intents["filled"] + intents["rejected"]
    assert intents["filled"] == fills["harvested"] > 5
    assert summary["intents_by_rung"]["0.5"] >= summary["intents_by_rung"]["1.5"]
    assert min(summary["stop_moves"].values()) > 0
    assert summary["with_harvesting"]["positions"] == summary["without_harvesting"]["positions"] == fills["opened"]
    assert all(abs(Decimal(summary[way]["pnl"])) < 100_000 for way in ("with_harvesting", "without_harvesting"))
    assert summary["proposals"]["published"] > 0


def test_the_demo_verifies_itself_and_leaves_nothing(watched: dict[str, str], redis: Client) -> None:
    done = subprocess.run(  # noqa: S603 - our own program
        [*DEMO, "--json"], env=watched, capture_output=True, text=True, check=False, timeout=LONGEST_SEC
    )
    assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads(done.stdout)
    assert summary["verified"] is True
    assert summary["differences"] == []
    plausible(summary)
    assert "ignores the configured server" in done.stderr
    assert redis.dbsize() == 0
    until_gone(watched)
    if summary["minutes"] == summary["minutes_on_tape"]:
        # The same in every run, on every machine, as long as the kernel, the prices and the strategy are the same.
        assert (summary["intents_digest"], summary["with_harvesting"]["pnl"]) == ("e1b3c011909131a4", "23.34")
        printed = " ".join(done.stderr.split())
        assert len(lines_of_the_readme()) > 5
        assert [line for line in lines_of_the_readme() if line not in printed] == []


def test_a_demo_that_is_stopped_ends_cleanly(watched: dict[str, str]) -> None:
    with program(DEMO, stderr=subprocess.PIPE, environ={**watched, "COLUMNS": "200"}) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while not (line := process.stdout.readline()).startswith(b"minute "):
            assert line, process.stderr.read()
        os.kill(process.pid, signal.SIGINT)
        assert process.stderr.readline() == b"harvest: stopping all processes\n"
        assert process.poll() is None
        assert process.wait(20.0) == 130
        assert process.stderr.read().decode().splitlines()[-1] == (
            "harvest: stopped before the end, so there is nothing to verify"
        )
        until_gone(watched)
