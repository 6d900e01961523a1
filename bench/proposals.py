"""Proposals: a cycle over many symbols against a sequential publisher, and the kernel alone."""

import multiprocessing as mp
import random
from collections.abc import Iterator, Sequence
from itertools import islice
from statistics import median
from time import perf_counter, process_time
from typing import Final

from bench import desk
from bench.cost import measured
from bench.pairs import in_turns, spread
from bench.peers import sequential_publisher
from bench.report import Goal, Result
from bench.setup import Setup
from harvest_tasks.proposing.cycle import run_cycle
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client, connect
from harvest_tasks.server.clock import server_sec
from harvest_tasks.settings.model import Settings
from kernel.proposals.market import MarketState, P1Proposal
from kernel.proposals.proposal import compute_harvest_proposal
from kernel.proposals.snapshot import PositionSide, PositionSnapshot
from schedules.beat import MOST_ENTRIES, SMALLEST_CHUNK

UNIT: Final = "symbols/s"
PROCESSES: Final = 2

MARKETS: Final = """
-- Market states, risk proposals and positions of ARGV[1] symbols; ARGV[2..4] are the prefixes of their keys.
math.randomseed(7)
local function between(low, high) return string.format('%.6f', low + (high - low) * math.random()) end
for i = 0, ARGV[1] - 1 do
  local name, trend = 'B' .. i .. 'USDT', math.random()
  redis.call('HSET', ARGV[2] .. name, 'sigma', between(0.004, 0.02), 'ts', between(0, 0.6), 'p_trend', trend,
             'p_mr', (1 - trend) / 2, 'p_chop', (1 - trend) / 2, 'atr', between(0.1, 0.9))
  redis.call('HSET', ARGV[3] .. name, 'stop_dist_pct', between(0.005, 0.03))
  local entry, qty = 10 + 90 * math.random(), 1 + 9 * math.random()
  local price = entry * (0.95 + 0.15 * math.random())
  redis.call('HSET', ARGV[4] .. name, 'symbol', name, 'side', 'LONG', 'entry_price', entry, 'current_price', price,
             'peak_price', price * 1.01, 'trough_price', entry * 0.98, 'age_sec', math.random(1, 80000),
             'unrealized_pnl', (price - entry) * qty, 'qty', qty, 'current_sl', entry * 0.97)
end
"""


def against_sequential(setup: Setup) -> Iterator[Result]:
    count = setup.pick(2_000, 1_000)
    with desk.server() as url:
        client, settings = connect(url), desk.settings(url)
        publish_markets(client, settings, count)
        names = symbols(count)

        def chunked() -> float:
            _forget(client, settings)
            return measured(client, count, lambda: _cycle(client, settings, names)).rate

        def in_sequence() -> float:
            _forget(client, settings)

            def work() -> None:
                assert sequential_publisher.publish(client, settings, names) == count

            return measured(client, count, work).rate

        pairs = in_turns(chunked, in_sequence, setup.repetitions)
    note = f"one process each; chunks of {chunk_size(count)} symbols, as beat sends them; every proposal is new"
    yield Result(
        "proposals_vs_sequential",
        UNIT,
        median(pairs.ours),
        median(pairs.peer),
        "sequential publisher",
        pairs.ratio,
        pairs.spread,
        goal=Goal("ratio", at_least=5.0),
        note=note,
    )


def cycle_100k(setup: Setup) -> Iterator[Result]:
    """Seconds for a cycle over all symbols. A quick run measures a part and scales it, as its note says."""
    count = setup.pick(100_000, 4_000)
    with desk.server() as url:
        client, settings = connect(url), desk.settings(url)
        publish_markets(client, settings, count)
        first, again = (_seconds_in_parallel(settings, count) for _ in range(2))
        published = sum(1 for _ in client.scan_iter(match=f"{settings.harvest_prefix}*", count=10_000))
        assert published >= count, published
    scaled = 100_000 / count
    part = "" if scaled == 1 else f"measured on {count:,} symbols and scaled; "
    note = f"{part}all new {first * scaled:.1f} s, all computed again {again * scaled:.1f} s; {PROCESSES} processes"
    yield Result("proposals_per_cycle_100k", "s", first * scaled, goal=Goal("ours", at_most=10.0), note=note)


