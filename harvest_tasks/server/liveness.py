"""Signs of life and running sums, kept where they outlive every process.

A sign of life is the time at which a part of Harvest last did its work, whether or not anything changed: a calm market
must not look like a dead service. A sum only grows.
"""

from collections.abc import Mapping
from math import inf, isnan
from typing import Final

from harvest_tasks.server import keys
from harvest_tasks.server.client import Client

BEAT_MS: Final = "beat_ms"
"""Heartbeat field: when beat last got a task run (unix ms, like all of them)."""
PROPOSALS_CYCLE_MS: Final = "proposals_cycle_ms"
"""When a cycle of proposals last ended, even if it published nothing."""
WATCHED_MS: Final = "watched_ms"
"""When a watcher last ended a slice of work."""
SWEPT_MS: Final = "swept_ms"
"""When a sweep over the open positions last ended."""
RECONCILED_MS: Final = "reconciled_ms"
"""When positions were last compared with the exchange."""
PARTS: Final = {
    "beat": BEAT_MS,
    "watcher": WATCHED_MS,
    "sweep": SWEPT_MS,
    "proposals": PROPOSALS_CYCLE_MS,
    "reconciliation": RECONCILED_MS,
}
"""The parts of Harvest with a sign of life, and its field."""
STALE_INTERVALS: Final = 3
GRACE_SEC: Final = 20.0

STARTED_PREFIX: Final = "started_ms:"
"""Before a worker's name: when it last started."""

PROPOSALS_PREFIX: Final = "proposals:"
SWEPT_PREFIX: Final = "swept:"
STARTS_PREFIX: Final = "starts:"
"""Prefixes of the names of sums."""
FAILED_BOOKS: Final = "books:failed"
"""Sum: how often a book could not be read, planned or written."""


def oldest_sec(interval_sec: float) -> float:
    """The age beyond which a sign of life means that its part, which works every `interval_sec`, is late."""
    return STALE_INTERVALS * interval_sec + GRACE_SEC


def ages_sec(signs: Mapping[str, str], now_ms: int) -> dict[str, float]:
    """Seconds since each part last did its work, by the fields of the hash; infinite if it never did."""
    return {part: _age_sec(signs.get(sign, ""), now_ms) for part, sign in PARTS.items()}


def starts_ms(signs: Mapping[str, str]) -> dict[str, str]:
    """When each worker last started (unix ms, as text), by its node name."""
    return {name.removeprefix(STARTED_PREFIX): ms for name, ms in signs.items() if name.startswith(STARTED_PREFIX)}


def _age_sec(sign: str, now_ms: int) -> float:
    try:
        at = float(sign)
    except ValueError:
        return inf
    return inf if isnan(at) else max(0.0, now_ms - at) / 1000


def record_sign(client: Client, sign: str, now_ms: int, sums: Mapping[str, int] | None = None) -> None:
    """Set `sign` to `now_ms` (unix ms), and add `sums` to the running ones, in one round trip."""
    with client.pipeline(transaction=False) as pipe:
        pipe.hset(keys.HEARTBEAT, sign, now_ms)
        for name, count in (sums or {}).items():
            pipe.hincrby(keys.COUNTS, name, count)
        pipe.execute()


def count_failed(client: Client, books: int) -> None:
    """Add `books` to the sum of books that could not be read, planned or written."""
    if books:
        client.hincrby(keys.COUNTS, FAILED_BOOKS, books)


def record_start(client: Client, worker: str, now_ms: int) -> None:
    """Record that the worker with this node name starts to consume."""
    record_sign(client, STARTED_PREFIX + worker, now_ms, {STARTS_PREFIX + worker: 1})
