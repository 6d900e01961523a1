"""Celery's queues: bells that wait, and bells that a worker took and did not finish."""

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import Metric

from harvest_tasks.messaging.configuration import QUEUES
from harvest_tasks.metrics.families import gauge, gauges
from harvest_tasks.metrics.replies import Command, Replies

UNACKED: Final = "unacked_index"
"""Kombu's sorted set of the messages that workers took; score: when (unix s, by the worker's clock)."""


def commands() -> dict[str, Command]:
    return {
        "time": ("TIME",),
        **{queue: ("LLEN", queue) for queue in QUEUES},
        "unacked": ("ZCARD", UNACKED),
        "oldest": ("ZRANGE", UNACKED, 0, 0, "WITHSCORES"),
    }


def families(replies: Replies) -> Iterator[Metric]:
    yield gauges(
        "queue_messages",
        "Bells that wait in a queue. They carry no data; if they pile up, no worker consumes the queue.",
        ("queue",),
        {(queue,): float(replies.get(queue, 0)) for queue in QUEUES},
    )
    yield gauge("queue_unacked_messages", "Bells that a worker took and did not finish.", replies.get("unacked", 0))
    yield gauge(
        "queue_oldest_unacked_seconds",
        "Age of the oldest of those; 0 without one. Over 60 s its worker is dead and no other takes it over.",
        _age(replies),
    )


def _age(replies: Replies) -> float:
    oldest, time = replies.get("oldest"), replies.get("time")
    if not oldest or not time:
        return 0
    seconds, micros = time
    return float(max(0.0, seconds + micros / 1e6 - float(oldest[1])))
