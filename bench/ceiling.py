"""The ceiling of one server: `python -m bench.ceiling`, in under a minute on a quiet machine.

Measures the CPU time of an entry in the server's main thread and in Harvest's processes, for several numbers of books.
From that, a model (see `queueing`) predicts the throughput of several workers on their own hosts, until the server's
thread is busy all the time. The first points are compared with real processes, as far as this machine has cores.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from os import getloadavg
from pathlib import Path
from time import monotonic, process_time
from typing import Any, Final

from bench import desk, ours, traffic
from bench.cost import Cost, measured
from bench.feed import Feed
from bench.queueing import Costs, point, point_on
from bench.report import machine
from harvest_tasks.fills.watcher import watch
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client, connect
from harvest_tasks.settings.model import Settings

TARGET: Final = Path(".bench/ceiling.json")
SIZES: Final = ((10, 5_000), (500, 5_000), (5_000, 10_000))
"""Books and entries, enough for each book to open and close positions."""
REPETITIONS: Final = 3
WORKERS: Final = (1, 2, 3, 4, 8)
CHECKED: Final = (1, 2, 3)
CHECKED_SIZE: Final = (500, 5_000)
LONGEST_SEC: Final = 60.0
MICRO: Final = 1e6
KINDS: Final = ("batch", "backlog")
NOTES: Final = (
    f"measured: the lowest of {REPETITIONS} repetitions, because other work on the machine only adds to a cost",
    "measured: of the server only the main thread, which executes commands",
    "batch: entries arrive 500 at a time and are applied before the next arrive: the smallest commits",
    "backlog: all entries are moved before the first is applied: the largest commits",
    "not included: Celery's messages, proposals, sweeps, Flower, and other users of the server",
    "model: one CPU core per process, no network delay, one watcher at a time",
    "checked: one watcher and the workers on this machine, without Celery, on a backlog; the best repetition;",
    "  a machine with other work has fewer free cores than it reports",
)

Work = Callable[[], None]


class _AllMoved(Exception):
    """All entries have been moved."""


@dataclass(frozen=True, slots=True)
class Used:
    """Seconds of CPU time: of the server's main thread, and of this process."""

    server: float
    own: float

    @classmethod
    def now(cls, client: Client) -> "Used":
        cpu = client.info("cpu")
        return cls(float(cpu["used_cpu_user_main_thread"]) + float(cpu["used_cpu_sys_main_thread"]), process_time())

    @classmethod
    def by(cls, client: Client, entries: int, work: Work) -> "Used":
        """The CPU time per entry of `work` on `entries`."""
        then = cls.now(client)
        work()
        now = cls.now(client)
        return cls((now.server - then.server) / entries, (now.own - then.own) / entries)

    @classmethod
    def least(cls, several: Sequence["Used"]) -> "Used":
        return cls(min(used.server for used in several), min(used.own for used in several))


def costs(books: int, entries: int) -> tuple[Costs, Costs]:
    """Costs of applying batch by batch, and as a backlog. Applying a batch costs: moving and applying - moving."""
    made = list(traffic.main(entries, books))
    with desk.server() as url:
        settings = desk.settings(url)
        feed = Feed(url, settings.stream_execution_result)
        move, backlog = partial(_move, settings), partial(_apply, settings, made)
        both = partial(_move_and_apply, settings, entries)
        feeding, moving, applying, doing_both, commits = [], [], [], [], []
        for _ in range(REPETITIONS):
            feed.client.flushdb()
            feeding.append(Used.by(feed.client, entries, lambda: _fill(feed, made)))
            moving.append(Used.by(feed.client, entries, move))
            applying.append(Used.by(feed.client, entries, backlog))
            of_backlog = _commits(feed.client, made)
            _fill(feed, made)
            doing_both.append(Used.by(feed.client, entries, both))
            commits.append((_commits(feed.client, made), of_backlog))
    fed, moved, applied, done = map(Used.least, (feeding, moving, applying, doing_both))
    per_batch, per_backlog = (entries / min(column) for column in zip(*commits, strict=True))
    of_moving = (fed.server, moved.server, moved.own)
    return (
        Costs(books, per_batch, *of_moving, done.server - moved.server, done.own - moved.own),
        Costs(books, per_backlog, *of_moving, applied.server, applied.own),
    )


def _commits(client: Client, made: Sequence[traffic.Entry]) -> int:
    """The number of commits, by the versions of the books."""
    with client.pipeline(transaction=False) as pipe:
        for book in {entry["symbol"] for entry in made}:
            pipe.hget(keys.position(book), "version")
        return sum(map(int, pipe.execute()))


def _fill(feed: Feed, made: Sequence[traffic.Entry]) -> None:
    feed.fill(made, keep=False)


def _move(settings: Settings) -> None:
    """Move all entries to the inboxes."""
    client = connect(settings.redis_url)

    def stop_when_through(_: Sequence[str]) -> None:
        (group,) = client.xinfo_groups(settings.stream_execution_result)
        if not group["lag"]:
            raise _AllMoved

    with suppress(_AllMoved):
        while True:
            watch(client, settings, LONGEST_SEC, stop_when_through)


def _apply(settings: Settings, made: Sequence[traffic.Entry]) -> None:
    """Apply all moved entries."""
    with suppress(ours.AllApplied):
        ours.Applier(settings, len(made)).process(sorted({entry["symbol"] for entry in made}))


