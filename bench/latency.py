"""Latency from a price on the input stream to the intent it makes due, with all of `harvest up` running.

Closed loop: one sample after another on an idle system, in turns with the bare loop and with a loop that only passes
prices on. Under load: 1,000 entries per second for other books, with Flower; probes are sent at fixed times, and each
is measured from its planned time.
"""

import multiprocessing as mp
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from math import inf
from multiprocessing.connection import Connection
from statistics import median, quantiles
from typing import Final, NamedTuple

from bench import desk, traffic
from bench.cost import CpuTicks
from bench.pairs import spread
from bench.peers import passing_on
from bench.peers.bare_loop import BareLoop
from bench.processes import NotStarted, harvest_up, ready, wait_until
from bench.report import Goal, Result
from bench.setup import Setup
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client, connect
from harvest_tasks.settings.model import Settings

PAUSE_SEC: Final = 0.005
LOAD_PER_SEC: Final = 1_000
LOAD_BOOKS: Final = 500
TICK_SEC: Final = 0.005
"""The load arrives in bursts of a few entries, as producers send them."""
PROBE_EVERY: Final = 3
"""In ticks."""
WARM_UP_SEC: Final = 6
"""Load before the first probe, because the first watcher slice of each process imports, connects and compiles."""
ENVIRON: Final = {"HARVEST_MAX_ACTIONS_PER_MIN": "10000", "HARVEST_SET_BE_AT_R": "90"}
P50: Final = Goal("ours", at_most=1.5)
P99: Final = Goal("ours", at_most=5.0)


SAMPLE_EVERY_SEC: Final = 0.005
"""Interval of CPU steal samples; the kernel counts in hundredths of a second."""


BACKLOG_SEC: Final = 0.02
"""CPU steal this long before a probe still delays it, because the load that queued up goes first."""
MIN_UNDISTURBED: Final = 50


class Probe(NamedTuple):
    """Latency of a probe in milliseconds, and whether there was no CPU steal from shortly before it until its end."""

    took_ms: float
    undisturbed: bool


class Pipeline:
    """A running consumer: a price goes in, an intent comes out. If it `tracks` positions, they are opened first."""

    def __init__(self, url: str, books: int, *, tracks: bool = True) -> None:
        self.client: Client = connect(url)
        self.settings = Settings.from_env({"REDIS_URL": url, **ENVIRON})
        self.symbols = iter([f"L{i}USDT" for i in range(books)])
        if tracks:
            for i in range(books):
                self.client.xadd(self.settings.stream_execution_result, opening_fill(f"L{i}USDT"))
            wait_until(lambda: self._opened() >= books, "positions to open")

    def _opened(self) -> int:
        cursor, found = 0, 0
        while True:
            cursor, names = self.client.scan(cursor, match=keys.position("L*"), count=1_000)
            found += len(names)
            if not cursor:
                return found

    def sample(self) -> float:
        """Milliseconds from XADD to the arrival of the intent at a blocked reader."""
        time.sleep(PAUSE_SEC)
        stream = self.settings.stream_harvest_suggestions
        last = self.client.xinfo_stream(stream)["last-generated-id"] if self.client.exists(stream) else "0-0"
        started = time.perf_counter()
        self.client.xadd(self.settings.stream_execution_result, crossing_price(next(self.symbols)))
        if not self.client.xread({stream: last}, block=5_000):
            raise NotStarted("no intent within 5 s")
        return (time.perf_counter() - started) * 1_000


def opening_fill(symbol: str) -> dict[str, str]:
    return {"symbol": symbol, "status": "FILLED", "side": "BUY", "qty": "1", "price": "100", "stop_loss": "90"}


def crossing_price(symbol: str) -> dict[str, str]:
    """A price that crosses the first rung."""
    return {"symbol": symbol, "status": "PRICE_UPDATE", "price": "105.1"}


def closed_loop(setup: Setup) -> Iterator[Result]:
    """Harvest and the peers in turns, a hundred samples at a time."""
    rounds, size = setup.pick(4, 2), setup.pick(100, 40)
    took: tuple[list[list[float]], ...] = [], [], []
    with harvest_up(**ENVIRON) as up, running_loop(_bare_loop) as bare, running_loop(passing_on.run) as floor:
        lines = [
            Pipeline(ready(up), rounds * size),
            Pipeline(bare, rounds * size),
            Pipeline(floor, rounds * size, tracks=False),
        ]
        for _ in range(rounds):
            for line, so_far in zip(lines, took, strict=True):
                so_far.append([line.sample() for _ in range(size)])
    ours, bare_loop, passed_on = took
    note = f"closed loop, with Flower; ours {percentiles(chain(*ours))}; bare loop {percentiles(chain(*bare_loop))}"
    yield _closed_loop_result("fill_to_intent_p50_vs_bare_loop", ours, bare_loop, "bare loop", note, P50)
    note = f"peer {percentiles(chain(*passed_on))}; it does nothing with the price"
    yield _closed_loop_result("fill_to_intent_p50_vs_passing_on", ours, passed_on, "a loop that passes prices on", note)


def _closed_loop_result(
    name: str,
    ours: Sequence[Sequence[float]],
    theirs: Sequence[Sequence[float]],
    peer: str,
    note: str,
    goal: Goal | None = None,
) -> Result:
    ratios = [median(mine) / median(other) for mine, other in zip(ours, theirs, strict=True)]
    p50s = median(chain(*ours)), median(chain(*theirs))
    return Result(name, "ms", p50s[0], p50s[1], peer, median(ratios), spread(ratios), goal=goal, note=note)


