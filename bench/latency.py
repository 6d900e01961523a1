"""From a price on the input stream to the intent it makes due, with all of `harvest up` running.

In a closed loop, one sample after the other on an idle desk, in turns with the bare loop. Under load, at 1,000 entries
a second of other books, with Flower watching: probes go out at fixed times, and each counts from when it was to go.
"""

import multiprocessing as mp
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from statistics import median, quantiles
from typing import Final

from bench import desk, traffic
from bench.pairs import spread
from bench.peers.bare_loop import BareLoop
from bench.processes import NotStarted, harvest_up, ready, wait_until
from bench.report import Goal, Result
from bench.setup import Setup
from harvest_tasks import keys
from harvest_tasks.connection import Client, connect
from harvest_tasks.settings import Settings

PAUSE_SEC: Final = 0.005
LOAD_PER_SEC: Final = 1_000
LOAD_BOOKS: Final = 500
TICK_SEC: Final = 0.005
"""The load comes in bursts of a few entries, as producers send them."""
PROBE_EVERY: Final = 5
"""Ticks."""
ENVIRON: Final = {"HARVEST_MAX_ACTIONS_PER_MIN": "10000", "HARVEST_SET_BE_AT_R": "90"}
P50: Final = Goal("ours", at_most=1.5)
P99: Final = Goal("ours", at_most=5.0)


class Line:
    """A running consumer: a price goes in, an intent comes out."""

    def __init__(self, url: str, books: int) -> None:
        self.client: Client = connect(url)
        self.settings = Settings.from_env({"REDIS_URL": url, **ENVIRON})
        self.symbols = iter([f"L{i}USDT" for i in range(books)])
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
    """Ours and the bare loop in turns, a hundred samples at a time."""
    rounds, size = setup.pick(4, 2), setup.pick(100, 40)
    with harvest_up(**ENVIRON) as up, bare_loop() as other:
        ours, peer = Line(ready(up), rounds * size), Line(other, rounds * size)
        pairs = []
        for _ in range(rounds):
            mine = [ours.sample() for _ in range(size)]
            pairs.append((mine, [peer.sample() for _ in range(size)]))
    mine_all, theirs_all = ([x for pair in pairs for x in pair[side]] for side in (0, 1))
    ratios = [median(mine) / median(theirs) for mine, theirs in pairs]
    yield Result(
        "fill_to_intent_p50_vs_bare_loop",
        "ms",
        median(mine_all),
        median(theirs_all),
        "bare loop",
        median(ratios),
        spread(ratios),
        goal=P50,
        note=f"closed loop, with Flower; ours {percentiles(mine_all)}; bare loop {percentiles(theirs_all)}",
    )


def under_load(setup: Setup) -> Iterator[Result]:
    seconds = setup.pick(8, 2)
    with harvest_up(**ENVIRON) as up:
        mine = probe(ready(up), seconds)
    with bare_loop() as url:
        theirs = probe(url, seconds)
    ours, peer = p99(mine), p99(theirs)
    note = f"at {LOAD_PER_SEC:,} entries/s, with Flower; ours {percentiles(mine)}; bare loop {percentiles(theirs)}"
    met = "met" if median(mine) <= 1.5 else "MISSED"
    note += f"; p50 <= 1.5 ms under load {met}"
    yield Result("fill_to_intent_p99_ms", "ms", ours, peer, "bare loop", ours / peer, None, goal=P99, note=note)


def probe(url: str, seconds: int) -> list[float]:
    """Milliseconds from when each probe was to go until its intent was read."""
    ticks = int(seconds / TICK_SEC)
    probes = ticks // PROBE_EVERY
    line = Line(url, probes)
    stream = line.settings.stream_harvest_suggestions
    context = mp.get_context("fork")
    due, give = context.Pipe(duplex=False)
    sender = context.Process(target=_send, args=(url, ticks, give))
    reader = connect(url)
    last = "0-0"
    seen: dict[str, float] = {}
    sender.start()
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
    return [(seen[symbol] - planned) * 1_000 for symbol, planned in went]


def _send(url: str, ticks: int, give: Connection) -> None:
    """The load and the probes; then says when each probe was to go."""
    client, source = connect(url), Settings.from_env({"REDIS_URL": url}).stream_execution_result
    per_tick = int(LOAD_PER_SEC * TICK_SEC)
    load = traffic.main(ticks * per_tick, LOAD_BOOKS)
    went, began = [], time.perf_counter() + 0.1
    for tick in range(ticks):
        planned = began + tick * TICK_SEC
        time.sleep(max(0.0, planned - time.perf_counter()))
        with client.pipeline(transaction=False) as pipe:
            if tick % PROBE_EVERY == 0:
                symbol = f"L{tick // PROBE_EVERY}USDT"
                went.append((symbol, planned))
                pipe.xadd(source, crossing(symbol))
            for _ in range(per_tick):
                pipe.xadd(source, next(load))
            pipe.execute()
    give.send(went)


@contextmanager
def bare_loop() -> Iterator[str]:
    """A server with the bare loop at work on it."""
    with desk.server() as url:
        process = mp.get_context("fork").Process(target=_loop, args=(url,))
        process.start()
        try:
            yield url
        finally:
            process.kill()
            process.join()


def _loop(url: str) -> None:
    BareLoop(Settings.from_env({"REDIS_URL": url, **ENVIRON})).run(None)


def p99(took: Sequence[float]) -> float:
    return quantiles(took, n=100)[98]


def percentiles(took: Sequence[float]) -> str:
    cuts = quantiles(took, n=100)
    return f"p50 {median(took):.2f} p90 {cuts[89]:.2f} p99 {cuts[98]:.2f} ms (n={len(took)})"
