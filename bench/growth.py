"""How cost grows with the backlog, with the number of books, and with the number of fills of a position.

Each measurement uses one process that watches and applies in turns, and reports the slope of log(total cost) over
log(size): 1 means linear growth, 2 quadratic growth.
"""

import csv
import multiprocessing as mp
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from bench import desk, fold, ours, traffic
from bench.cost import Cost, measured
from bench.feed import Feed
from bench.pairs import slope
from bench.processes import resident_mb
from bench.report import Goal, Result
from bench.setup import Setup
from harvest_tasks.server import script
from harvest_tasks.server.client import Client, connect
from harvest_tasks.settings.model import Settings

DATA: Final = Path(".bench")
LINEAR: Final = Goal("ours", at_most=1.05)
BOOKS: Final = 500
ENTRIES_PER_BOOK: Final = 2
SMALL: Final = 12_000
"""Backlogs up to this are measured three times."""
SAMPLES: Final = 20
"""Memory samples taken during a run."""


class MemorySample(NamedTuple):
    """Resident memory of a process, and the blocks of Python's allocator in use, after `applied` entries."""

    applied: int
    resident_mb: float
    blocks: int


@dataclass(frozen=True, slots=True)
class Run:
    """The cost and the memory of one process working on a backlog."""

    cost: Cost
    memory: Sequence[MemorySample]


def sizes(smallest: int, largest: int) -> list[int]:
    """Powers of ten from `smallest`, then `largest`."""
    found = [smallest]
    while found[-1] * 10 < largest:
        found.append(found[-1] * 10)
    return [*found, largest]


def longest_backlog(setup: Setup) -> int:
    """Entries in the longest backlog."""
    return setup.pick(1_000_000, 20_000)


def with_backlog(setup: Setup) -> Iterator[Result]:
    """Growth of the total cost with the entries of a backlog."""
    *shorter, last = sizes(1_000, longest_backlog(setup))
    runs = [*(_typical(entries, BOOKS) for entries in shorter), long_run(setup)]
    yield _result("growth_backlog", "entries", [*shorter, last], [run.cost for run in runs])
    rows = [(look.applied, f"{look.resident_mb:.2f}", look.blocks) for look in runs[-1].memory]
    write("rss_per_worker", ("entries applied", "resident MB", "blocks in use"), rows)


@lru_cache(maxsize=1)
def long_run(setup: Setup) -> Run:
    """The run of the longest backlog, done once for `growth_backlog` and for the memory of a worker."""
    (run,) = _runs(longest_backlog(setup), BOOKS, 1)
    return run


def with_books(setup: Setup) -> Iterator[Result]:
    """Growth of the total cost with the number of books, each with the same few entries."""
    counts = sizes(10, setup.pick(50_000, 1_000))
    runs = [_typical(books * ENTRIES_PER_BOOK, books) for books in counts]
    yield _result("growth_books", "books", counts, [run.cost for run in runs], books=counts[-1])


def with_position_length(setup: Setup) -> Iterator[Result]:
    """Growth of the kernel's fold with the number of fills of one position."""
    counts = sizes(1_000, setup.pick(1_000_000, 100_000))
    fills = fold.entries(fold.one_position(counts[-1]))
    took = [median(fold.seconds(fills[:count])[0] for _ in range(3 if count < SMALL else 1)) for count in counts]
    costs = [Cost(count, seconds, seconds, 0.0) for count, seconds in zip(counts, took, strict=True)]
    yield _result("growth_fills", "fills of one position", counts, costs)


def _result(name: str, of: str, counts: Sequence[int], costs: Sequence[Cost], books: int | None = None) -> Result:
    found = slope(counts, [cost.wall for cost in costs])
    processor = slope(counts, [cost.client + cost.server for cost in costs])
    each = ", ".join(
        f"{count:,}: {1e6 * cost.wall / cost.units:.1f}" for count, cost in zip(counts, costs, strict=True)
    )
    rows = [
        (count, cost.units, *(f"{1e6 * part / cost.units:.3f}" for part in (cost.wall, cost.client, cost.server)))
        for count, cost in zip(counts, costs, strict=True)
    ]
    write(name, (of, "entries", "us each", "client CPU us", "server CPU us"), rows)
    note = f"us each by {of}: {each}; slope of the CPU time {processor:.3f}"
    return Result(name, "log-log slope", found, books=books, goal=LINEAR, note=note)


def write(name: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write the data of a picture for `bench.plots`."""
    DATA.mkdir(exist_ok=True)
    with (DATA / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def _typical(entries: int, books: int) -> Run:
    """The run with the median cost."""
    runs = sorted(_runs(entries, books, 3 if entries <= SMALL else 1), key=lambda run: run.cost.wall)
    return runs[len(runs) // 2]


def _runs(entries: int, books: int, count: int) -> list[Run]:
    """Run one after another in a fresh process, because this process's memory holds other things."""
    context = mp.get_context("spawn")
    with desk.server() as url:
        stream = desk.settings(url).stream_execution_result
        feed = Feed(url, stream).fill(traffic.main(entries, books), keep=count > 1)
        here, there = context.Pipe()
        process = context.Process(target=_work, args=(url, entries, count, there))
        process.start()
        there.close()
        runs = []
        for turn in range(count):
            if turn:
                feed.restore()
            here.send("go")
            runs.append(here.recv())
        process.join()
    return runs


def _work(url: str, entries: int, count: int, parent: Connection) -> None:
    client = connect(url)
    for name in ("route", "commit"):
        client.script_load(script.load(name).text)
    for _ in range(count):
        parent.recv()
        parent.send(_run(client, desk.settings(url), entries))


def _run(client: Client, settings: Settings, entries: int) -> Run:
    memory: list[MemorySample] = []

    def look(applied: int) -> None:
        if applied >= (len(memory) + 1) * entries // SAMPLES:
            memory.append(MemorySample(applied, resident_mb(os.getpid()), sys.getallocatedblocks()))

    cost = measured(client, entries, lambda: _void(ours.in_one_process(settings, entries, look)))
    return Run(cost, memory)


def _void(_: object) -> None:
    """Drop a return value."""
