"""Throughput with real Celery workers: with Flower and its events, and without."""

from collections.abc import Iterator
from statistics import median
from time import perf_counter
from typing import Final

from bench import desk, traffic
from bench.feed import Feed
from bench.pairs import in_turns
from bench.processes import harvest_up, wait_until
from bench.report import Goal, Result
from bench.setup import Setup
from harvest_tasks.server import keys

UNIT: Final = "entries/s"
BOOKS: Final = 500
FROM: Final = 0.1
"""Share of the backlog applied before the clock starts, because workers start slowly."""


def overhead(setup: Setup) -> Iterator[Result]:
    """The throughput of `harvest up` on a backlog, with and without Flower."""
    with desk.server() as url:
        stream = desk.settings(url).stream_execution_result
        feed = Feed(url, stream).fill(traffic.main(setup.pick(15_000, 4_000), BOOKS))
        pairs = in_turns(lambda: _rate(feed, url), lambda: _rate(feed, url, "--no-flower"), setup.pick(2, 1))
    yield Result(
        "flower_overhead",
        UNIT,
        median(pairs.ours),
        median(pairs.peer),
        "without Flower and events",
        pairs.ratio,
        pairs.spread,
        BOOKS,
        Goal("ratio", at_least=0.8),
        "real workers with Celery, beat and proposals; ours is with Flower",
    )


def _rate(feed: Feed, url: str, *options: str) -> float:
    """Entries per second, once the first part is applied."""
    feed.client.flushall()
    feed.restore()
    with harvest_up(*options, url=url, **desk.ENVIRON):
        started, before = _reached(feed, int(feed.entries * FROM))
        ended, after = _reached(feed, feed.entries)
    return (after - before) / (ended - started)


def _reached(feed: Feed, count: int) -> tuple[float, int]:
    """The time at which at least `count` entries are applied, and their number then."""
    found = [0]

    def is_reached() -> bool:
        found[0] = int(feed.client.hget(keys.COUNTS, "applied") or 0)
        return found[0] >= count

    wait_until(is_reached, f"{count} entries to be applied", within=300.0, poll=0.005)
    return perf_counter(), found[0]
