"""F4: processes that stand still past every lock and lease, while others take over, and then go on where they were."""

import signal
from collections.abc import Sequence
from functools import partial
from time import monotonic
from typing import Final

from harvest_tasks.fills.lease import LEASE_MS
from laboratory.arena import Arena
from laboratory.fleet import WORKERS, signalled
from laboratory.lane import LIVE, SHADOW, Lane, beside, dealt
from laboratory.report import Result

ID: Final = "F4"
TITLE: Final = "stalls past every lock and lease"

STALLED_SEC: Final = LEASE_MS / 1000 + 0.3
"""Longer than the lease; a lock (HARVEST_LOCK_TTL_SEC=1) is shorter still."""
FILLS: Final = (
    "task.before",
    "load.after",
    "make_plan.after",
    "unlock.after",
    "run_batches.before",
    "commit.after",
)
WATCH: Final = ("claim.after", "read.before", "move.before", "run_all.before", "move.after", "renew.before")
NODE: Final = "a whole worker"
GROUPS: Final = 8
LANES: Final = (SHADOW, LIVE)
WORTH: Final = 4
"""Groups for which a lane is started."""

Group = Sequence[str]
"""What stands still at the same time."""


def run(arena: Arena) -> Result:
    result = Result(ID, TITLE)
    groups = [_group(arena, number) for number in range(arena.count(GROUPS))]
    trials = [
        (partial(_trial, groups=share), {**environ, "WATCH_SLICE_SEC": "1"})
        for share, environ in zip(dealt(groups, len(LANES), WORTH), LANES, strict=False)
    ]
    beside(arena, result, trials)
    result.notes["stalled for at least s"] = STALLED_SEC
    return result


def _group(arena: Arena, number: int) -> Group:
    """Two workers and a watcher; now and then one of the workers is stopped with its main process and its pool."""
    fills = [f"fills.{step}" for step in arena.rng.sample(FILLS, 2)]
    return [*(fills if number % 4 else [fills[0], NODE]), f"watch.{arena.rng.choice(WATCH)}"]


def _trial(lane: Lane, groups: Sequence[Group]) -> None:
    for group in groups:
        stopped = [pid for each in group for pid in _stop(lane, each)]
        try:
            until = monotonic() + STALLED_SEC
            lane.flow(partial(_is_over, until), "time passes")
            lane.proceed()
            # What those who stand still had in their hands is done by others; they do not know.
            lane.settle()
        finally:
            signalled(stopped, signal.SIGCONT)
        lane.schedule.append("all go on")
        lane.proceed()
        lane.judge()


def _is_over(until: float) -> bool:
    return monotonic() > until


def _stop(lane: Lane, what: str) -> list[int]:
    if what != NODE:
        return [lane.harm(what, "stop").pid]
    lane.cases += 1
    lane.schedule.append(f"stop {NODE}")
    pids = lane.fleet.node(lane.rng.choice(WORKERS))
    signalled(pids, signal.SIGSTOP)
    return pids
