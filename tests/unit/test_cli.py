"""The command line before any command runs."""

import subprocess
import sys

import pytest
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


@pytest.mark.parametrize(
    "option",
    [
        "paper --slippage-bps",
        "paper --fee-bps",
        "paper --reject-share",
        "paper --ignore-share",
        "demo --speed",
        "proof --seconds",
    ],
)
@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_a_number_that_is_not_finite_is_a_usage_error(option: str, number: str) -> None:
    shown = CliRunner().invoke(main, f"{option}={number}")
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert shown.stderr.splitlines()[-1].startswith(f"Error: Invalid value for '{option.split()[1]}': {number} is not ")


@pytest.mark.parametrize("command", ["explain", "release", "release --switch-mode"])
@pytest.mark.parametrize("book", ["!!", "BTCUSDT:", "BTCUSDT:BOTH", "BTCUSDT:LONG:LONG"])
def test_a_name_that_no_book_can_have_is_a_usage_error(command: str, book: str) -> None:
    shown = CliRunner().invoke(main, f"{command} {book}")
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert shown.stderr.splitlines()[-1] == (
        f"Error: Invalid value for '{'BOOK' if command == 'explain' else '[BOOK]'}': '{book}' is not a book: "
        "expected a symbol such as BTCUSDT, or BTCUSDT:LONG or BTCUSDT:SHORT in hedge mode"
    )


def test_a_name_that_is_no_symbol_is_a_usage_error() -> None:
    shown = CliRunner().invoke(main, "intents --symbol !!")
    assert shown.exit_code == 2
    assert "'!!' is not a symbol: expected A-Z and 0-9 only, such as BTCUSDT" in shown.stderr


def test_an_unknown_command_is_a_usage_error() -> None:
    assert CliRunner().invoke(main, ["harvst"]).exit_code == 2
