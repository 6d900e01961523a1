"""Celery's queues: waiting messages, and messages that a worker took but has not finished."""

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import Metric

from harvest_tasks.messaging.configuration import QUEUES
from harvest_tasks.metrics.families import gauge, gauges
from harvest_tasks.metrics.replies import Replies
from harvest_tasks.server.client import Command

UNACKED: Final = "unacked_index"
"""Kombu's sorted set of messages taken by workers. Score: when (unix seconds, by the worker's clock)."""


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
        "Messages waiting in a queue; they carry no data. If they pile up, check that a worker consumes the queue.",
        ("queue",),
        {(queue,): float(replies.get(queue, 0)) for queue in QUEUES},
    )
    yield gauge(
        "queue_unacked_messages", "Messages that a worker took but has not finished.", replies.get("unacked", 0)
    )
    yield gauge(
        "queue_oldest_unacked_seconds",
        "Age of the oldest unfinished message; 0 if there is none. Over 60 s: its worker died and no other took over.",
        _age(replies),
    )


def _age(replies: Replies) -> float:
    oldest, time = replies.get("oldest"), replies.get("time")
    if not oldest or not time:
        return 0
    seconds, micros = time
    return float(max(0.0, seconds + micros / 1e6 - float(oldest[1])))