def kernel(setup: Setup) -> Iterator[Result]:
    """`compute_harvest_proposal` on prepared inputs, by CPU time."""
    count = setup.pick(100_000, 20_000)
    cases = list(islice(_cases(), 1_000))
    rates = [_kernel_rate(cases, count) for _ in range(setup.pick(7, 5))]
    yield Result(
        "kernel_proposals_per_s",
        "proposals/s",
        median(rates),
        spread=spread(rates),
        goal=Goal("ours", at_least=150_000),
        note=f"best {max(rates):,.0f}",
    )


def _kernel_rate(cases: Sequence[tuple[PositionSnapshot, MarketState, P1Proposal]], count: int) -> float:
    started = process_time()
    for _ in range(count // len(cases)):
        for case in cases:
            compute_harvest_proposal(*case)
    return count / (process_time() - started)


def _cases() -> Iterator[tuple[PositionSnapshot, MarketState, P1Proposal]]:
    """Longs and shorts from loss to 8 R, calm and wild markets."""
    rng = random.Random(7)  # noqa: S311 - repeatable
    while True:
        side, entry, qty = rng.choice(list(PositionSide)), rng.uniform(10, 60_000), rng.uniform(0.1, 9)
        price = entry * (1 + side.sign * rng.uniform(-0.02, 0.16))
        pnl = (price - entry) * side.sign * qty
        prices = (entry, price, max(entry, price), min(entry, price))
        position = PositionSnapshot("BTCUSDT", side, *prices, rng.uniform(0, 90_000), pnl, entry * 0.97, None, qty)
        trend = rng.random()
        rest = (1 - trend) / 2
        market = MarketState(rng.uniform(0.004, 0.03), rng.uniform(0, 0.6), trend, rest, rest)
        yield position, market, P1Proposal(rng.uniform(0.005, 0.03))


def publish_markets(client: Client, settings: Settings, count: int) -> None:
    """Write the inputs of a cycle over `symbols(count)`."""
    prefixes = settings.marketstate_prefix, settings.riskproposal_prefix, keys.POSITION_STATE_PREFIX
    client.eval(MARKETS, 0, count, *prefixes)


def symbols(count: int) -> list[str]:
    return [f"B{i}USDT" for i in range(count)]


def chunk_size(count: int) -> int:
    """The size of the chunks in which beat sends `count` symbols."""
    return max(SMALLEST_CHUNK, -(-count // MOST_ENTRIES))


def _cycle(client: Client, settings: Settings, names: Sequence[str]) -> None:
    size = chunk_size(len(names))
    for start in range(0, len(names), size):
        chunk = names[start : start + size]
        assert run_cycle(client, settings, chunk, server_sec(client)).computed == len(chunk)


def _forget(client: Client, settings: Settings) -> None:
    """Drop every proposal."""
    found = list(client.scan_iter(match=f"{settings.harvest_prefix}*", count=10_000))
    if found:
        client.delete(*found)


def _seconds_in_parallel(settings: Settings, count: int) -> float:
    """Seconds of one cycle; each free process takes the next chunk."""
    context = mp.get_context("fork")
    names, size = symbols(count), chunk_size(count)
    chunks = [names[start : start + size] for start in range(0, count, size)]
    with context.Pool(PROCESSES, _begin, (settings,)) as pool:
        pool.map(_computed, [names[:1]] * PROCESSES, chunksize=1)
        started = perf_counter()
        computed = sum(pool.imap_unordered(_computed, chunks))
        took = perf_counter() - started
    assert computed == count, computed
    return took


_WORKER: "dict[str, tuple[Client, Settings]]" = {}
"""Client and settings of a process in the pool."""


def _begin(settings: Settings) -> None:
    _WORKER["one"] = connect(settings.redis_url), settings


def _computed(names: Sequence[str]) -> int:
    client, settings = _WORKER["one"]
    return run_cycle(client, settings, names, server_sec(client)).computed
