"""What a real worker writes about the entries it was fed: a line for each outcome, and none for each tick."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from cluster import Program, inherited, worker_program
from desk import Desk
from entries import BUY
from waiting import wait_until

from harvest_tasks.messaging.configuration import configuration
from harvest_tasks.processes.embedded_server import EmbeddedServer
from harvest_tasks.server.client import Client, connect
from harvest_tasks.settings.model import Settings

MARK = {"symbol": "BTCUSDT", "status": "PRICE_UPDATE", "price": "105.2"}


@pytest.fixture
def app(url: str) -> Iterator[Celery]:
    made = Celery("harvest_tasks", set_as_current=False)
    made.conf.update(configuration(Settings.from_env({"REDIS_URL": url})))
    yield made
    made.close()


@pytest.fixture
def worker(url: str, tmp_path: Path) -> Iterator[Program]:
    environ = {**inherited(), "REDIS_URL": url, "LOG_FORMAT": "json", "WATCH_SLICE_SEC": "0.5"}
    started = worker_program("all", "fills,watch,control", 3, environ, tmp_path)
    started.start()
    yield started
    started.close()


@pytest.fixture
def state(server: EmbeddedServer) -> Iterator[EmbeddedServer]:
    """A server of its own for what is tracked: messages go on without it."""
    with EmbeddedServer(server.executable) as running:
        yield running


@pytest.fixture
def lone_worker(url: str, state: EmbeddedServer, tmp_path: Path) -> Iterator[Program]:
    """One process, whose messages are on another server than what it tracks."""
    urls = {"REDIS_URL": state.url(), "BROKER_URL": url.rpartition("/")[0] + "/1"}
    started = worker_program("control", "control", 1, {**inherited(), **urls, "LOG_FORMAT": "json"}, tmp_path)
    started.start()
    yield started
    started.close()


def logged(worker: Program) -> list[dict[str, Any]]:
    """Every line but Celery's banner and Python's warnings."""
    lines = worker.logs().decode().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def test_each_outcome_has_one_line_with_its_task_its_book_and_its_entry(
    redis: Client, worker: Program, app: Celery
) -> None:
    desk = Desk(redis)
    bought, marked, refused = desk.feed(BUY, MARK, {**BUY, "qty": "NaN", "symbol": "ETHUSDT"})
    app.send_task("harvest_tasks.watcher.watch_fills")
    wait_until(lambda: len(desk.suggestions()) == 2, 30.0, "the suggestions")
    for _ in range(3):
        app.send_task("harvest_tasks.sweep.evaluate_positions")
    app.send_task("harvest_tasks.health.heartbeat")
    wait_until(lambda: redis.exists("quantum:harvest:heartbeat"), 30.0, "all that was sent is done")
    ours = [line for line in logged(worker) if line["logger"].startswith("harvest_tasks")]
    outcomes = [(line["event"], line["book"]) for line in ours if line["event"] != "frozen"]
    assert sorted(outcomes) == [
        ("deadletter", "ETHUSDT"),
        ("position", "BTCUSDT"),
        ("published", "BTCUSDT"),
        ("published", "BTCUSDT"),
    ]
    assert {line["entry_id"] for line in ours if line["event"] == "published"} == {marked}
    assert {line["entry_id"] for line in ours if line["event"] == "deadletter"} == {refused}
    # The newest entry of a batch stands for all of it.
    assert {line["entry_id"] for line in ours if line["event"] == "position"} <= {bought, marked}
    assert all(line["task"] for line in ours)
    assert [line for line in logged(worker) if "Traceback" in line.get("error", "")] == []


def test_a_server_that_is_away_is_one_line_and_no_traceback(
    state: EmbeddedServer, lone_worker: Program, app: Celery, url: str
) -> None:
    state.close()
    for _ in range(3):
        app.send_task("harvest_tasks.health.heartbeat", ignore_result=True)
    app.send_task("harvest_tasks.sweep.evaluate_positions", ignore_result=True)
    wait_until(lambda: "evaluate_positions" in str(logged(lone_worker)), 30.0, "the last one failed")
    failed = [line for line in logged(lone_worker) if line["event"] == "task failed"]
    assert [line["name"].rpartition(".")[2] for line in failed] == ["heartbeat", "evaluate_positions"]
    assert all(line["problem"].startswith("ConnectionError: ") for line in failed)
    assert b"Traceback" not in lone_worker.logs()


def test_any_other_failure_shows_where_it_happened(lone_worker: Program, state: EmbeddedServer, app: Celery) -> None:
    with connect(state.url()) as client:
        client.set("quantum:harvest:heartbeat", "not a hash")
    for _ in range(2):
        app.send_task("harvest_tasks.health.heartbeat", ignore_result=True)
    wait_until(lambda: lone_worker.logs().count(b"Traceback") == 2, 30.0, "both failures")
