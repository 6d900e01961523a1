"""Signs of life, apart from any change in the data: a calm market must not look like a dead service."""

from harvest_tasks import keys
from harvest_tasks.celery import app
from harvest_tasks.clock import server_now
from harvest_tasks.connection import Client, shared
from harvest_tasks.publishing.cycle import CycleSummary, Result
from harvest_tasks.settings import current

BEAT_MS = "beat_ms"
"""Heartbeat field: when beat last got a task run (unix ms)."""
PROPOSALS_CYCLE_MS = "proposals_cycle_ms"
"""Heartbeat field: when a cycle of proposals last ended, whatever it published (unix ms)."""


@app.task(name="harvest_tasks.health.heartbeat", ignore_result=True)
def heartbeat() -> None:
    client = shared(current().redis_url)
    beat(client, server_now(client))


def beat(client: Client, now: float) -> None:
    client.hset(keys.HEARTBEAT, BEAT_MS, int(now * 1000))


def record_cycle(client: Client, summary: CycleSummary) -> None:
    """Note that a cycle ended, and add what it did to the counters."""
    with client.pipeline(transaction=False) as pipe:
        pipe.hset(keys.HEARTBEAT, PROPOSALS_CYCLE_MS, summary.now_ms)
        for name, count in _counts(summary).items():
            pipe.hincrby(keys.COUNTS, f"proposals:{name}", count)
        pipe.execute()


def _counts(summary: CycleSummary) -> dict[str, int]:
    results = {result.value: summary.count(result) for result in Result if result is not Result.SKIPPED}
    skipped = {f"skipped:{reason}": count for reason, count in summary.skipped.items()}
    counts = {**results, **skipped, "synthetic": len(summary.synthetic)}
    return {name: count for name, count in counts.items() if count}
