"""CEL: what Celery on Redis is known for: messages lost between two commands, doubled by a timeout, stale in heaps,
workers that no longer listen after their broker restarted, replies that never come.

Three fleets beside each other: one whose visibility timeout is shortened, and two that compute proposals, too, of
which one has its workers stand still for a minute.
"""

import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from threading import Timer
from time import monotonic, time
from typing import Any, Final

import inputs
from celery import Celery
from celery.exceptions import TimeoutError as NoReply
from waiting import wait_until

from harvest_tasks.messaging.configuration import QUEUES, configuration
from harvest_tasks.server import keys
from laboratory.arena import Arena
from laboratory.fleet import OTHER, signalled
from laboratory.lane import LIVE, SHADOW, Lane, beside
from laboratory.message_notes import Noted, read
from laboratory.report import Result
from laboratory.silencing_proxy import Mute

ID: Final = "CEL"
TITLE: Final = "Celery's own weaknesses"

PROCESS: Final = "harvest_tasks.brain.process_fills"
PROPOSALS: Final = "harvest_tasks.proposals.compute_proposals"
PROPOSAL: Final = "harvest_tasks.proposals.compute_proposal"
SWEEP: Final = "harvest_tasks.sweep.evaluate_positions"

VISIBILITY_SEC: Final = 3.0
AGAIN_WITHIN_SEC: Final = 60.0
LOST: Final = 8
FETCHED: Final = "fetch.append.before"
RINGS_WITHIN_SEC: Final = 3.0
DOUBLED: Final = 6
AT_ONCE: Final = 3
"""Tasks that outlast the timeout at the same time."""
RESTARTS: Final = 20
BETWEEN_RESTARTS_SEC: Final = (0.2, 1.0)
RESTARTS_PER_LOOK: Final = 5
AT_WORK_WITHIN_SEC: Final = 60.0
STOPPED_SEC: Final = 60.0
SHORTEST_STOP_SEC: Final = 4.0
"""Several times a proposal's bell is good for."""
REPLIES: Final = 3
PATIENCE_SEC: Final = 2.0
"""For a reply."""
CHANGES: Final = 3
DOUBLE_BELLS: Final = 3
MARKETS: Final = (inputs.FLIPPED, inputs.CALM)
"""In turn; what is proposed differs."""
STEADY: Final = "STEADYUSDT"
"""A symbol that no fill reaches."""
HURRIED: Final = {**SHADOW, "FAULTS_VISIBILITY_SEC": f"{VISIBILITY_SEC}"}
PROPOSING: Final = {
    **LIVE,
    "SYMBOLS": f"{STEADY},C0USDT,C1USDT",
    "PUBLISH_INTERVAL_SEC": "1",
    "ENABLE_STREAM": "true",
    # Only what changes is to be published again.
    "MAX_PUBLISH_AGE_SEC": "3600",
    # The exchange's record has a position that no fill made.
    "RECONCILE_INTERVAL_SEC": "86400",
}

Facts = dict[str, object]
Weakness = Callable[[Lane, float, Facts], None]
"""Tries one weakness so often as the scale says, and adds facts."""


def run(arena: Arena, chosen: Iterable[str] | None = None) -> Result:
    """Of the weaknesses by name, those `chosen`."""
    result = Result(ID, TITLE)
    facts: Facts = {}
    names = set(chosen or [name for weaknesses, _ in FLEETS for name in weaknesses])
    wanted = [([weaknesses[n] for n in weaknesses if n in names], environ) for weaknesses, environ in FLEETS]
    trials = [(partial(_trial, weaknesses=of_one, scale=arena.scale, facts=facts), e) for of_one, e in wanted if of_one]
    beside(arena, result, trials, is_observed=True)
    result.notes |= facts
    return result


def _trial(lane: Lane, weaknesses: Sequence[Weakness], scale: float, facts: Facts) -> None:
    for weakness in weaknesses:
        weakness(lane, scale, facts)
        lane.judge()


def _times(full: int, scale: float) -> int:
    return max(1, round(full * scale))


def _noted(lane: Lane, what: str, task: str = "") -> list[Noted]:
    found = read(lane.fleet.failpoints)
    return [noted for noted in found if noted.what == what and task in ("", noted.task)]


# By a fleet whose messages come again after VISIBILITY_SEC.


def lost_when_fetched(lane: Lane, scale: float, facts: Facts) -> None:
    """A main process dies between taking a message and noting that it has it. No later message helps."""
    lost = []
    for _ in range(_times(LOST, scale)):
        lane.settle()
        lane.schedule.append(f"one entry; kill at {FETCHED}")
        lane.cases += 1
        lane.fleet.arm(FETCHED)
        pid = wait_until(lambda: _fetcher(lane), AGAIN_WITHIN_SEC, f"{FETCHED} is reached")
        lost.append(next(noted.id for noted in reversed(_noted(lane, "popped")) if noted.pid == pid))
        assert not _is_anywhere(lane, lost[-1]), "the message is not lost: the case tests nothing"
        lane.judge()
    assert not {noted.id for noted in _noted(lane, "taken")} & set(lost), "a lost message came again"
    facts["messages that went when they were fetched"] = len(lost)