def under_load(setup: Setup) -> Iterator[Result]:
    warm_up, seconds = setup.pick(WARM_UP_SEC, 1), setup.pick(8, 2)
    with harvest_up(**ENVIRON) as up:
        mine = probe(ready(up), warm_up, seconds)
    with running_loop(_bare_loop) as url:
        theirs = probe(url, warm_up, seconds)
    ours, peer = p99([each.took_ms for each in mine]), p99([each.took_ms for each in theirs])
    met = "met" if median(each.took_ms for each in mine) <= 1.5 else "MISSED"
    note = f"at {LOAD_PER_SEC:,} entries/s, with Flower; ours {describe(mine)}; bare loop {describe(theirs)}"
    note += f"; p50 <= 1.5 ms under load {met}"
    yield Result("fill_to_intent_p99_ms", "ms", ours, peer, "bare loop", ours / peer, None, goal=P99, note=note)


def probe(url: str, warm_up: int, seconds: int) -> list[Probe]:
    """Time each probe from its planned time until its intent is read; the first follows `warm_up` seconds of load."""
    before, ticks = int(warm_up / TICK_SEC), int(seconds / TICK_SEC)
    probes = -(-ticks // PROBE_EVERY)
    line = Pipeline(url, probes)
    stream = line.settings.stream_harvest_suggestions
    context = mp.get_context("fork")
    due, give = context.Pipe(duplex=False)
    sender = context.Process(target=_send, args=(url, before, ticks, give))
    reader = connect(url)
    last = "0-0"
    seen: dict[str, float] = {}
    sender.start()
    with StealMonitor().sampling() as host:
        while len(seen) < probes:
            found = reader.xread({stream: last}, block=5_000)
            now = time.perf_counter()
            if not found:
                break
            intents = found[0][1]
            last = intents[-1][0]
            for _, intent in intents:
                if intent["symbol"].startswith("L"):
                    seen.setdefault(intent["symbol"], now)
    went = due.recv()
    sender.join()
    if len(seen) < len(went):
        raise NotStarted(f"{len(went) - len(seen)} of {len(went)} intents did not arrive within 5 s")
    return [
        Probe((seen[symbol] - planned) * 1_000, not host.stole_between(planned - BACKLOG_SEC, seen[symbol]))
        for symbol, planned in went
    ]


@dataclass(frozen=True, slots=True)
class StealMonitor:
    """Samples of the CPU steal in /proc/stat: time (perf_counter) and ticks, in ascending order."""

    samples: list[tuple[float, int]] = field(default_factory=list)

    @contextmanager
    def sampling(self) -> "Iterator[StealMonitor]":
        """Sample every few milliseconds in a thread."""
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(SAMPLE_EVERY_SEC):
                self.samples.append((time.perf_counter(), CpuTicks.now().steal))

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield self
        finally:
            ended.set()
            thread.join()

    def stole_between(self, began: float, ended: float) -> bool:
        """Whether there was CPU steal between two times within the sampled time."""
        first = max(0, bisect_right(self.samples, (began, inf)) - 1)
        last = min(len(self.samples) - 1, bisect_left(self.samples, (ended, -1)))
        return self.samples[first][1] != self.samples[last][1]


def _send(url: str, before: int, ticks: int, give: Connection) -> None:
    """Send the load and, after `before` ticks, the probes; then report the planned time of each probe."""
    client, source = connect(url), Settings.from_env({"REDIS_URL": url}).stream_execution_result
    per_tick = int(LOAD_PER_SEC * TICK_SEC)
    load = traffic.main((before + ticks) * per_tick, LOAD_BOOKS)
    went, began = [], time.perf_counter() + 0.1
    for tick in range(-before, ticks):
        planned = began + (before + tick) * TICK_SEC
        time.sleep(max(0.0, planned - time.perf_counter()))
        with client.pipeline(transaction=False) as pipe:
            if tick >= 0 and tick % PROBE_EVERY == 0:
                symbol = f"L{tick // PROBE_EVERY}USDT"
                went.append((symbol, planned))
                pipe.xadd(source, crossing_price(symbol))
            for _ in range(per_tick):
                pipe.xadd(source, next(load))
            pipe.execute()
    give.send(went)


@contextmanager
def running_loop(run: Callable[[Settings], None]) -> Iterator[str]:
    """A fresh server with the loop `run` working on it."""
    with desk.server() as url:
        process = mp.get_context("fork").Process(target=run, args=(Settings.from_env({"REDIS_URL": url, **ENVIRON}),))
        process.start()
        try:
            yield url
        finally:
            process.kill()
            process.join()


def _bare_loop(settings: Settings) -> None:
    BareLoop(settings).run(None)


def p99(took: Sequence[float]) -> float:
    return quantiles(took, n=100)[98]


def percentiles(took: Iterable[float]) -> str:
    each = list(took)
    cuts = quantiles(each, n=100)
    return f"p50 {median(each):.2f} p90 {cuts[89]:.2f} p99 {cuts[98]:.2f} ms (n={len(each)})"


def describe(probes: Sequence[Probe]) -> str:
    """Percentiles of all probes and, if there are enough, of those without CPU steal."""
    undisturbed = [each.took_ms for each in probes if each.undisturbed]
    apart = f", {percentiles(undisturbed)} without CPU steal" if len(undisturbed) >= MIN_UNDISTURBED else ""
    return percentiles(each.took_ms for each in probes) + apart
