"""F2: real Celery workers killed at each named step of their work on fills, under load.

A round kills a pool process at every step, in an order of its own; after every other round everything fed so far is
judged. At the end sweeps are killed, and at each step the main process of a worker, too, which is started again.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

from laboratory.arena import Arena
from laboratory.lane import LIVE, SHADOW, Lane, beside, dealt
from laboratory.report import Result

ID: Final = "F2"
TITLE: Final = "workers killed at each step"

STEPS: Final = (
    "fills.task.before",
    "fills.load.before",
    "fills.load.after",
    "fills.make_plan.before",
    "fills.make_plan.after",
    "fills.commit.before",
    "fills.run_batches.before",
    "fills.commit.after",
    "fills.unlock.before",
    "fills.wake.before",
    "fills.wake.after",
    "fills.task.after",
)
SWEEP_STEPS: Final = ("sweep.task.before", "sweep.deliver.after", "sweep.wake.before", "sweep.task.after")
"""Killed once in each lane: a sweep comes once a second."""
MAIN_STEPS: Final = (*STEPS, "fills.ack.before", "fills.ack.after")
"""Those of `ack` are only reached by main processes."""
ROUNDS: Final = 20
ROUNDS_PER_JUDGEMENT: Final = 2
MAINS_PER_JUDGEMENT: Final = 4
LANES: Final = (SHADOW, LIVE)
WORTH: Final = 5
"""Rounds for which a lane is started."""


def run(arena: Arena) -> Result:
    result = Result(ID, TITLE)
    rounds, mains = arena.count(ROUNDS), MAIN_STEPS[: arena.count(len(MAIN_STEPS))]
    shares = dealt(range(rounds), len(LANES), WORTH)
    trials = [
        (partial(_trial, rounds=len(share), mains=of_main, sweeps=SWEEP_STEPS[: len(share) // 2]), environ)
        for share, of_main, environ in zip(shares, dealt(mains, len(shares), 1), LANES, strict=False)
    ]
    beside(arena, result, trials)
    result.notes["kills at each step"] = rounds
    result.notes["kills of a main process"] = len(mains)
    return result


def _trial(lane: Lane, rounds: int, sweeps: Sequence[str], mains: Sequence[str]) -> None:
    for number in range(1, rounds + 1):
        for step in lane.rng.sample(STEPS, len(STEPS)):
            lane.harm(step)
        if number % ROUNDS_PER_JUDGEMENT == 0:
            lane.judge()
    for step in sweeps:
        lane.harm(step)
    for number, step in enumerate(mains, start=1):
        lane.harm(step, "kill-main")
        if number % MAINS_PER_JUDGEMENT == 0:
            lane.judge()
