"""A worker that connects again watches its children again, and passes over one that has just exited."""

import os

from kombu.asynchronous.hub import Hub

from harvest_tasks.celery import app
from harvest_tasks.messaging.pool import Children, TaskPool


class Child:
    """As the pool keeps it; `_sentinel_poll` is None between its exit and its replacement."""

    def __init__(self, sentinel: int | None) -> None:
        self._sentinel_poll = sentinel


def watched(*sentinels: int | None) -> set[int]:
    children = object.__new__(Children)  # without forking any
    hub = Hub()
    try:
        for sentinel in sentinels:
            children._track_child_process(Child(sentinel), hub)
        return set(hub.readers)
    finally:
        hub.close()


def test_a_child_that_has_just_exited_is_passed_over() -> None:
    reading, writing = os.pipe()
    try:
        assert watched(None, reading, None) == {reading}
    finally:
        os.close(reading)
        os.close(writing)


def test_workers_use_this_pool() -> None:
    assert app.conf.worker_pool == "harvest_tasks.messaging.pool:TaskPool"
    assert TaskPool.Pool is Children
