"""F13: Celery messages that are deleted, doubled, reordered or late beyond the visibility timeout, in the broker.

The workers' main processes, which fetch messages, stand still while a round's messages are tampered with.
"""

import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from time import time
from typing import Any, Final

from waiting import wait_until

from harvest_tasks.messaging.configuration import VISIBILITY_TIMEOUT_SEC
from harvest_tasks.server.client import Client
from laboratory.arena import Arena
from laboratory.fleet import signalled
from laboratory.lane import LIVE, SHADOW, Lane, beside, dealt
from laboratory.report import Result

ID: Final = "F13"
TITLE: Final = "messages lost, doubled, reordered, late"

FILLS: Final = "fills"
OTHERS: Final = {"harvest_tasks.watcher.watch_fills": "watch", "harvest_tasks.sweep.evaluate_positions": "control"}
"""The tasks of other bells, and their queues."""
BELLS_WAITING: Final = 6
UNACKED: Final = "unacked"
UNACKED_INDEX: Final = "unacked_index"
EXCHANGE: Final = "harvest"
BEFORE_TIMEOUT_SEC: Final = VISIBILITY_TIMEOUT_SEC + 1
CASES: Final = 100
CASES_PER_ROUND: Final = 5
LANES: Final = (SHADOW, LIVE)
WORTH: Final = 25
"""Cases for which a lane is started."""

Raw = str
"""A message as the broker holds it."""


def run(arena: Arena) -> Result:
    result = Result(ID, TITLE)
    done: Counter[str] = Counter()
    shares = dealt(range(arena.count(CASES)), len(LANES), WORTH)
    trials = [
        # A slice that outlasts the round: while the main processes stand still no watcher can begin another.
        (partial(_trial, cases=len(share), done=done), {**environ, "WATCH_SLICE_SEC": "30"})
        for share, environ in zip(shares, LANES, strict=False)
    ]
    beside(arena, result, trials)
    result.notes["tampered with"] = dict(done)
    return result


def _trial(lane: Lane, cases: int, done: Counter[str]) -> None:
    while lane.cases < cases:
        with _bells_waiting(lane):
            for kind in lane.rng.sample(list(KINDS), CASES_PER_ROUND):
                if KINDS[kind](lane):
                    lane.schedule.append(f"messages: {kind}")
                    lane.cases += 1
                    done[kind] += 1
        lane.judge()


@contextmanager
def _bells_waiting(lane: Lane) -> Iterator[None]:
    """Bells for fills wait, and nobody fetches them."""
    mains = [worker.pid for worker in lane.fleet.workers.values()]
    try:
        wait_until(lambda: _bells(lane, mains), 30.0, "bells wait")
        yield
    finally:
        signalled(mains, signal.SIGCONT)


def _bells(lane: Lane, mains: Sequence[int]) -> bool:
    """Whether enough bells wait. If not, the watcher's slice was over: let another begin."""
    signalled(mains, signal.SIGSTOP)
    while lane.fleet.broker.llen(FILLS) < BELLS_WAITING:
        lane.traffic.feed(1)
        try:
            wait_until(lane.is_moved, 2.0, "what was fed is moved")
        except AssertionError:
            signalled(mains, signal.SIGCONT)
            lane.proceed()
            return False
    return True


def _delete(lane: Lane) -> int:
    return lane.fleet.broker.lrem(FILLS, 1, _any(lane))


def _double(lane: Lane) -> int:
    copies = [_any(lane)] * lane.rng.randint(1, 5)
    lane.fleet.broker.lpush(FILLS, *copies)
    return len(copies)


def _reorder(lane: Lane) -> int:
    broker = lane.fleet.broker
    raws = broker.lrange(FILLS, 0, -1)
    before = list(raws)
    lane.rng.shuffle(raws)
    with broker.pipeline(transaction=True) as pipe:
        pipe.delete(FILLS)
        pipe.rpush(FILLS, *raws)
        pipe.execute()
    return raws != before


def _late(lane: Lane) -> int:
    """As if a worker that is dead now had fetched it longer ago than the visibility timeout."""
    broker, raw = lane.fleet.broker, _any(lane)
    _fetched(broker, raw, time() - BEFORE_TIMEOUT_SEC)
    return broker.lrem(FILLS, 1, raw)


def _fetched_and_lost(lane: Lane) -> int:
    """Fetched and never registered: the transport's own two steps, cut between."""
    return lane.fleet.broker.rpop(FILLS) is not None


def _timed_out_at_work(lane: Lane) -> int:
    """Whatever is being worked on comes a second time."""
    broker = lane.fleet.broker
    tags: list[Any] = broker.zrange(UNACKED_INDEX, 0, -1)
    for tag in tags:
        broker.zadd(UNACKED_INDEX, {tag: time() - BEFORE_TIMEOUT_SEC}, xx=True)
    return len(tags)


def _forgotten_at_work(lane: Lane) -> int:
    return lane.fleet.broker.delete(UNACKED, UNACKED_INDEX)


def _others_deleted(lane: Lane) -> int:
    _ring_others(lane)
    return lane.fleet.broker.delete(*OTHERS.values())


def _others_doubled(lane: Lane) -> int:
    _ring_others(lane)
    broker, copies = lane.fleet.broker, 0
    for queue in OTHERS.values():
        for raw in broker.lrange(queue, 0, -1):
            copies += broker.lpush(queue, raw, raw)
    return copies


def _ring_others(lane: Lane) -> None:
    for task in OTHERS:
        lane.fleet.ring(task)


KINDS: Final[Mapping[str, Callable[[Lane], int]]] = {
    "deleted": _delete,
    "doubled": _double,
    "reordered": _reorder,
    "late beyond the timeout": _late,
    "fetched and lost": _fetched_and_lost,
    "timed out at work": _timed_out_at_work,
    "forgotten at work": _forgotten_at_work,
    "other bells deleted": _others_deleted,
    "other bells doubled": _others_doubled,
}
"""Each says of how many messages; none may be there any more."""


def _any(lane: Lane) -> Raw:
    """One that waits."""
    raws = lane.fleet.broker.lrange(FILLS, 0, -1)
    assert raws, "no message waits"
    return str(lane.rng.choice(raws))


def _fetched(broker: Client, raw: Raw, at: float) -> None:
    message: dict[str, Any] = json.loads(raw)
    tag = message["properties"]["delivery_tag"]
    with broker.pipeline(transaction=True) as pipe:
        pipe.hset(UNACKED, tag, json.dumps([message, EXCHANGE, FILLS]))
        pipe.zadd(UNACKED_INDEX, {tag: at})
        pipe.execute()