def _fetcher(lane: Lane) -> int | None:
    """Who died while it fetched the bell for one more entry; None if that entry needed no bell."""
    lane.traffic.feed(1)
    with suppress(AssertionError):
        (taken,) = wait_until(partial(lane.fleet.taken, FETCHED), RINGS_WITHIN_SEC, "a bell is fetched")
        return taken.pid
    return None


def _is_anywhere(lane: Lane, message_id: str) -> bool:
    broker = lane.fleet.broker
    raws = [*broker.lrange("fills", 0, -1), *broker.hvals("unacked")]
    return any(message_id in raw for raw in raws)


def doubled_by_the_timeout(lane: Lane, scale: float, facts: Facts) -> None:
    """Tasks outlast the visibility timeout: their messages are given to others while they are worked on."""
    slow = 0
    while slow < _times(DOUBLED, scale):
        pids = [lane.harm("fills.load.after", "stop").pid for _ in range(min(AT_ONCE, _times(DOUBLED, scale) - slow))]
        try:
            latest = {noted.pid: noted.id for noted in _noted(lane, "begun", PROCESS)}
            ids = {latest[pid] for pid in pids}
            lane.flow(partial(_came_again, lane, ids), "the messages come again", AGAIN_WITHIN_SEC)
        finally:
            signalled(pids, signal.SIGCONT)
        slow += len(pids)
        lane.schedule.append("the slow ones go on")
        lane.proceed()
    facts["messages doubled by the visibility timeout"] = slow


def _came_again(lane: Lane, ids: set[str]) -> bool:
    """Whether each message was begun twice."""
    begun = [noted.id for noted in _noted(lane, "begun", PROCESS)]
    return all(begun.count(message_id) > 1 for message_id in ids)


def broker_restarted(lane: Lane, scale: float, facts: Facts) -> None:
    """Again and again, killed or asked to stop. A worker that ends is started again; all of them listen again."""
    before, slowest = lane.fleet.restarts, 0.0
    for number in range(1, _times(RESTARTS, scale) + 1):
        gently = lane.rng.random() < 0.5
        lane.schedule.append(f"server {'stopped' if gently else 'killed'} and started")
        lane.cases += 1
        lane.fleet.restart_server(gently=gently)
        lane.flow(partial(_is_over, monotonic() + lane.rng.uniform(*BETWEEN_RESTARTS_SEC)), "time passes")
        if number % RESTARTS_PER_LOOK == 0 or number == _times(RESTARTS, scale):
            began = monotonic()
            lane.flow(partial(_is_listened, lane), "every worker asks for messages", AT_WORK_WITHIN_SEC)
            lane.proceed(AT_WORK_WITHIN_SEC)
            slowest = max(slowest, monotonic() - began)
    facts["restarts of the broker"] = _times(RESTARTS, scale)
    facts["all workers listened again after s, at most"] = round(slowest, 2)
    facts["processes that ended by it"] = lane.fleet.restarts - before


def _is_listened(lane: Lane) -> bool:
    asking = [other for other in lane.fleet.broker.client_list() if other["cmd"] == "brpop"]
    return lane.fleet.are_workers_ready() and len(asking) == len(lane.fleet.workers)


# By a fleet that computes proposals each second.


def consumers_stopped(lane: Lane, scale: float, facts: Facts) -> None:
    """Nobody takes messages for a while, and beat goes on: what has piled up and expired is dropped, not worked on."""
    workers = lane.fleet.workers
    seconds = max(SHORTEST_STOP_SEC, STOPPED_SEC * scale)
    lane.schedule.append(f"all workers stand still for {seconds:g} s")
    lane.cases += 1
    pids = [pid for name in workers for pid in lane.fleet.node(name)]
    signalled(pids, signal.SIGSTOP)
    try:
        lane.flow(partial(_is_over, monotonic() + seconds), "time passes", seconds + AT_WORK_WITHIN_SEC)
        piled = sum(lane.fleet.broker.llen(queue) for queue in QUEUES)
    finally:
        resumed = time()
        signalled(pids, signal.SIGCONT)
    lane.judge()
    wait_until(lambda: any(n.at > resumed for n in _noted(lane, "taken", PROPOSALS)), AT_WORK_WITHIN_SEC, "a proposal")
    late = [noted for noted in _noted(lane, "taken") if noted.at > resumed and noted.task != PROCESS]
    stale = [noted for noted in late if noted.expires is None or noted.expires < resumed]
    # A process may have been stopped between its look at the clock and the note.
    assert len(stale) <= len(workers), f"{len(stale)} expired messages of {piled} were worked on: {stale[:3]}"
    facts["consumers stopped for s"] = seconds
    facts["messages piled up, and stale ones of them worked on"] = [piled, len(stale)]


