"""Celery's own command on this app, in a process of its own."""

import os
import subprocess
import sys

import pytest

ROLES = (["worker"], ["beat"], ["flower"], ["report"], ["inspect", "ping"])


def celery(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "celery", "-A", "harvest_tasks", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - ours


@pytest.mark.parametrize("role", ROLES, ids=" ".join)
def test_a_wrong_setting_stops_every_role_with_one_line_and_no_traceback(
    role: list[str], environ: dict[str, str]
) -> None:
    ended = celery({**environ, "HARVEST_MODE": "on"}, *role)
    assert ended.stderr == "HARVEST_MODE='on': must be shadow or live\n"
    assert ended.stdout == ""
    assert ended.returncode == os.EX_CONFIG


def test_each_wrong_setting_has_its_line(environ: dict[str, str]) -> None:
    ended = celery({**environ, "HARVEST_MODE": "on", "HARVEST_MODES": "x", "SYMBOLS": ""}, "report")
    assert [line.partition("=")[0].partition(":")[0] for line in ended.stderr.splitlines()] == [
        "HARVEST_MODES",
        "SYMBOLS",
        "HARVEST_MODE",
    ]


def test_a_broker_in_the_environment_is_the_one_celery_uses(environ: dict[str, str]) -> None:
    """Celery's command takes BROKER_URL for an option of its own, too."""
    broker = environ["REDIS_URL"].rpartition("/")[0] + "/5"
    ended = celery({**environ, "BROKER_URL": broker}, "report")
    assert ended.returncode == 0, ended.stderr
    assert f"{broker.rpartition(':')[2]}'" in ended.stdout.partition("broker_url:")[2].partition("\n")[0]


def test_a_broker_given_behind_the_settings_is_refused(environ: dict[str, str]) -> None:
    ended = celery(environ, "--broker", "redis://:hunter2@elsewhere/1", "report")
    assert ended.stderr == (
        "CELERY_BROKER_URL='redis://***@elsewhere:6379/1': Celery would use it instead of BROKER_URL; unset it\n"
    )


def test_a_report_shows_no_password(environ: dict[str, str]) -> None:
    ended = celery({**environ, "REDIS_URL": "redis://:hunter2@localhost:1/0"}, "report")
    assert ended.returncode == 0, ended.stderr
    assert "hunter2" not in ended.stdout + ended.stderr
