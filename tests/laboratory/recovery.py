"""How long fills wait when something is killed under load: from kill -9 until the next fill becomes an intent.

At every moment some fill is fed that makes an intent due. What counts is the first of those fed after the kill: the
seconds from the kill to its intent. A worker's child is killed with a book in its hands, and now and then that book's
next fill is measured beside it: its lock outlives its owner. A worker's main process takes its whole pool with it, and
with that the watcher, if it is there: those are told apart.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from statistics import median
from time import monotonic, sleep
from typing import Final

from harvest_tasks.server import keys
from laboratory.arena import Arena
from laboratory.fleet import Taken
from laboratory.lane import Lane, beside, dealt
from laboratory.report import Result

ID: Final = "REC"
TITLE: Final = "recovery under 500 fills a second"

RATE: Final = 500.0
"""Fills a second; prices come beside them."""
TICK_SEC: Final = 0.01
DUE_EVERY_TICKS: Final = 3
CATCH_UP_SEC: Final = 0.1
"""A longer delay of the load is not made up for."""
SAMPLES: Final = 20
LANES: Final = 2
WORTH: Final = 4
"""Samples of each role for which a lane is started."""
AT_MOST_SEC: Final = 120.0
"""On a machine that needs longer for all samples there are fewer; how many is told."""
CHILD: Final = "worker child"
MAIN: Final = "worker main"
MAIN_AND_WATCHER: Final = "worker main, with the watcher"
WATCHER: Final = "watcher"
BEAT: Final = "beat"
SERVER: Final = "server"
ROLES: Final = (MAIN, WATCHER, SERVER, BEAT, CHILD)
"""Killed in turn, which gives each the time to come back."""
GOALS: Final = {CHILD: 1.0, MAIN: 1.0, MAIN_AND_WATCHER: 3.0, WATCHER: 3.0, BEAT: 1.0, SERVER: 2.0}
"""Seconds."""
START_AGAIN_SEC: Final = 0.5
"""As `harvest up` does it."""
COLD_SEC: Final = 1.0
"""The first work of a process takes longer."""
WARM_SEC: Final = 0.3
CALM_ENTRIES: Final = 50
MOST_BEHIND: Final = 5_000
"""A machine that is busy with other things, too, is not fed faster than it can work."""
BOOK_TOO: Final = 0.25
"""Of the killed children: how often the book that it held is measured, too."""
STEP: Final = "fills.commit.before"
A_COMMIT_SEC: Final = 0.03
"""A lock that is older is a dead worker's."""
WITHIN_SEC: Final = 60.0
LIVELY: Final = tuple(f"P{i}USDT" for i in range(40))
"""Books whose fills make intents due."""
TAME_SPREAD: Final = 10
"""Cents, of all other fills: no rung is so near."""
SETTINGS: Final = {"HARVEST_SET_BE_AT_R": "90", "WATCH_SLICE_SEC": "5"}

HEADINGS: Final = ("median", "worst", "of", "goal", "over it")

Samples = dict[str, list[float]]


def run(arena: Arena, roles: Sequence[str] = ROLES, rate: float = RATE) -> Result:
    result = Result(ID, TITLE)
    samples: Samples = {}
    rates: list[float] = []
    shares = dealt(range(arena.count(SAMPLES)), LANES, WORTH)
    trials = [
        (partial(_trial, victims=[*roles] * len(share), rate=rate, samples=samples, rates=rates), SETTINGS)
        for share in shares
    ]
    beside(arena, result, trials, TAME_SPREAD)
    result.notes["fills a second"] = [round(rate) for rate in rates]
    recovery = {name: _summary(name, samples[name]) for name in sorted(samples)}
    result.notes["recovery"] = recovery
    sys.stdout.writelines(f"{line}\n" for line in _table(recovery))
    return result


def _summary(name: str, seconds: Sequence[float]) -> dict[str, object]:
    goal = GOALS.get(name)
    head = {"median": round(median(seconds), 3), "worst": round(max(seconds), 3), "of": len(seconds)}
    return head if goal is None else {**head, "goal": goal, "over it": sum(second > goal for second in seconds)}


def _table(recovery: Mapping[str, Mapping[str, object]]) -> Iterator[str]:
    width = max(map(len, recovery), default=0)
    yield "  ".join(["seconds until".ljust(width), *(heading.rjust(7) for heading in HEADINGS)])
    for name, row in recovery.items():
        yield "  ".join([name.ljust(width), *(str(row.get(heading, "")).rjust(7) for heading in HEADINGS)])


def _trial(lane: Lane, victims: Sequence[str], rate: float, samples: Samples, rates: list[float]) -> None:
    load = Load(lane, rate)
    load.flow(partial(_is_over, monotonic() + COLD_SEC))
    began = monotonic()
    for role in victims:
        if monotonic() > began + AT_MOST_SEC:
            break
        load.calm()
        lane.cases += 1
        lane.schedule.append(f"{role} is killed")
        for name, seconds in KILLS[role](load):
            samples.setdefault(name, []).append(seconds)
    rates.append(load.rate)


