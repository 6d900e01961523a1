"""F16: every role is killed at random, again and again, while fills keep coming and an executor answers the intents."""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from signal import SIGKILL
from time import monotonic, sleep
from typing import Final

from laboratory.arena import Arena
from laboratory.fleet import WORKERS, signalled
from laboratory.lane import LIVE, PAUSE_SEC, Lane, beside
from laboratory.report import Result

ID: Final = "F16"
TITLE: Final = "every role killed at random"

ENTRIES: Final = 13_000
"""About 10,000 of them are fills, the others prices and answers."""
SECONDS: Final = 60.0
CALM_SEC: Final = (0.2, 1.5)
"""Between two kills."""
WATCHER_STEP: Final = "watch.move.before"


def run(arena: Arena) -> Result:
    result = Result(ID, TITLE)
    killed: Counter[str] = Counter()
    seconds = SECONDS * arena.scale
    trial = partial(_trial, seconds=seconds, entries=arena.count(ENTRIES), killed=killed)
    beside(arena, result, [(trial, {**LIVE, "WATCH_ANSWERS_UP_TO": "128"})])
    result.cases = killed.total()
    result.notes["killed"] = dict(killed)
    result.notes["stormed for s"] = seconds
    return result


def _trial(lane: Lane, seconds: float, entries: int, killed: Counter[str]) -> None:
    began = next_kill = monotonic()
    while (now := monotonic()) < began + seconds:
        if now >= next_kill:
            role = lane.rng.choice(list(ROLES))
            lane.schedule.append(f"{now - began:.2f} s: {role}")
            killed[role] += ROLES[role](lane)
            next_kill = now + lane.rng.uniform(*CALM_SEC)
        killed["watcher"] += len(lane.fleet.taken(WATCHER_STEP))
        lane.fleet.keep()
        lane.traffic.feed(max(0, round((now - began) / seconds * entries) - lane.traffic.fed))
        lane.traffic.answer()
        lane.account.check()
        sleep(PAUSE_SEC)
    lane.fleet.disarm(WATCHER_STEP)


def _pool_process(lane: Lane) -> int:
    pools = lane.fleet.pools()
    return signalled(lane.rng.sample(pools, min(1, len(pools))), SIGKILL)


def _pools(lane: Lane) -> int:
    return signalled(lane.fleet.pools(), SIGKILL)


def _main_process(lane: Lane) -> int:
    """Its pool finds out by itself."""
    return signalled(lane.fleet.node(lane.rng.choice(WORKERS))[:1], SIGKILL)


def _worker(lane: Lane) -> int:
    return signalled(lane.fleet.node(lane.rng.choice(WORKERS)), SIGKILL)


def _workers(lane: Lane) -> int:
    return sum(signalled(lane.fleet.node(name), SIGKILL) for name in WORKERS)


def _watcher(lane: Lane) -> int:
    """Once it has read the next entry; it is counted then."""
    lane.fleet.arm(WATCHER_STEP)
    return 0


def _beat(lane: Lane) -> int:
    return signalled([lane.fleet.beat.pid], SIGKILL)


def _server(lane: Lane) -> int:
    lane.fleet.restart_server()
    return 1


ROLES: Final[Mapping[str, Callable[[Lane], int]]] = {
    "pool process": _pool_process,
    "all pools": _pools,
    "main process": _main_process,
    "worker": _worker,
    "both workers": _workers,
    "watcher": _watcher,
    "beat": _beat,
    "server": _server,
}
"""Each says how many processes it killed."""
