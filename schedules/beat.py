"""When Harvest runs: what beat sends, as plain data with the tasks named by string.

A message that no worker took before it `expires` is dropped: the next one asks for the same.
"""

from collections.abc import Sequence
from typing import Final, TypedDict

MOST_ENTRIES: Final = 100
"""Entries for proposals. Beat compares all entries before each one it sends, so its work grows with their square."""
SMALLEST_CHUNK: Final = 500
"""Symbols in one message: enough to make the cost of the message small, and to let the server publish most proposals
while the rest is computed.
"""
EVERY_SEC: Final = 1.0
HEARTBEAT_SEC: Final = 5.0
EXPIRES_SEC: Final = 5.0
"""More than the clocks of two hosts may differ: a worker that is further ahead of beat would drop every message."""


class ScheduleEntry(TypedDict):
    """Sends `task(*args)` to `queue` at `offset`, `offset + every`, ... seconds after the UTC epoch."""

    task: str
    args: tuple[list[str], ...]
    queue: str
    every: float
    offset: float
    expires: float


def beat_schedule(
    symbols: Sequence[str] | None, publish_interval_sec: float, reconcile_interval_sec: float
) -> dict[str, ScheduleEntry]:
    """Every entry by its name. `symbols` is None to follow the open positions; intervals are in seconds."""
    return {**_periodic_tasks(reconcile_interval_sec), **_proposals(symbols, publish_interval_sec)}


def _periodic_tasks(reconcile_interval_sec: float) -> dict[str, ScheduleEntry]:
    return {
        "watch_fills": _periodic_task("harvest_tasks.watcher.watch_fills", "watch", EVERY_SEC, 0.0),
        "evaluate_positions": _periodic_task("harvest_tasks.sweep.evaluate_positions", "control", EVERY_SEC, 0.5),
        "heartbeat": _periodic_task("harvest_tasks.health.heartbeat", "control", HEARTBEAT_SEC, 0.25),
        "reconcile_positions": _periodic_task(
            "harvest_tasks.reconciliation.reconcile_positions", "control", reconcile_interval_sec, 0.75
        ),
    }


def _periodic_task(task: str, queue: str, every: float, offset: float) -> ScheduleEntry:
    return ScheduleEntry(task=task, args=(), queue=queue, every=every, offset=offset, expires=EXPIRES_SEC)


def _proposals(symbols: Sequence[str] | None, interval: float) -> dict[str, ScheduleEntry]:
    chunks = _chunks(symbols)
    return {
        name: ScheduleEntry(
            task="harvest_tasks.proposals.compute_proposals",
            args=(chunk,),
            queue="proposals",
            every=interval,
            offset=interval * place / len(chunks),
            expires=0.9 * interval,
        )
        for place, (name, chunk) in enumerate(chunks.items())
    }


def _chunks(symbols: Sequence[str] | None) -> dict[str, list[str]]:
    """The symbols of each entry: one, until there would be too many entries."""
    if symbols is None:
        return {"proposals of open positions": ["*"]}
    if len(symbols) <= MOST_ENTRIES:
        return {f"proposal of {symbol}": [symbol] for symbol in symbols}
    size = max(SMALLEST_CHUNK, -(-len(symbols) // MOST_ENTRIES))
    starts = range(0, len(symbols), size)
    return {f"proposals {start + 1} to {start + size}": list(symbols[start : start + size]) for start in starts}