def _move_and_apply(settings: Settings, entries: int) -> None:
    """Apply each batch before the next one is read."""
    applier = ours.Applier(settings, entries)
    client = connect(settings.redis_url)
    with suppress(ours.AllApplied):
        # On a busy machine the lease may expire within a batch; then acquire it again.
        while True:
            watch(client, settings, LONGEST_SEC, applier.process)


def checked(workers: Sequence[int]) -> dict[int, Cost]:
    """The cost of real processes in the fastest repetition, by number of workers."""
    books, entries = CHECKED_SIZE
    with desk.server() as url:
        settings = desk.settings(url)
        feed = Feed(url, settings.stream_execution_result).fill(traffic.main(entries, books))
        return {
            count: min((_run(feed, settings, count) for _ in range(REPETITIONS)), key=lambda cost: cost.wall)
            for count in workers
        }


def _run(feed: Feed, settings: Settings, workers: int) -> Cost:
    feed.restore()
    group = ours.SeveralWorkers(settings, workers)
    cost = measured(feed.client, feed.entries, lambda: group.run(feed.entries))
    counts = feed.client.hgetall(keys.COUNTS)
    assert int(counts["applied"]) == feed.entries, counts
    return cost


def main() -> int:
    started = monotonic()
    found = {size: costs(*size) for size in SIZES}
    print("\n".join(_table_of_costs([cost for pair in found.values() for cost in pair])), flush=True)
    modelled = [(name, cost) for pair in found.values() for name, cost in zip(KINDS, pair, strict=True)]
    print("\n".join(_table_of_points(modelled)), flush=True)
    cores = int(machine()["cores"])
    bounds = [cost.without_feeding() for cost in found[CHECKED_SIZE]]
    seen = checked(CHECKED)
    print("\n".join(_table_of_checks(bounds, seen, cores)))
    _write(modelled, bounds, seen)
    print("\n".join(NOTES))
    print(f"load average {getloadavg()[0]:.1f}; in {monotonic() - started:.0f} s, into {TARGET}")
    return 0


def _table_of_costs(found: Sequence[Costs]) -> Iterator[str]:
    yield "measured, us of CPU time per entry"
    heads = f"{'all':>7} {'ceiling/s':>10} {'watcher':>8} {'worker':>7}"
    yield f"{'books':>6} {'entries/commit':>15} {'server: feed':>13} {'move':>7} {'apply':>7} {heads}"
    for c in found:
        server = (c.feed_server, c.route_server, c.commit_server, c.server)
        feed, move, apply, whole, watcher, worker = (
            f"{MICRO * part:.1f}" for part in (*server, c.route_watcher, c.commit_worker)
        )
        tail = f"{whole:>7} {c.ceiling:>10,.0f} {watcher:>8} {worker:>7}"
        yield f"{c.books:>6,} {c.entries_per_commit:>15.1f} {feed:>13} {move:>7} {apply:>7} {tail}"


def _table_of_points(modelled: Sequence[tuple[str, Costs]]) -> Iterator[str]:
    yield "\nmodel, entries/s by workers on their own hosts (load of the server's thread, limiting part)"
    yield f"{'workers':>8}" + "".join(f"{f'{cost.books:,}, {name}':>24}" for name, cost in modelled)
    for workers in WORKERS:
        cells = (point(cost, workers) for _, cost in modelled)
        yield f"{workers:>8}" + "".join(f"{f'{p.rate:,.0f} ({p.busy:.0%}, {p.limit})':>24}" for p in cells)


def _table_of_checks(bounds: Sequence[Costs], seen: dict[int, Cost], cores: int) -> Iterator[str]:
    yield f"\nchecked at {CHECKED_SIZE[0]} books on {cores} cores: entries/s, and us of CPU time per entry"
    heads = f"{'server':>7} {'others':>7} {'cores got':>10}"
    yield f"{'workers':>8} {'model: batch':>13} {'backlog':>8} {'measured':>9} {heads}"
    for workers, cost in seen.items():
        batch, backlog = (point_on(cores, bound, workers).rate for bound in bounds)
        server, others = (f"{MICRO * part / cost.units:.1f}" for part in (cost.server, cost.client))
        used = f"{server:>7} {others:>7} {_cores(cost):>10.2f}"
        yield f"{workers:>8} {batch:>13,.0f} {backlog:>8,.0f} {cost.rate:>9,.0f} {used}"


def _cores(cost: Cost) -> float:
    """CPU cores that the run used, including the server's; other work on the machine lowers this."""
    return (cost.client + cost.server) / cost.wall


def _write(modelled: Sequence[tuple[str, Costs]], bounds: Sequence[Costs], seen: dict[int, Cost]) -> None:
    about = machine()
    document: dict[str, Any] = {
        "machine": about,
        "load_average": getloadavg(),
        "notes": NOTES,
        "measured": [{"kind": name, **asdict(c), "server": c.server, "ceiling": c.ceiling} for name, c in modelled],
        "model": [
            {"kind": name, "books": cost.books, "points": [asdict(point(cost, workers)) for workers in WORKERS]}
            for name, cost in modelled
        ],
        "checked": [
            {
                "model": {
                    name: asdict(point_on(about["cores"], bound, workers))
                    for name, bound in zip(KINDS, bounds, strict=True)
                },
                "measured": {**asdict(cost), "rate": cost.rate, "cores": _cores(cost)},
            }
            for workers, cost in seen.items()
        ],
    }
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