class Load:
    """The flow of fills, and when which of their intents came."""

    def __init__(self, lane: Lane, asked_rate: float) -> None:
        self.lane = lane
        self._asked_rate = asked_rate
        self._ticks = 0
        self._last = monotonic()
        self._owed = 0.0
        self._fed: dict[str, float] = {}
        self._seen_to = "0-0"
        self._missed: float | None = None
        self._flowed_sec = 0.0

    def flow(self, until: Callable[[], object]) -> None:
        began = self._last = monotonic()
        while not until():
            assert monotonic() < began + WITHIN_SEC, f"no recovery within {WITHIN_SEC:g} s"
            self._tick()
            self._supervise()
        self._flowed_sec += monotonic() - began

    def calm(self) -> None:
        """Until next to nothing waits; then a little longer under load."""
        began = monotonic()
        while self._behind() > CALM_ENTRIES:
            assert monotonic() < began + WITHIN_SEC, f"not calm within {WITHIN_SEC:g} s"
            self._supervise()
            sleep(TICK_SEC)
        self.flow(partial(_is_over, monotonic() + WARM_SEC))

    def _behind(self) -> int:
        """Entries that wait."""
        now = self.lane.account.check()
        return now.added - now.came + now.queued

    def _supervise(self) -> None:
        """Start again, after a while, what has ended."""
        if self.is_whole():
            self._missed = None
            return
        self._missed = self._missed or monotonic()
        if monotonic() > self._missed + START_AGAIN_SEC:
            self.lane.fleet.keep()

    def is_whole(self) -> bool:
        return all(program.status == "running" for program in self.lane.fleet.programs.values())

    def _tick(self) -> None:
        """What is due by now of the load, and now and then a fill that makes an intent due."""
        before, now = self.lane.traffic.fills, monotonic()
        self._owed += self._asked_rate * min(CATCH_UP_SEC, now - self._last)
        self._last = now
        if self._ticks % DUE_EVERY_TICKS == 0:
            self.due(LIVELY[self._ticks // DUE_EVERY_TICKS % len(LIVELY)])
        self._ticks += 1
        if self._behind() < MOST_BEHIND:
            self.lane.traffic.feed(max(0, round(self._owed)))
        self._owed -= self.lane.traffic.fills - before
        sleep(TICK_SEC)

    @property
    def rate(self) -> float:
        """Fills a second, while fills were fed."""
        return self.lane.traffic.fills / self._flowed_sec

    def due(self, book: str) -> str:
        cause = self.lane.traffic.due(book)
        self._fed[cause] = monotonic()
        return cause

    def until_published(self, is_wanted: Callable[[str, float], bool]) -> None:
        """Until the intent of a fill is there for which `is_wanted(its id, when it was fed)`."""
        self.flow(lambda: any(cause in self._fed and is_wanted(cause, self._fed[cause]) for cause in self._new()))

    def _new(self) -> Iterator[str]:
        """The causes of the intents that came since the last look."""
        target = self.lane.fleet.settings.stream_harvest_suggestions
        for entry_id, values in self.lane.fleet.client.xrange(target, f"({self._seen_to}"):
            self._seen_to = entry_id
            yield json.loads(values["payload"])["trace_id"]


def _child(load: Load) -> Iterator[tuple[str, float]]:
    """Between its plan and its commit."""
    lane = load.lane
    lane.fleet.arm(STEP)
    killed = _taken(load, STEP)
    load.flow(partial(_is_over, killed + A_COMMIT_SEC))
    held = [book for book in (*LIVELY, *lane.traffic.books) if _is_left(lane, book)]
    yield CHILD, _next_intent(load, killed)
    if held and lane.rng.random() < BOOK_TOO:
        cause = load.due(lane.rng.choice(held))
        load.until_published(lambda found, _: found == cause)
        yield "the dead child's book", monotonic() - killed


def _main(load: Load) -> Iterator[tuple[str, float]]:
    """And so its whole pool."""
    load.flow(load.lane.fleet.are_workers_ready)
    load.lane.fleet.arm(STEP, "kill-main")
    killed = _taken(load, STEP)
    holder = load.lane.fleet.client.get(keys.LEASE)
    seconds = _next_intent(load, killed)
    yield MAIN if load.lane.fleet.client.get(keys.LEASE) == holder else MAIN_AND_WATCHER, seconds


def _is_left(lane: Lane, book: str) -> bool:
    """Whether a lock is there that was not taken just now."""
    left_ms = lane.fleet.client.pttl(keys.lock(book))
    return 0 < left_ms < (lane.fleet.settings.harvest_lock_ttl_sec - A_COMMIT_SEC) * 1000


def _watcher(load: Load) -> Iterator[tuple[str, float]]:
    """Between its read and its move."""
    load.lane.fleet.arm("watch.move.before")
    yield WATCHER, _next_intent(load, _taken(load, "watch.move.before"))


def _beat(load: Load) -> Iterator[tuple[str, float]]:
    load.lane.fleet.beat.kill()
    killed = monotonic()
    yield BEAT, _next_intent(load, killed)


def _server(load: Load) -> Iterator[tuple[str, float]]:
    load.lane.fleet.rewrite_log()
    killed = monotonic()
    load.lane.fleet.restart_server()
    yield "the server's own start", monotonic() - killed
    yield SERVER, _next_intent(load, killed)


KILLS: Final[Mapping[str, Callable[[Load], Iterator[tuple[str, float]]]]] = {
    CHILD: _child,
    MAIN: _main,
    WATCHER: _watcher,
    BEAT: _beat,
    SERVER: _server,
}


def _is_over(until: float) -> bool:
    return monotonic() > until


def _taken(load: Load, step: str) -> float:
    """When somebody was killed at `step`."""
    found: list[Taken] = []

    def is_taken() -> bool:
        found.extend(load.lane.fleet.taken(step))
        return bool(found)

    load.flow(is_taken)
    return found[0].at


def _next_intent(load: Load, killed: float) -> float:
    load.until_published(lambda _, fed: fed > killed)
    return monotonic() - killed
