"""Throughput: how fast a backlog of fills and prices is processed, against every peer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from time import perf_counter
from typing import Final

from bench import desk, ours, processes, traffic
from bench.cost import Cost, measured, server_seconds
from bench.feed import Feed
from bench.pairs import Pairs, in_turns
from bench.report import Goal, Result
from bench.setup import Setup
from harvest_tasks.server import keys
from harvest_tasks.settings.model import Settings

BOOKS: Final = (500, 10, 5_000)
UNIT: Final = "entries/s"
OF_THE_BARE_LOOP: Final = Goal("ratio", at_least=0.5)
OF_A_TASK_EACH: Final = Goal("ratio", at_least=30.0)
TASK_EACH: Final = "bench.peers.task_per_fill"
WORKER: Final = ("--concurrency=1", "--pool=prefork", "--queues=fills", "--without-gossip", "--without-mingle")

Work = Callable[[], None]
Traffic = Callable[[int, int], Iterator[traffic.Entry]]
"""Makes a number of entries for a number of books."""


class Bench:
    """One backlog, and the costs of processing it in different ways."""

    def __init__(self, url: str, entries: int, books: int, made: Traffic = traffic.main) -> None:
        self.settings = desk.settings(url)
        self.entries = entries
        self.traffic = list(made(entries, books))
        self.feed = Feed(url, self.settings.stream_execution_result).fill(self.traffic)
        self.costs: dict[str, list[Cost]] = {}

    def run(self, name: str, prepare: Callable[[Settings, int], Work]) -> float:
        """Entries per second of one run."""
        self.feed.restore()
        work = prepare(self.settings, self.entries)
        cost = measured(self.feed.client, self.entries, work)
        self.costs.setdefault(name, []).append(cost)
        return cost.rate

    def two_processes(self) -> float:
        rate = self.run("two processes", lambda settings, entries: ours.TwoProcesses(settings, entries).run)
        counts = self.feed.client.hgetall(keys.COUNTS)
        assert int(counts["applied"]) == self.entries, counts
        return rate

    def one_process(self) -> float:
        return self.run("one process", lambda settings, entries: lambda: void(ours.in_one_process(settings, entries)))

    def bare_loop(self) -> float:
        from bench.peers.bare_loop import BareLoop

        def prepare(settings: Settings, entries: int) -> Work:
            loop = BareLoop(settings)
            return lambda: loop.run(entries)

        return self.run("bare loop", prepare)

    def faststream(self) -> float:
        from bench.peers.faststream_consumer import Consumer

        def prepare(settings: Settings, entries: int) -> Work:
            consumer = Consumer(settings)
            return lambda: consumer.run(entries)

        return self.run("FastStream", prepare)

    def note(self, *more: str) -> str:
        """The median cost of each way, for the note of a result."""
        parts = [
            f"{name}: {sorted(costs, key=lambda c: c.wall)[len(costs) // 2]}" for name, costs in self.costs.items()
        ]
        return "; ".join([*parts, *more])

    def shares(self) -> str:
        """The composition of the traffic, known after a run of ours."""
        client = self.feed.client
        journal = (values for _, values in client.xrange(keys.DECISIONS))
        due = {(values["cause"], values["book"]) for values in journal if values["decision"] == "published"}
        return str(traffic.shares(self.traffic, len(due)))


def void(_: object) -> None:
    """Drop a return value."""


def result(name: str, peer_name: str, pairs: Pairs, goal: Goal | None, note: str, books: int | None = None) -> Result:
    return Result(
        name,
        UNIT,
        median(pairs.ours),
        median(pairs.peer),
        peer_name,
        pairs.ratio,
        pairs.spread,
        books,
        goal,
        note,
    )


def against_the_bare_loop(setup: Setup) -> Iterator[Result]:
    """At 500, 10 and 5,000 books, and once with `appendfsync always`."""
    for books in BOOKS:
        name = "fills_vs_bare_loop" if books == 500 else f"fills_vs_bare_loop_{books}"
        with desk.server() as url:
            # With many books, enough for each to open and close positions.
            entries = max(setup.pick(20_000, 5_000), setup.pick(6, 1) * books)
            bench = Bench(url, entries, books)
            alone = _alone(bench) if books == BOOKS[0] else ()
            # With the most books, the backlog is so long that two turns suffice.
            turns = setup.pick(2, 1) if books == max(BOOKS) else setup.repetitions
            pairs = in_turns(bench.two_processes, bench.bare_loop, turns)
            shares = bench.shares()
        yield result(name, "bare loop", pairs, OF_THE_BARE_LOOP, bench.note(*alone, shares), books)
    yield _always(setup)
    if not setup.quick:
        yield _heavy(setup)


def _alone(bench: Bench) -> tuple[str]:
    pairs = in_turns(bench.one_process, bench.bare_loop, 1)
    return (f"one process in turns: {pairs.ratio:.2f} of the bare loop",)


def _always(setup: Setup) -> Result:
    with desk.server("always") as url:
        bench = Bench(url, setup.pick(10_000, 3_000), 500)
        pairs = in_turns(bench.two_processes, bench.bare_loop, setup.pick(2, 1))
    return result("fills_vs_bare_loop_always", "bare loop, appendfsync always", pairs, None, bench.note(), 500)


def _heavy(setup: Setup) -> Result:
    """The comparison with traffic that makes far more intents due than normal trading."""
    with desk.server() as url:
        bench = Bench(url, setup.pick(20_000, 3_000), 500, traffic.heavy)
        pairs = in_turns(bench.two_processes, bench.bare_loop, 2)
        note = bench.note(bench.shares())
    return result("fills_vs_bare_loop_heavy", "bare loop", pairs, None, note, 500)


def against_faststream(setup: Setup) -> Iterator[Result]:
    try:
        from faststream.__about__ import __version__ as version
    except ImportError:
        yield Result(
            "fills_vs_faststream", UNIT, skipped="faststream is not installed: pip install 'faststream[redis]'"
        )
        return
    with desk.server() as url:
        bench = Bench(url, setup.pick(20_000, 5_000), 500)
        pairs = in_turns(bench.two_processes, bench.faststream, 2)
    peer = f"FastStream {version}"
    yield result("fills_vs_faststream", peer, pairs, None, bench.note(), 500)


def against_a_task_each(setup: Setup) -> Iterator[Result]:
    """The peer gets a shorter backlog, because its speed does not depend on the length."""
    few = setup.pick(1_000, 300)
    with desk.server() as url, desk.server() as other:
        bench = Bench(url, setup.pick(20_000, 5_000), 500)
        with TaskEach(other, bench.traffic[:few]).running() as peer:
            pairs = in_turns(bench.two_processes, peer.run, setup.pick(2, 1))
        bench.costs["a task each"] = peer.costs
    yield result("fills_vs_task_per_fill", "one Celery task per fill", pairs, OF_A_TASK_EACH, bench.note(), 500)


class TaskEach:
    """A Celery worker with one task per entry, and a sender for each run."""

    def __init__(self, url: str, entries: list[traffic.Entry]) -> None:
        self.settings = desk.settings(url)
        self.feed = Feed(url, self.settings.stream_execution_result).fill(entries)
        self.costs: list[Cost] = []
        self._env = processes.environ(url, **desk.ENVIRON)
        self._worker = 0

    @contextmanager
    def running(self) -> "Iterator[TaskEach]":
        with processes.running(["celery", f"--app={TASK_EACH}", "worker", *WORKER], self._env) as worker:
            self._worker = worker.pid
            self.run()
            self.costs.clear()
            yield self

    def run(self) -> float:
        """Entries per second of one run. The first run also waits for the worker to start."""
        self.feed.restore()
        with processes.running([TASK_EACH, str(self.feed.entries)], self._env) as sender:
            assert sender.stdout is not None and sender.stdin is not None
            sender.stdout.readline()
            before, started = self._processor(sender.pid), perf_counter()
            sender.stdin.write(b"go\n")
            sender.stdin.flush()
            processes.wait_until(lambda: self._done() >= self.feed.entries, "a task for each entry", poll=0.002)
            wall = perf_counter() - started
            client, server = (now - then for now, then in zip(self._processor(sender.pid), before, strict=True))
        self.costs.append(Cost(self.feed.entries, wall, client, server))
        return self.costs[-1].rate

    def _processor(self, sender: int) -> tuple[float, float]:
        """CPU seconds of the clients and of the server."""
        client = processes.processor_seconds(self._worker) + processes.processor_seconds(sender)
        return client, server_seconds(self.feed.client)

    def _done(self) -> int:
        return int(self.feed.client.get("bench:done") or 0)
