"""One fleet that is fed, harmed and judged; several lanes run beside each other, each in a thread."""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic, sleep
from typing import Final, TypeVar

from redis.exceptions import RedisError
from waiting import wait_until

from laboratory.accounting import Account, Wrong
from laboratory.arena import Arena, executable
from laboratory.fleet import READY_WITHIN_SEC, Fleet, Taken, is_running
from laboratory.invariants import Violation
from laboratory.report import Result
from laboratory.traffic import WIDE_SPREAD, Traffic

Seen = TypeVar("Seen")
Item = TypeVar("Item")

REACHED_WITHIN_SEC: Final = 60.0
PENDING_AT_MOST_SEC: Final = 20.0
"""I9 says 5, from the moment at which every process runs again; other programs may keep the machine busy."""
DUE_WITHIN_SEC: Final = 15.0
"""I13 says 2; the same."""
PAUSE_SEC: Final = 0.02
LIVE: Final = {"HARVEST_MODE": "live", "HARVEST_LIVE_CONFIRM": "yes"}
SHADOW: Final[Mapping[str, str]] = {}


class Lane:
    """`schedule` is what was done since all was last found right. What is done depends on `rng` alone; what is fed has
    chance of its own, because how much is fed depends on the machine.
    """

    def __init__(self, fleet: Fleet, rng: random.Random, traffic: Traffic) -> None:
        self.fleet = fleet
        self.rng = rng
        self.traffic = traffic
        self.account = Account(fleet.client, fleet.settings)
        self.cases = 0
        self.schedule: list[str] = []
        self.slowest_sec = 0.0
        self.latest_due_sec = 0.0

    def flow(self, until: Callable[[], Seen], what: str, within: float = REACHED_WITHIN_SEC) -> Seen:
        """Go on feeding, checking and starting again what ended, until `until` is truthy."""
        deadline = monotonic() + within
        while not (seen := until()):
            assert monotonic() < deadline, f"{what}: not so after {within:g} s"
            self.traffic.feed(2)
            if self.fleet.settings.is_live:
                self.traffic.answer()
            self.account.check()
            self.fleet.keep()
            sleep(PAUSE_SEC)
        return seen

    def is_moved(self) -> bool:
        """Whether all that was fed is in the inboxes of its books."""
        now = self.account.check()
        return now.came == now.added

    def harm(self, step: str, order: str = "kill") -> Taken:
        """Have the next process that reaches `step` be killed or stopped, under load."""
        self.schedule.append(f"{order} at {step}")
        self.cases += 1
        restarts = self.fleet.restarts
        self.fleet.arm(step, order)
        (taken,) = self.flow(lambda: self.fleet.taken(step), f"{step} is reached")
        if order == "kill":
            wait_until(lambda: not is_running(taken.pid), REACHED_WITHIN_SEC, f"{taken.pid} is dead")
        elif order == "kill-main":
            wait_until(lambda: self.fleet.has_lost(restarts), REACHED_WITHIN_SEC, "a worker is dead")
        return taken

    def proceed(self, within: float = REACHED_WITHIN_SEC) -> float:
        """Until entries that are fed from now on reach their books; the seconds it took."""
        began, last = monotonic(), self.account.check().added
        self.flow(lambda: self.account.check().came > last, "what is fed reaches its books", within)
        return monotonic() - began

    def settle(self) -> None:
        """Feed no more; all is applied soon. Raises `Wrong` when it is not."""
        wait_until(self.fleet.is_whole, READY_WITHIN_SEC, "everything runs")
        began = monotonic()
        while not (now := self.account.check()).is_quiet:
            if not self.fleet.is_whole():
                # What was killed last may die only now; the time begins when all runs.
                wait_until(self.fleet.is_whole, READY_WITHIN_SEC, "everything runs")
                began = monotonic()
            if monotonic() > began + PENDING_AT_MOST_SEC:
                raise Wrong([Violation("I9", "lost", f"not applied after {PENDING_AT_MOST_SEC:g} s: {now}")])
            sleep(PAUSE_SEC)
        self.slowest_sec = max(self.slowest_sec, monotonic() - began)

    def judge(self) -> None:
        """Raises `Wrong` with all that is not as it must be, AssertionError if somebody tried what he may not."""
        self.settle()
        refusals = self.fleet.denied()
        assert not refusals, f"not allowed: {refusals}"
        violations = self.account.judge(self.traffic.fed)
        if violations:
            raise Wrong(violations)
        self.schedule.clear()

    def see_what_is_due(self) -> None:
        """I13, for each book, with nothing harmed."""
        for book in self.traffic.books:
            cause = self.traffic.due(book)
            wait_until(self.fleet.is_whole, READY_WITHIN_SEC, "everything runs")
            began = monotonic()
            wait_until(partial(self._is_published, cause), DUE_WITHIN_SEC, f"what is due of {book} is published")
            self.latest_due_sec = max(self.latest_due_sec, monotonic() - began)

    def _is_published(self, cause: str) -> bool:
        settings = self.fleet.settings
        target = settings.stream_trade_intent if settings.is_live else settings.stream_harvest_suggestions
        return any(f'"{cause}"' in values["payload"] for _, values in self.fleet.client.xrevrange(target, count=20))


