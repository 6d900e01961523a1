"""Heartbeats: when each part of Harvest last completed its work, and how often it should."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import Metric

from harvest_tasks.fills.lease import since_renewal_sec
from harvest_tasks.metrics.families import gauges, parse_number
from harvest_tasks.metrics.replies import Replies
from harvest_tasks.server import keys, liveness
from harvest_tasks.server.client import Command
from harvest_tasks.settings.model import Settings
from schedules.beat import EVERY_SEC, HEARTBEAT_SEC


def commands() -> dict[str, Command]:
    return {"heartbeat": ("HGETALL", keys.HEARTBEAT), "lease": ("PTTL", keys.LEASE)}


def families(replies: Replies, settings: Settings, now_ms: int) -> Iterator[Metric]:
    found: Mapping[str, str] = replies.get("heartbeat", {})
    ages = {(part,): age for part, age in liveness.ages_sec(found, now_ms).items()}
    ages["watcher",] = min(ages["watcher",], since_renewal_sec(replies.get("lease", -2)))
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
    started = {(worker,): parse_number(ms) / 1000 for worker, ms in liveness.starts_ms(found).items()}
    yield gauges(
        "worker_started_timestamp_seconds",
        "Unix time at which this worker last started to consume.",
        ("worker",),
        started,
    )
