"""Heartbeats: when each part of Harvest last completed its work, and how often it should."""

from collections.abc import Iterator, Mapping
from math import isnan
from typing import Final

from prometheus_client.core import Metric

from harvest_tasks.fills.lease import LEASE_MS
from harvest_tasks.metrics.families import gauges, parse_number
from harvest_tasks.metrics.replies import Command, Replies
from harvest_tasks.server import keys, liveness
from harvest_tasks.settings.model import Settings
from schedules.beat import EVERY_SEC, HEARTBEAT_SEC

NEVER: Final = float("inf")
HEARTBEAT_FIELDS: Final = {
    "beat": liveness.BEAT_MS,
    "watcher": liveness.WATCHED_MS,
    "sweep": liveness.SWEPT_MS,
    "proposals": liveness.PROPOSALS_CYCLE_MS,
    "reconciliation": liveness.RECONCILED_MS,
}


def commands() -> dict[str, Command]:
    return {"heartbeat": ("HGETALL", keys.HEARTBEAT), "lease": ("PTTL", keys.LEASE)}


def families(replies: Replies, settings: Settings, now_ms: int) -> Iterator[Metric]:
    found: Mapping[str, str] = replies.get("heartbeat", {})
    ages = {(part,): _age(found.get(sign), now_ms) for part, sign in HEARTBEAT_FIELDS.items()}
    ages["watcher",] = min(ages["watcher",], _since_renewal(replies.get("lease", -2)))
    yield gauges(
        "heartbeat_age_seconds",
        "Time since this part of Harvest last completed its work; +Inf: never. If this grows, check its process.",
        ("of",),
        ages,
    )
    intervals = {
        "beat": HEARTBEAT_SEC,
        "watcher": settings.watch_slice_sec,
        "sweep": EVERY_SEC,
        "proposals": settings.publish_interval_sec,
        "reconciliation": settings.reconcile_interval_sec,
    }
    yield gauges(
        "heartbeat_interval_seconds",
        "Interval at which this part should complete its work, by the exporter's settings.",
        ("of",),
        {(part,): interval for part, interval in intervals.items()},
    )
    started = {
        (name.removeprefix(liveness.STARTED_PREFIX),): parse_number(ms) / 1000
        for name, ms in found.items()
        if name.startswith(liveness.STARTED_PREFIX)
    }
    yield gauges(
        "worker_started_timestamp_seconds",
        "Unix time at which this worker last started to consume.",
        ("worker",),
        started,
    )


def _age(ms: str | None, now_ms: int) -> float:
    """Seconds since `ms` (unix); infinite if it is missing or not a number."""
    at = parse_number(ms or "")
    return NEVER if isnan(at) else max(0.0, now_ms - at) / 1000


def _since_renewal(left_ms: int) -> float:
    """Seconds since the watcher renewed its lease, by the milliseconds left of it; infinite if nobody holds it."""
    return max(0, LEASE_MS - left_ms) / 1000 if left_ms > 0 else NEVER
