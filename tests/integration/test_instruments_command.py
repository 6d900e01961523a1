"""`harvest instruments`, and how a wrong file of the exchange's rules stops every process. No server is needed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from command_line import Harvest, in_process

from harvest_tasks.cli import main
from harvest_tasks.settings.model import Settings

SERVED = str(Path(__file__).parents[1] / "data" / "exchange_info.json")
NOWHERE = "redis://localhost:1/0"


@pytest.fixture
def clean() -> dict[str, str]:
    """The environment without any setting, and with a server that does not answer."""
    ours = {name.upper() for name in Settings.model_fields}
    return {**{name: text for name, text in os.environ.items() if name not in ours}, "REDIS_URL": NOWHERE}


@pytest.fixture
def instruments(clean: dict[str, str]) -> Harvest:
    """Runs the command in this process."""
    return in_process(clean, "instruments", columns=120)


@pytest.fixture
def wrong(tmp_path: Path) -> str:
    """The path of a file that lacks what it must say of BTCUSDT."""
    document = json.loads(Path(SERVED).read_bytes())
    document["symbols"][0]["filters"].pop()
    document["symbols"][0]["filters"][0].pop("tickSize")
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(document))
    return str(path)


def said(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def table(result: Result) -> list[list[str]]:
    """The words of each row."""
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("─")) + 1
    return [line.split() for line in lines[start : lines.index("", start)]]


def test_the_symbols_of_the_settings_are_shown(instruments: Harvest) -> None:
    assert table(instruments(INSTRUMENTS_FILE=SERVED)) == [
        ["BTCUSDT", "TRADING", "0.001", "0.001", "100", "USDT", "0.1", "120"],
        ["ETHUSDT", "TRADING", "0.001", "0.001", "20", "USDT", "0.01", "2000"],
        ["SOLUSDT", "TRADING", "0.01", "0.01", "5", "USDT", "0.01", "5000"],
    ]


def test_all_symbols_of_the_file_are_shown_by_name(instruments: Harvest) -> None:
    names = ["1000PEPEUSDT", "BTCUSDT", "BTCUSDT_260626", "ETHUSDT", "OMGUSDT", "SOLUSDT"]
    assert [row[0] for row in table(instruments("--all", INSTRUMENTS_FILE=SERVED))] == names
    assert [row[0] for row in table(instruments(INSTRUMENTS_FILE=SERVED, SYMBOLS="*"))] == names


def test_symbols_are_shown_as_asked_for_once_each(instruments: Harvest) -> None:
    shown = instruments("omgusdt", "BTCUSDT:LONG", "OMGUSDT", INSTRUMENTS_FILE=SERVED)
    assert [row[:2] for row in table(shown)] == [["OMGUSDT", "SETTLING"], ["BTCUSDT", "TRADING"]]


def test_the_minimum_value_is_the_one_that_harvest_obeys(instruments: Harvest) -> None:
    shown = table(instruments(INSTRUMENTS_FILE=SERVED, HARVEST_MIN_NOTIONAL="7.5"))
    assert [row[4] for row in shown] == ["100", "20", "7.5"]


def test_symbols_that_are_not_listed_are_named(instruments: Harvest) -> None:
    result = instruments(INSTRUMENTS_FILE=SERVED, SYMBOLS="BTCUSDT,FOOUSDT,BARUSDT", COLUMNS="400")
    assert [row[0] for row in table(result)] == ["BTCUSDT"]
    assert "Not in the file: FOOUSDT, BARUSDT. Without the exchange's rules, quantities" in result.stdout


def test_what_was_read_and_what_was_skipped_is_counted(instruments: Harvest) -> None:
    last = instruments(INSTRUMENTS_FILE=SERVED, COLUMNS="400").stdout.splitlines()[-1]
    assert last == f"{SERVED}: 6 symbols read, 1 skipped (names with characters other than A-Z and 0-9)."


@pytest.mark.parametrize(
    ("least", "bound"), [("0", "no order is too small"), ("5", "an order must be worth 5 (HARVEST_MIN_NOTIONAL)")]
)
@pytest.mark.parametrize("arguments", [[], ["--all"], ["BTCUSDT"]])
def test_without_a_file_it_says_what_holds_instead(
    instruments: Harvest, arguments: list[str], least: str, bound: str
) -> None:
    result = instruments(*arguments, HARVEST_MIN_NOTIONAL=least, COLUMNS="400")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "INSTRUMENTS_FILE is not set. Without the exchange's rules, quantities and stop prices have up to 12 decimals, "
        f"{bound}, and no order is split.",
        "Fix: save the response of GET /fapi/v1/exchangeInfo to a file, and set INSTRUMENTS_FILE to its path.",
    ]


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("arguments", [["--all"], ["BTCUSDT", "FOOUSDT"]])
def test_nothing_is_wider_than_the_terminal(instruments: Harvest, columns: int, arguments: list[str]) -> None:
    shown = instruments(*arguments, INSTRUMENTS_FILE=SERVED, COLUMNS=str(columns)).stdout
    # A path is not broken over lines.
    assert max(len(line) for line in shown.splitlines() if SERVED not in line) <= columns


def test_json_has_exact_figures_and_null_where_there_is_no_rule(instruments: Harvest) -> None:
    assert said(instruments("BTCUSDT", "FOOUSDT", "--json", INSTRUMENTS_FILE=SERVED, HARVEST_MIN_NOTIONAL="7.50")) == {
        "file": SERVED,
        "listed": 6,
        "skipped": 1,
        "harvest_min_notional": "7.5",
        "instruments": [
            {
                "symbol": "BTCUSDT",
                "status": "TRADING",
                "quote_asset": "USDT",
                "step": "0.001",
                "min_qty": "0.001",
                "min_notional": "100",
                "tick": "0.1",
                "max_qty": "120",
            },
            {
                "symbol": "FOOUSDT",
                "status": None,
                "quote_asset": None,
                "step": "0.000000000001",
                "min_qty": "0",
                "min_notional": "7.5",
                "tick": None,
                "max_qty": None,
            },
        ],
    }


def test_json_without_a_file_says_so(instruments: Harvest) -> None:
    shown = said(instruments("--json", SYMBOLS="BTCUSDT"))
    assert (shown["file"], shown["listed"], [row["status"] for row in shown["instruments"]]) == (None, 0, [None])
    assert said(instruments("--json", SYMBOLS="*"))["instruments"] == []


@pytest.mark.parametrize("arguments", [["BTC-USDT"], ["--all", "BTCUSDT"]])
def test_wrong_usage_is_reported(instruments: Harvest, arguments: list[str]) -> None:
    result = instruments(*arguments, INSTRUMENTS_FILE=SERVED)
    assert result.exit_code == 2
    assert "Error: " in result.stderr


# a wrong file


def test_a_wrong_file_ends_every_command_with_one_line(instruments: Harvest, clean: dict[str, str], wrong: str) -> None:
    result = instruments(INSTRUMENTS_FILE=wrong, COLUMNS="400")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("harvest: INSTRUMENTS_FILE='")
    assert result.stderr.endswith(": BTCUSDT: PRICE_FILTER has no tickSize\n")
    other = CliRunner().invoke(main, ["positions"], env={**clean, "INSTRUMENTS_FILE": wrong})
    assert (other.exit_code, other.stderr) == (2, result.stderr)


def test_a_wrong_file_stops_celery_with_one_line_and_no_traceback(clean: dict[str, str], wrong: str) -> None:
    command = [sys.executable, "-m", "celery", "-A", "harvest_tasks", "worker"]
    env = {**clean, "INSTRUMENTS_FILE": wrong}
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - ours
    assert ended.returncode == os.EX_CONFIG
    assert ended.stdout == ""
    assert ended.stderr.startswith("INSTRUMENTS_FILE='")
    assert ended.stderr.endswith(": BTCUSDT: PRICE_FILTER has no tickSize\n")
    assert ended.stderr.count("\n") == 1


def test_the_file_is_among_the_settings(clean: dict[str, str]) -> None:
    shown = CliRunner().invoke(main, ["config", "--json"], env={**clean, "INSTRUMENTS_FILE": SERVED})
    assert said(shown)["INSTRUMENTS_FILE"] == {"value": SERVED, "from": "environment"}
    unset = CliRunner().invoke(main, ["config", "--json"], env={**clean, "INSTRUMENTS_FILE": None})
    assert said(unset)["INSTRUMENTS_FILE"] == {"value": "none", "from": "default"}