def two_beats(lane: Lane, scale: float, facts: Facts) -> None:
    """Everything is rung for twice, and done once; each change of a proposal is published once."""
    client = lane.fleet.client
    inputs.position_hash(client, STEADY)
    lane.fleet.start_another_beat()
    lane.flow(partial(_is_rung_twice, lane, time()), "both beats ring", AT_WORK_WITHIN_SEC)
    before, changes = _published(lane), _times(CHANGES, scale)
    for number in range(1, changes + 1):
        lane.cases += 1
        lane.schedule.append("the market changes, with two beats")
        inputs.market_state(client, STEADY, **MARKETS[number % 2])
        lane.flow(partial(_is_looked_at_again, lane, before + number), "it is proposed", AT_WORK_WITHIN_SEC)
        assert _published(lane) == before + number, f"{_published(lane) - before} proposals for {number} changes"
    facts["changes with two beats, proposals published"] = [changes, _published(lane) - before]


def _is_rung_twice(lane: Lane, since: float) -> bool:
    """Whether sweeps came in pairs, each of which was sent at the same moment of the clock."""
    # Sent at half past each second.
    slots = [int(n.expires - 0.25) for n in _noted(lane, "taken", SWEEP) if n.at > since and n.expires is not None]
    return len(slots) - len(set(slots)) >= DOUBLE_BELLS


def _published(lane: Lane) -> int:
    entries = lane.fleet.client.xrange(lane.fleet.settings.stream_name)
    return sum(fields["symbol"] == STEADY for _, fields in entries)


def _is_looked_at_again(lane: Lane, wanted: int) -> bool:
    """Whether so many are published, and several cycles went by after that."""
    if _published(lane) < wanted:
        return False
    client = lane.fleet.client
    before = _unchanged(client)
    lane.flow(lambda: _unchanged(client) >= before + 2 * len(lane.fleet.beats), "more cycles", AT_WORK_WITHIN_SEC)
    return True


def _unchanged(client: Any) -> int:
    return int(client.hget(keys.COUNTS, "proposals:unchanged") or 0)


def replies_lost(lane: Lane, scale: float, facts: Facts) -> None:
    """What is announced on a connection that went dead is not waited for beyond what the caller says, and can be had
    by asking again.
    """
    inputs.position_hash(lane.fleet.client, STEADY)
    inputs.market_state(lane.fleet.client, STEADY, **inputs.CALM)
    slowest, kept = 0.0, 0
    with _asked_through_a_proxy(lane) as (app, mute):
        app.send_task(PROPOSAL, (STEADY,), queue="adhoc").get(timeout=AT_WORK_WITHIN_SEC)
        for _ in range(_times(REPLIES, scale)):
            lane.cases += 1
            lane.schedule.append("a reply is lost")
            slowest = max(slowest, _ask_in_vain(lane, app, mute))
            kept = mute.kept
    facts["replies lost, of which announced to nobody"] = [_times(REPLIES, scale), kept]
    facts["waited for a lost reply s, at most"] = [round(slowest, 2), f"asked for {PATIENCE_SEC:g}"]


def _ask_in_vain(lane: Lane, app: Celery, mute: Mute) -> float:
    """How long the caller waited. The worker begins only once it does."""
    pids = lane.fleet.node(OTHER)
    signalled(pids, signal.SIGSTOP)
    mute.is_silent = True
    going_on = Timer(PATIENCE_SEC / 4, signalled, (pids, signal.SIGCONT))
    try:
        asked = app.send_task(PROPOSAL, (STEADY,), queue="adhoc")
        going_on.start()
        began = monotonic()
        try:
            asked.get(timeout=PATIENCE_SEC)
        except NoReply:
            waited = monotonic() - began
        else:
            raise AssertionError("the reply came: the case tests nothing")
    finally:
        going_on.cancel()
        signalled(pids, signal.SIGCONT)
        mute.is_silent = False
    wait_until(lambda: asked.state == "SUCCESS", AT_WORK_WITHIN_SEC, "the reply is there")
    assert asked.get(timeout=AT_WORK_WITHIN_SEC)["symbol"] == STEADY
    return waited


@contextmanager
def _asked_through_a_proxy(lane: Lane) -> Iterator[tuple[Celery, Mute]]:
    """A client of Harvest's that hears of results through a proxy."""
    port = int(lane.fleet.server.url().rpartition(":")[2].partition("/")[0])
    with closing(Mute(port)) as mute:
        app = Celery("harvest_tasks", set_as_current=False)
        app.conf.update(configuration(lane.fleet.settings))
        app.conf.result_backend = f"redis://127.0.0.1:{mute.port}/1"
        try:
            yield app, mute
        finally:
            app.close()


def _is_over(until: float) -> bool:
    return monotonic() > until


FLEETS: Final[Sequence[tuple[Mapping[str, Weakness], Mapping[str, str]]]] = (
    (
        {
            "lost when fetched": lost_when_fetched,
            "doubled by the timeout": doubled_by_the_timeout,
            "broker restarted": broker_restarted,
        },
        HURRIED,
    ),
    ({"two beats": two_beats, "replies lost": replies_lost}, PROPOSING),
    ({"consumers stopped": consumers_stopped}, PROPOSING),
)
"""What each fleet is tried with, and its settings."""