Trial = Callable[[Lane], None]


def beside(
    arena: Arena,
    result: Result,
    trials: Sequence[tuple[Trial, Mapping[str, str]]],
    spread: int = WIDE_SPREAD,
    *,
    is_observed: bool = False,
) -> None:
    """Each trial on a fleet of its own with these settings, all at the same time; what they found, into `result`."""
    with ThreadPoolExecutor(len(trials)) as threads:
        running = [
            threads.submit(_run, arena, result, number, trial, environ, spread, is_observed)
            for number, (trial, environ) in enumerate(trials)
        ]
    lanes = [each.result() for each in running]
    result.cases += sum(lane.cases for lane in lanes)
    result.fills += sum(lane.traffic.fills for lane in lanes)
    result.intents += sum(lane.account.intents for lane in lanes)
    result.notes |= {
        "all applied after s, at most": round(max(lane.slowest_sec for lane in lanes), 2),
        "due intent after s, at most": round(max(lane.latest_due_sec for lane in lanes), 2),
        "processes started again": sum(lane.fleet.restarts for lane in lanes),
    }


def dealt(items: Sequence[Item], lanes: int, worth: int) -> list[Sequence[Item]]:
    """`items` dealt out to at most so many lanes; one more is worth its start for `worth` items more."""
    used = max(1, min(lanes, len(items) // worth))
    return [items[i::used] for i in range(used)]


def _run(
    arena: Arena,
    result: Result,
    number: int,
    trial: Trial,
    environ: Mapping[str, str],
    spread: int,
    is_observed: bool,
) -> Lane:
    with Fleet(executable(), environ, is_observed=is_observed) as fleet:
        chance = arena.chance(f"traffic {number}")
        traffic = Traffic(fleet.client, fleet.settings, chance, spread=spread, feeder=fleet.producer)
        lane = Lane(fleet, arena.chance(number), traffic)
        try:
            trial(lane)
            lane.judge()
            lane.see_what_is_due()
            lane.judge()
        except (AssertionError, RedisError) as error:
            _blame(arena, result, lane, error)
        return lane


def _blame(arena: Arena, result: Result, lane: Lane, error: AssertionError | RedisError) -> None:
    schedule = [*lane.schedule, f"then: {lane.fleet.last_words()}"]
    result.failures.append(arena.failure(f"{error}", "\n".join(schedule)))
    kinds = error.kinds if isinstance(error, Wrong) else Counter[str]()
    result.lost += kinds["lost"]
    result.doubled += kinds["doubled"]
    result.torn += kinds["torn"]
    result.out_of_order += kinds["out_of_order"]
