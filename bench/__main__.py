"""Runs all measurements one after another: `python -m bench`, with QUICK=1 and ONLY=name,name."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from time import monotonic
from typing import Final

from bench import fills, flower, fold, growth, latency, memory, proposals
from bench.cost import CpuTicks
from bench.processes import NotStarted
from bench.report import HEADER, LATEST, LEGEND, Result, lines, write
from bench.setup import Setup
from harvest_tasks.processes.embedded_server import EmbeddedError

Measurement = Callable[[Setup], Iterator[Result]]

MEASUREMENTS: Final[dict[str, Measurement]] = {
    "fills_vs_bare_loop": fills.against_the_bare_loop,
    "fills_vs_task_per_fill": fills.against_a_task_each,
    "fills_vs_faststream": fills.against_faststream,
    "fill_to_intent_p50_vs_bare_loop": latency.closed_loop,
    "fill_to_intent_p99_ms": latency.under_load,
    "proposals_vs_sequential": proposals.against_sequential,
    "proposals_per_cycle_100k": proposals.cycle_100k,
    "kernel_proposals_per_s": proposals.kernel,
    "fold_vs_nautilus_1k": fold.against_nautilus_1k,
    "fold_vs_nautilus_20k": fold.against_nautilus_20k,
    "growth_backlog": growth.with_backlog,
    "growth_books": growth.with_books,
    "growth_fills": growth.with_position_length,
    "bytes_per_book": memory.per_book,
    "rss_per_worker_mb": memory.of_a_worker,
    "flower_overhead": flower.overhead,
}


class NoSuchMeasurement(Exception):
    """A name that is not in `MEASUREMENTS`."""


def _chosen(only: str) -> dict[str, Measurement]:
    """The measurements named in `only` (comma-separated), or all. Raises `NoSuchMeasurement`."""
    names = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in names if name not in MEASUREMENTS]
    if unknown:
        raise NoSuchMeasurement(f"ONLY={only}: {unknown[0]} is not one of {', '.join(MEASUREMENTS)}")
    return {name: measure for name, measure in MEASUREMENTS.items() if not names or name in names}


def _results(name: str, measure: Measurement, setup: Setup) -> Iterator[Result]:
    """The results of `measure`, each with its seconds and CPU steal; or one result with the reason it was skipped."""
    began, ticks = monotonic(), CpuTicks.now()
    try:
        for result in measure(setup):
            yield replace(result, seconds=monotonic() - began, cpu_steal=CpuTicks.now().steal_share_since(ticks))
            began, ticks = monotonic(), CpuTicks.now()
    except (NotStarted, EmbeddedError) as error:
        yield Result(name, "", skipped=str(error), seconds=monotonic() - began)


def main() -> int:
    """Exit code 0 when all measurements ran or were skipped with a reason, 2 for an unknown name."""
    only = os.environ.get("ONLY", "")
    try:
        chosen = _chosen(only)
    except NoSuchMeasurement as error:
        sys.stderr.write(f"{error}\n")
        return 2
    setup = Setup(quick=os.environ.get("QUICK", "") not in ("", "0"))
    results: list[Result] = []
    started = monotonic()
    print(HEADER)
    for name, measure in chosen.items():
        for result in _results(name, measure, setup):
            results.append(result)
            print("\n".join(lines(result)), flush=True)
    # A partial run must not replace a complete one.
    path = LATEST.with_name("only.json") if only else LATEST
    write(path, results, quick=setup.quick)
    print(f"{LEGEND}\nin {monotonic() - started:.0f} s, into {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
