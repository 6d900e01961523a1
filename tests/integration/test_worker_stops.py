"""A worker that is asked to stop lets its children end their work, and goes."""

import os
import signal
from pathlib import Path
from time import sleep

import pytest
from celery import Celery
from cluster import Program, worker_program
from waiting import wait_until

from harvest_tasks.messaging.configuration import configuration
from harvest_tasks.server.client import connect
from harvest_tasks.settings.model import Settings

PROMPTLY_SEC = 15.0
"""A child that waits for somebody to read its result does so for 30 s."""

GIVEN_UP_AFTER_SEC = 2.0
"""By then the worker expects nothing of its child any more. Nothing outside shows when."""


@pytest.fixture
def worker(environ: dict[str, str], tmp_path: Path) -> Program:
    return worker_program("control", "control", 1, environ, tmp_path)


def test_a_task_that_was_handed_over_last_does_not_hold_it_up(worker: Program, url: str) -> None:
    """Its child says that it began, and what came of it, when nobody reads that any more."""
    app = Celery("harvest_tasks", set_as_current=False)
    app.conf.update(configuration(Settings.from_env({"REDIS_URL": url})))
    try:
        worker.start()
        (child,) = worker.children()
        os.kill(child, signal.SIGSTOP)
        app.send_task("harvest_tasks.health.heartbeat", ignore_result=True)
        broker = connect(url.rpartition("/")[0] + "/1")
        wait_until(lambda: broker.hlen("unacked") == 1, 10.0, "the worker took the message")
        broker.close()
        worker.kill("SIGTERM")
        wait_until(lambda: b"Warm shutdown" in worker.logs(), 10.0, "it heard")
        sleep(GIVEN_UP_AFTER_SEC)
        os.kill(child, signal.SIGCONT)
        wait_until(lambda: worker.status == "exited", PROMPTLY_SEC, "the worker is gone")
    finally:
        app.close()
        worker.close()
