"""F3: the process that watches is killed at each named step, alone or beside a second watcher.

Alone, its lease ends by itself or is taken away early. A second watcher comes in when the lease goes while the first is
still at work; either may be the one that is killed.
"""

from collections.abc import Sequence
from functools import partial
from statistics import median
from typing import Final

from harvest_tasks.server import keys
from laboratory.arena import Arena
from laboratory.lane import LIVE, SHADOW, Lane, beside, dealt
from laboratory.report import Result

ID: Final = "F3"
TITLE: Final = "watchers killed at each step"

WATCH: Final = "harvest_tasks.watcher.watch_fills"
STEPS: Final = (
    "watch.ensure_group.before",
    "watch.claim.before",
    "watch.claim.after",
    "watch.read.before",
    "watch.move.before",
    "watch.run_all.before",
    "watch.move.after",
    "watch.make_plan.before",
    "watch.commit.before",
    "watch.commit.after",
    "watch.wake.after",
    "watch.renew.after",
    "watch.release.before",
    "watch.release.after",
    "watch.apply_async.after",
)
MANNERS: Final = ("alone", *["lease gone"] * 4, *["two"] * 5)
"""How each of the kills at one step is done."""
CASES: Final = 80
"""Of all steps in all manners."""
LANES: Final = (SHADOW, LIVE, SHADOW, LIVE)
WORTH: Final = 20
"""Cases for which a lane is started."""
CASES_PER_JUDGEMENT: Final = 8

Case = tuple[str, str]


def run(arena: Arena) -> Result:
    result = Result(ID, TITLE)
    cases = [(step, manner) for step in STEPS for manner in MANNERS]
    chosen = _drawn(arena, cases)
    took: list[float] = []
    trials = [
        (partial(_trial, cases=share, took=took), {**environ, "WATCH_SLICE_SEC": "0.5", "WATCH_ANSWERS_UP_TO": "128"})
        for share, environ in zip(dealt(chosen, len(LANES), WORTH), LANES, strict=False)
    ]
    beside(arena, result, trials)
    result.notes["steps"] = len({step for step, _ in chosen})
    if took:
        result.notes["replaced alone after s"] = {"median": round(median(took), 2), "worst": round(max(took), 2)}
    return result


def _drawn(arena: Arena, cases: Sequence[Case]) -> list[Case]:
    """All of `cases` so often as there are enough kills, and some of them for the rest."""
    whole, rest = divmod(arena.count(CASES), len(cases))
    return [case for count in [*[len(cases)] * whole, rest] for case in arena.rng.sample(cases, count)]


def _trial(lane: Lane, cases: Sequence[Case], took: list[float]) -> None:
    for number, (step, manner) in enumerate(cases, start=1):
        _kill(lane, step, manner, took)
        if number % CASES_PER_JUDGEMENT == 0:
            lane.judge()


def _kill(lane: Lane, step: str, manner: str, took: list[float]) -> None:
    lane.schedule.append(f"watcher: {manner}")
    if manner == "two":
        _take_lease(lane)
    lane.harm(step)
    if manner == "lease gone":
        _take_lease(lane)
    seconds = lane.proceed()
    if manner == "alone":
        took.append(seconds)


def _take_lease(lane: Lane) -> None:
    """Have the lease end, and a bell ring for another watcher."""
    lane.fleet.client.delete(keys.LEASE)
    lane.fleet.ring(WATCH)
