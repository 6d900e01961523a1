"""The command line before any command runs."""

import subprocess
import sys

from click.testing import CliRunner

from harvest_tasks.cli import COMMANDS, main

HEAVY = ("celery", "redis", "pydantic", "rich")


def test_every_listed_command_exists_under_its_name() -> None:
    for name in COMMANDS:
        shown = CliRunner().invoke(main, [name, "--help"])
        assert shown.exit_code == 0, name
        assert shown.output.startswith(f"Usage: main {name}")


def test_help_lists_every_command() -> None:
    shown = CliRunner().invoke(main, ["--help"]).output
    assert all(f"\n  {name}  " in shown for name in COMMANDS)


def test_help_imports_nothing_heavy() -> None:
    program = "import sys, harvest_tasks.cli as c; c.main(['--help'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    assert not set(HEAVY) & set(done.stdout.split())


def test_an_unknown_command_is_a_usage_error() -> None:
    assert CliRunner().invoke(main, ["harvst"]).exit_code == 2
