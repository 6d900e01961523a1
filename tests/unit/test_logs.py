"""Log lines: text that grep finds, or JSON that a collector reads; the task that runs, and no password, in both."""

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from hypothesis import given
from hypothesis import strategies as st

from harvest_tasks.logs import Line, LogFormat, formatter
from harvest_tasks.messaging.configuration import configuration
from harvest_tasks.settings.model import Settings

URL = "redis://brain:hunter2@cache:6379/0"


def record(message: object, *args: object, error: bool = False) -> logging.LogRecord:
    info = sys.exc_info() if error else None
    return logging.LogRecord("harvest_tasks.fills.brain", logging.INFO, __file__, 1, message, args, info)


def as_text(message: object, *args: object) -> str:
    return formatter(LogFormat.TEXT).format(record(message, *args))


def as_json(message: object, *args: object, error: bool = False) -> dict[str, Any]:
    (line,) = formatter(LogFormat.JSON).format(record(message, *args, error=error)).splitlines()
    logged: dict[str, Any] = json.loads(line)
    return logged


def test_text_has_its_facts_behind_the_event() -> None:
    line = Line("published", book="BTCUSDT", qty="0.25", reason="R=0.52 >= 0.5", why="")
    assert as_text(line).endswith(
        'INFO MainProcess harvest_tasks.fills.brain: published book=BTCUSDT qty=0.25 reason="R=0.52 >= 0.5" why=""'
    )


def test_json_has_its_facts_beside_the_event() -> None:
    logged = as_json(Line("published", book="BTCUSDT", n=2))
    assert (logged["event"], logged["book"], logged["n"], logged["level"]) == ("published", "BTCUSDT", 2, "INFO")
    assert logged["time"].endswith("+00:00")
    assert "task" not in logged


def test_a_line_of_a_library_is_an_event_without_facts() -> None:
    assert as_json("took %d of %s", 3, "them")["event"] == "took 3 of them"


@given(value=st.text())
def test_no_value_makes_a_second_line_or_ends_its_quotes(value: str) -> None:
    assert as_json(Line("x", value=value))["value"] == value
    assert len(as_text(Line("x", value=value, last="y")).splitlines()) == 1
    assert as_text(Line("x", value=value, last="y")).endswith(" last=y")


def _fail() -> None:
    raise ConnectionError(f"no answer from {URL}")


@pytest.mark.parametrize("form", LogFormat)
def test_a_password_in_a_url_is_left_out_wherever_it_stands(form: LogFormat) -> None:
    try:
        _fail()
    except ConnectionError:
        logged = [
            formatter(form).format(record(*said, error=True)) for said in (("lost %s", URL), (Line("x", url=URL),))
        ]
    for line in logged:
        assert "hunter2" not in line
        assert line.count("redis://***@cache:6379/0") >= 2
        assert "ConnectionError" in line


@pytest.fixture
def app() -> Iterator[Celery]:
    made = Celery("harvest_tasks", set_as_current=False)
    made.conf.update(configuration(Settings.from_env({"REDIS_URL": "redis://127.0.0.1:1/0"})))
    yield made
    made.close()


def test_both_name_the_task_that_runs(app: Celery) -> None:
    logged: list[str] = []

    @app.task(ignore_result=True)
    def speaking() -> None:
        logged.extend([as_text("x"), as_json("x")["task"]])

    speaking.apply(task_id="17")
    assert logged[0].endswith(": x task=17")
    assert logged[1] == "17"
