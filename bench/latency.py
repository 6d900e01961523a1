"""From a price on the input stream to the intent it makes due, with all of `harvest up` running.

In a closed loop, one sample after the other on an idle desk, in turns with the bare loop and with one that only passes
prices on. Under load, at 1,000 entries a second of other books, with Flower watching: probes go out at fixed times, and
each counts from when it was to go.
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
from bench.cost import Ticks
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
"""The load comes in bursts of a few entries, as producers send them."""
PROBE_EVERY: Final = 3
"""Ticks."""
WARM_UP_SEC: Final = 6
"""Load before the first probe: the first slice of a watcher in each process imports, connects and compiles."""
ENVIRON: Final = {"HARVEST_MAX_ACTIONS_PER_MIN": "10000", "HARVEST_SET_BE_AT_R": "90"}
P50: Final = Goal("ours", at_most=1.5)
P99: Final = Goal("ours", at_most=5.0)


LOOK_EVERY_SEC: Final = 0.005
"""At what the host takes; it counts in hundredths of a second."""


LATE_SEC: Final = 0.02
"""How long before a probe what was stolen still holds it up: the load that came meanwhile goes first."""
ENOUGH: Final = 50


class Probe(NamedTuple):
    """Milliseconds that one took, and whether the host left this machine all it wanted from a little before until its
    end.
    """

    took: float
    undisturbed: bool


class Line:
    """A running consumer: a price goes in, an intent comes out. One that `tracks` positions has them open first."""

    def __init__(self, url: str, books: int, *, tracks: bool = True) -> None:
        self.client: Client = connect(url)
        self.settings = Settings.from_env({"REDIS_URL": url, **ENVIRON})
        self.symbols = iter([f"L{i}USDT" for i in range(books)])
        if tracks:
            for i in range(books):
                self.client.xadd(self.settings.stream_execution_result, opening(f"L{i}USDT"))
            wait_until(lambda: self._opened() >= books, "positions to open")

    def _opened(self) -> int:
        cursor, found = 0, 0
        while True:
            cursor, names = self.client.scan(cursor, match=keys.position("L*"), count=1_000)
            found += len(names)
            if not cursor:
                return found

    def sample(self) -> float:
        """Milliseconds from XADD to the intent's arrival at a blocked reader."""
        time.sleep(PAUSE_SEC)
        stream = self.settings.stream_harvest_suggestions
        last = self.client.xinfo_stream(stream)["last-generated-id"] if self.client.exists(stream) else "0-0"
        started = time.perf_counter()
        self.client.xadd(self.settings.stream_execution_result, crossing(next(self.symbols)))
        if not self.client.xread({stream: last}, block=5_000):
            raise NotStarted("an intent: not within 5 s")
        return (time.perf_counter() - started) * 1_000


def opening(symbol: str) -> dict[str, str]:
    return {"symbol": symbol, "status": "FILLED", "side": "BUY", "qty": "1", "price": "100", "stop_loss": "90"}


def crossing(symbol: str) -> dict[str, str]:
    """The price that crosses the first rung."""
    return {"symbol": symbol, "status": "PRICE_UPDATE", "price": "105.1"}


def closed_loop(setup: Setup) -> Iterator[Result]:
    """Ours and the others in turns, a hundred samples at a time."""
    rounds, size = setup.pick(4, 2), setup.pick(100, 40)
    took: tuple[list[list[float]], ...] = [], [], []
    with harvest_up(**ENVIRON) as up, looping(_bare_loop) as bare, looping(passing_on.run) as floor:
        lines = [Line(ready(up), rounds * size), Line(bare, rounds * size), Line(floor, rounds * size, tracks=False)]
        for _ in range(rounds):
            for line, so_far in zip(lines, took, strict=True):
                so_far.append([line.sample() for _ in range(size)])
    ours, bare_loop, passed_on = took
    note = f"closed loop, with Flower; ours {percentiles(chain(*ours))}; bare loop {percentiles(chain(*bare_loop))}"
    yield _closed("fill_to_intent_p50_vs_bare_loop", ours, bare_loop, "bare loop", note, P50)
    note = f"the peer: {percentiles(chain(*passed_on))}; it does nothing with the price"
    yield _closed("fill_to_intent_p50_vs_passing_on", ours, passed_on, "a loop that passes prices on", note)


def _closed(
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
    with looping(_bare_loop) as url:
        theirs = probe(url, warm_up, seconds)
    ours, peer = p99([each.took for each in mine]), p99([each.took for each in theirs])
    met = "met" if median(each.took for each in mine) <= 1.5 else "MISSED"
    note = f"at {LOAD_PER_SEC:,} entries/s, with Flower; ours {told(mine)}; bare loop {told(theirs)}"
    note += f"; p50 <= 1.5 ms under load {met}"
    yield Result("fill_to_intent_p99_ms", "ms", ours, peer, "bare loop", ours / peer, None, goal=P99, note=note)


def probe(url: str, warm_up: int, seconds: int) -> list[Probe]:
    """Each from when it was to go until its intent was read; the first one after `warm_up` seconds."""
    before, ticks = int(warm_up / TICK_SEC), int(seconds / TICK_SEC)
    probes = -(-ticks // PROBE_EVERY)
    line = Line(url, probes)
    stream = line.settings.stream_harvest_suggestions
    context = mp.get_context("fork")
    due, give = context.Pipe(duplex=False)
    sender = context.Process(target=_send, args=(url, before, ticks, give))
    reader = connect(url)
    last = "0-0"
    seen: dict[str, float] = {}
    sender.start()
    with Host().watched() as host:
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
        raise NotStarted(f"{len(went) - len(seen)} of {len(went)} intents: not within 5 s")
    return [
        Probe((seen[symbol] - planned) * 1_000, not host.took_between(planned - LATE_SEC, seen[symbol]))
        for symbol, planned in went
    ]


@dataclass(frozen=True, slots=True)
class Host:
    """When (perf_counter) how much had been stolen, by /proc/stat, in ascending order."""

    looks: list[tuple[float, int]] = field(default_factory=list)

    @contextmanager
    def watched(self) -> "Iterator[Host]":
        """Looks every few milliseconds, in a thread."""
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(LOOK_EVERY_SEC):
                self.looks.append((time.perf_counter(), Ticks.now().stolen))

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield self
        finally:
            ended.set()
            thread.join()

    def took_between(self, began: float, ended: float) -> bool:
        """Whether anything was stolen in a time that is inside of what was watched."""
        first = max(0, bisect_right(self.looks, (began, inf)) - 1)
        last = min(len(self.looks) - 1, bisect_left(self.looks, (ended, -1)))
        return self.looks[first][1] != self.looks[last][1]


def _send(url: str, before: int, ticks: int, give: Connection) -> None:
    """The load and, `before` ticks later, the probes; then says when each probe was to go."""
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
                pipe.xadd(source, crossing(symbol))
            for _ in range(per_tick):
                pipe.xadd(source, next(load))
            pipe.execute()
    give.send(went)


@contextmanager
def looping(run: Callable[[Settings], None]) -> Iterator[str]:
    """A server of its own with `run` at work on it."""
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


def told(probes: Sequence[Probe]) -> str:
    """All, and those to which the host left all the time they wanted, if they are enough to speak of."""
    undisturbed = [each.took for each in probes if each.undisturbed]
    apart = f", {percentiles(undisturbed)} where nothing was stolen" if len(undisturbed) >= ENOUGH else ""
    return percentiles(each.took for each in probes) + apart
