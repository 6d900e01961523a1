"""`harvest run`: the very processes that `harvest up` keeps, one at a time."""

import os
from collections.abc import Mapping

import pytest
from click.testing import CliRunner

from harvest_tasks.cli import main
from harvest_tasks.commands.run import NAMES
from harvest_tasks.processes import roles
from harvest_tasks.settings.model import Settings

Executed = list[list[str]]


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> Executed:
    """Command lines that this process would have become."""
    seen: Executed = []

    def execve(path: str, argv: list[str], environ: Mapping[str, str]) -> None:
        assert path == argv[0]
        assert environ["PATH"] == os.environ["PATH"]
        seen.append(argv)

    monkeypatch.setattr(os, "execve", execve)
    return seen


def test_it_becomes_each_process_that_up_keeps(executed: Executed) -> None:
    for name in NAMES:
        assert CliRunner().invoke(main, ["run", name], env={"REDIS_URL": "redis://localhost"}).exit_code == 0
    kept = [*roles.workers(2, Settings(), watched=True), roles.beat(), roles.flower(5555)]
    assert executed == [child.argv for child in kept]


def test_a_wrong_setting_is_one_line_and_exit_code_2(executed: Executed) -> None:
    done = CliRunner().invoke(main, ["run", "beat"], env={"HARVEST_MODE": "on"})
    assert (done.exit_code, done.output) == (2, "harvest: HARVEST_MODE='on': must be shadow or live\n")
    assert executed == []
