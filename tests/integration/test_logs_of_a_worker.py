"""What a real worker writes about the entries it was fed: a line for each outcome, and none for each tick."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from cluster import Program, inherited, worker_program
from desk import Desk
from waiting import wait_until

from harvest_tasks.configuration import configuration
from harvest_tasks.connection import Client
from harvest_tasks.settings import Settings

MARK = {"symbol": "BTCUSDT", "status": "PRICE_UPDATE", "price": "105.2"}
BUY = {"symbol": "BTCUSDT", "status": "FILLED", "side": "BUY", "qty": "1", "price": "100", "stop_loss": "90"}


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


def told(worker: Program) -> list[dict[str, Any]]:
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
    ours = [line for line in told(worker) if line["logger"].startswith("harvest_tasks")]
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
    assert [line for line in told(worker) if "Traceback" in line.get("error", "")] == []
