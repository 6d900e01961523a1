"""F5: the server is killed under full load, in and around the rewriting of its log, and started again on that log.

Watcher, workers and producer outlive it and go on. This is no claim about power cuts (log_cuts is nearest): a killed
process keeps what it handed to the system. So that an answer means that much, the log is written before it is given,
with `appendfsync no` and `always` in turn; with `everysec` a write may wait for a sync, and up to two seconds of
answered entries go with the process.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import sleep
from typing import Final

from redis.exceptions import RedisError, ResponseError
from waiting import wait_until

from harvest_tasks.processes.embedded_server import EmbeddedServer
from harvest_tasks.processes.process_group import ProcessGroups, kill_group
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings
from laboratory.accounting import Account, Wrong
from laboratory.arena import Arena
from laboratory.arena_pool import blame, gather
from laboratory.fleet import SETTINGS
from laboratory.invariants import Violation
from laboratory.lane import LIVE, SHADOW
from laboratory.producer import Producer
from laboratory.report import Result
from laboratory.threaded_path import Hands, not_allowed
from laboratory.traffic import WIDE_SPREAD

ID: Final = "F5"
TITLE: Final = "server killed under load"

CASES: Final = 100
CASES_PER_TRIAL: Final = 5
QUIET_WITHIN_SEC: Final = 30.0
FLOOD: Final = 20
"""Entries that the producer sends in one go."""
LOAD_SEC: Final = (0.02, 0.15)
"""How long the load goes on before a kill."""
REWRITE_DELAY_US: Final = 2_000
"""A key; so that a rewrite of a small log lasts long enough to be met."""
SYNCS: Final = ("no", "always")
REWRITES: Final = ("--auto-aof-rewrite-min-size", "200kb", "--auto-aof-rewrite-percentage", "50")
TIMES_OUT: Final = ("time passes", "time passes", "time passes", "dedup expires", "at once")
"""What of the keys with a time to live is gone when the server is back."""


@dataclass(frozen=True, slots=True)
class Trial:
    """So many kills of one server."""

    number: int
    kills: int


def run(arena: Arena) -> Result:
    result = Result(ID, TITLE)
    cases = arena.count(CASES)
    sizes = [min(CASES_PER_TRIAL, cases - begun) for begun in range(0, cases, CASES_PER_TRIAL)]
    gather(arena, result, _trial, [Trial(number, size) for number, size in enumerate(sizes)])
    return result


def _trial(arena: Arena, trial: Trial) -> Result:
    result, sync = Result(ID, TITLE), SYNCS[trial.number % len(SYNCS)]
    server = arena.server(options=("--appendfsync", sync, *REWRITES))
    settings = Settings.from_env({**SETTINGS, **(LIVE if trial.number // 2 % 2 else SHADOW)})
    client = arena.client(server)
    producer = Producer(client, settings, arena.chance(f"entries {trial.number}"), spread=WIDE_SPREAD)
    with Hands(server, settings) as hands:
        account, rng = Account(client, settings), arena.chance(trial.number)
        desk = _Desk(server, client, producer, hands, account, rng, settings.is_live)
        for _ in range(trial.kills):
            result.cases += 1
            wrong = desk.case()
            blame(arena, result, wrong, "\n".join([f"appendfsync {sync}, trial {trial.number}", *desk.schedule]))
            if wrong:
                break
        _conclude(result, desk, sync)
    return result


def _conclude(result: Result, desk: "_Desk", sync: str) -> None:
    result.fills, result.intents = desk.producer.fills, desk.account.intents
    result.notes["killed with appendfsync"] = {sync: result.cases}
    result.notes["killed"] = dict(desk.killed)
    result.notes["entries nobody answered for"] = {
        "there": desk.producer.found_in_doubt,
        "sent again": desk.sent_again,
    }
    result.notes["tasks that failed meanwhile"] = dict(desk.hands.failed)


class _Desk:
    """One server and all who talk to it. `schedule` says what was done."""

    def __init__(
        self,
        server: EmbeddedServer,
        client: Client,
        producer: Producer,
        hands: Hands,
        account: Account,
        rng: random.Random,
        live: bool,
    ) -> None:
        self.producer, self.hands, self.account = producer, hands, account
        self._live = live
        self.killed: Counter[str] = Counter()
        self.sent_again = 0
        self.schedule: list[str] = []
        self._server, self._client, self._rng = server, client, rng

    def case(self) -> list[Violation]:
        """Load, kill, start again, go on; what does not hold then."""
        manner = self._rng.choice(list(MANNERS))
        load = threading.Thread(target=self._load, daemon=True)
        load.start()
        try:
            sleep(self._rng.uniform(*LOAD_SEC))
            self.killed[MANNERS[manner](self._server, self._client, self._rng)] += 1
            self.schedule.append(f"kill: {manner}")
        finally:
            self._server.kill()
            load.join()
        return self._go_on()

    def _load(self) -> None:
        """Until the server is gone."""
        try:
            while True:
                self.producer.feed(FLOOD)
                if self._live:
                    self.producer.answer()
        except RedisError:
            return

    def _go_on(self) -> list[Violation]:
        self._server.start()
        self._client.connection_pool.disconnect()
        self._let_time_pass()
        in_doubt, found = len(self.producer.doubtful), self.producer.found_in_doubt
        self.producer.resolve()
        self.sent_again += in_doubt - (self.producer.found_in_doubt - found)
        if unlike := list(self.producer.unlike()):
            return unlike
        try:
            wait_until(lambda: self.account.check().is_quiet, QUIET_WITHIN_SEC, "all is applied")
        except Wrong as wrong:
            return [Violation("I4", kind, str(wrong)) for kind in wrong.kinds]
        except AssertionError as late:
            return [Violation("I9", "lost", f"{late}; {self.hands.unexpected}")]
        found_wrong = [Violation("I13", "other", what) for what in self.hands.unexpected]
        return found_wrong + self.account.judge(self.producer.fed) + not_allowed(self._client)

    def _let_time_pass(self) -> None:
        what = self._rng.choice(TIMES_OUT)
        self.schedule.append(what)
        if what == "at once":
            return
        gone = [keys.LEASE, *(keys.lock(book) for book in self.producer.books)]
        if what == "dedup expires":
            gone += self._client.keys("quantum:dedup:harvest:*")
        self._client.delete(*gone)


def _plainly(server: EmbeddedServer, client: Client, rng: random.Random) -> str:
    """Whatever it is doing."""
    return _moment(client)


def _in_rewrite(server: EmbeddedServer, client: Client, rng: random.Random) -> str:
    _begin_rewrite(client, REWRITE_DELAY_US)
    sleep(rng.uniform(0, 0.06))
    return _moment(client)


def _as_rewrite_ends(server: EmbeddedServer, client: Client, rng: random.Random) -> str:
    """When the files have just been exchanged."""
    _begin_rewrite(client, rng.choice((0, REWRITE_DELAY_US // 4)))
    wait_until(lambda: not _is_rewriting(client), 30.0, "the log is rewritten")
    sleep(rng.choice((0.0, 0.001, 0.01)))
    return "as a rewrite ended"


def _as_it_loads(server: EmbeddedServer, client: Client, rng: random.Random) -> str:
    """And again while it reads its log."""
    server.kill()
    leash = ProcessGroups()
    try:
        with (server.directory / "server.log").open("ab") as log:
            loading = leash.start(server.argv, output=log.fileno())
        sleep(rng.uniform(0.0, 0.1))
        kill_group(loading)
        loading.wait()
    finally:
        leash.close()
    return "and again while it started"


Manner = Callable[[EmbeddedServer, Client, random.Random], str]
MANNERS: Final[Mapping[str, Manner]] = {
    "whatever it does": _plainly,
    "in a rewrite": _in_rewrite,
    "in a rewrite, again": _in_rewrite,
    "as a rewrite ends": _as_rewrite_ends,
    "as it loads": _as_it_loads,
}
"""Each brings the server to where it is killed, and says where that is."""


def _begin_rewrite(client: Client, delay_us: int) -> None:
    wait_until(lambda: not _is_rewriting(client), 30.0, "no rewrite of the log runs")
    client.config_set("rdb-key-save-delay", delay_us)
    with suppress(ResponseError):  # one has begun by itself
        client.bgrewriteaof()


def _is_rewriting(client: Client) -> bool:
    info = client.info("persistence")
    return bool(info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"])


def _moment(client: Client) -> str:
    return "in a rewrite" if client.info("persistence")["aof_rewrite_in_progress"] else "between rewrites"
