"""What says that Harvest is alive: beat's heart, the ends of cycles, the starts of workers."""

import logging
from typing import Any

from celery.signals import worker_ready
from redis.exceptions import RedisError

from harvest_tasks.celery import app
from harvest_tasks.publishing.cycle import CycleSummary, Result
from harvest_tasks.server import liveness as signs
from harvest_tasks.server.client import Client, shared
from harvest_tasks.server.clock import server_ms, server_now
from harvest_tasks.settings.model import current

log = logging.getLogger(__name__)


@app.task(name="harvest_tasks.health.heartbeat", ignore_result=True)
def heartbeat() -> None:
    client = shared(current().redis_url)
    beat(client, server_now(client))


def beat(client: Client, now: float) -> None:
    signs.note(client, signs.BEAT_MS, int(now * 1000))


def record_cycle(client: Client, summary: CycleSummary) -> None:
    """Note that a cycle ended, and add what it did to the counters."""
    sums = {signs.PROPOSALS + name: count for name, count in _counts(summary).items()}
    signs.note(client, signs.PROPOSALS_CYCLE_MS, summary.now_ms, sums)


def _counts(summary: CycleSummary) -> dict[str, int]:
    results = {result.value: summary.count(result) for result in Result if result is not Result.SKIPPED}
    skipped = {f"skipped:{reason}": count for reason, count in summary.skipped.items()}
    counts = {**results, **skipped, "synthetic": len(summary.synthetic)}
    return {name: count for name, count in counts.items() if count}


def record_start(client: Client, worker: str) -> None:
    """Note that the worker of that node name begins to consume."""
    signs.note(client, signs.STARTED_PREFIX + worker, server_ms(client), {signs.STARTS + worker: 1})


@worker_ready.connect
def _started(sender: Any, **_: Any) -> None:
    try:
        record_start(shared(current().redis_url), sender.hostname)
    except RedisError as error:
        log.warning("the start of this worker is not counted: %s", error)
