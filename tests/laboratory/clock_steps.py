"""F9: the clock of the server, or of a worker, is set forward or back in the middle of everything, and right again.

Nothing may be published on a price that is stale or from the future by the server's clock, nothing twice, and no more
in a minute than allowed; and what is due goes out in the end. Minutes are counted twice: as the server counts them,
and as they really pass. A server whose clock is set forward by an hour cannot tell that from an hour that passed, so
in one real minute it may let through what two allow; that, too, is counted.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic, sleep, time_ns
from typing import Any, Final

from users import GuardedServer

from harvest_tasks.fills.commit import Committed, Conflict, Revise
from harvest_tasks.fills.lease import LEASE_MS, Lease
from harvest_tasks.fills.ledger import Ledger
from harvest_tasks.fills.loading import LoadedBook
from harvest_tasks.fills.plan import make_plan
from harvest_tasks.fills.router import LeaseLost, Moved, OlderPending, Router
from harvest_tasks.fills.stream import InputStream
from harvest_tasks.fills.sweep import unblock, waiting_books
from harvest_tasks.fills.symbol_rules import base_rules
from harvest_tasks.processes.embedded_server import wheel_executable
from harvest_tasks.server import keys
from harvest_tasks.server.client import connect
from harvest_tasks.server.clock import server_ms
from harvest_tasks.settings.model import Settings
from kernel.positions.mark import FUTURE_TOLERANCE_MS
from laboratory import invariants
from laboratory.arena import IN_MEMORY, Arena, executable
from laboratory.arena_pool import blame
from laboratory.invariants import Fields, Violation
from laboratory.report import Result
from laboratory.sequential_path import Elsewhere, StandsStill, turn
from laboratory.settable_clock import NoCompiler, SettableClock
from laboratory.threaded_path import not_allowed

ID: Final = "F9"
TITLE: Final = "clocks set"

SERVER, WORKER = "the server", "a worker"
STEPS: Final = {"+31 s": 31_000, "+1 h": 3_600_000, "-1 h": -3_600_000}
CALM, FULL, BUSY, DEAD = "nothing is out", "the minute is full", "others are in the middle", "others died in the middle"
MOMENTS: Final = (CALM, FULL, BUSY, DEAD)
LIMIT: Final = 4
"""Intents in a minute; a book that becomes due wants two, a harvest and a stop move."""
MINUTE_MS: Final = 60_000
FRESH_MS: Final = 30_000
LOCK_SEC: Final = 5
ENVIRON: Final = {"HARVEST_MAX_ACTIONS_PER_MIN": str(LIMIT), "HARVEST_LOCK_TTL_SEC": str(LOCK_SEC)}
QUICK_CLOCK: Final = ("--hz", "500")
"""Between two beats of its heart Valkey does not ask what time it is."""
OLD: Final = ("AUSDT", "BUSDT")
"""Books with prices from before the step; those of the first state their time, those of the second do not."""
NEW: Final = ("CUSDT", "DUSDT")
"""The same, of books that begin after it."""
ROUNDS: Final = 6
"""Minutes in which everything that is due has room."""


@dataclass(frozen=True, slots=True)
class Case:
    whose: str
    step: str
    moment: str

    def __str__(self) -> str:
        return f"the clock of {self.whose} is set {self.step}; {self.moment}"


ALL: Final = tuple(Case(whose, step, moment) for moment in MOMENTS for whose in (SERVER, WORKER) for step in STEPS)


def run(arena: Arena) -> Result:
    """At a scale below 1: some of the cases. Raises AssertionError where no clock can be set."""
    result = Result(ID, TITLE)
    chosen = ALL if arena.scale >= 1 else arena.chance("cases").sample(ALL, min(len(ALL), arena.count(len(ALL))))
    most: dict[str, int] = {}
    try:
        with _Place(arena) as place:
            for case in chosen:
                play = _Play(place, case)
                result.cases += 1
                blame(arena, result, play.violations(), "\n".join([str(case), *play.story]))
                result.fills += play.fills
                result.intents += len(play.out)
                kind = f"after a step of {case.step} of {case.whose}"
                most[kind] = max(most.get(kind, 0), _most(play.out, "real_ms"))
    except NoCompiler as error:
        raise AssertionError(f"skipped: {error}") from error
    result.notes["allowed in a minute"] = LIMIT
    result.notes["most in a real minute"] = most
    return result


class _Place:
    """A server and a worker elsewhere, each with a clock that can be set."""

    def __init__(self, arena: Arena) -> None:
        self.clocks = {whose: SettableClock(arena.directory, whose.split()[-1]) for whose in (SERVER, WORKER)}
        program = self.clocks[SERVER].executable(executable() or wheel_executable())
        self._server = GuardedServer(program, unix=True, options=(*IN_MEMORY, *QUICK_CLOCK))
        self.settings = Settings.from_env(ENVIRON)

    def __enter__(self) -> "_Place":
        self._server.start()
        self.client = connect(self._server.url())
        login = self._server.users.environ_at({"REDIS_URL": self._server.url()}, "harvest-brain")
        self.elsewhere = Elsewhere({**self.clocks[WORKER].environ, **ENVIRON, **login})
        return self

    def __exit__(self, *_: object) -> None:
        self.elsewhere.__exit__(None, None, None)
        self.client.close()
        self._server.close()


@dataclass(frozen=True, slots=True)
class Out:
    """An intent that went out: when by the server's clock, when really (unix ms), and the record of it."""

    server_ms: int
    real_ms: int
    record: Fields


class _Play:
    """One case. `out` is what was published, `story` what was done, a line each."""

    def __init__(self, place: _Place, case: Case) -> None:
        self.out: list[Out] = []
        self.story: list[str] = []
        self.fills = 0
        self._place, self._case = place, case
        self._client, self._settings = place.client, place.settings
        self._stepped_ms = 0
        self._wrong: list[Violation] = []

    def violations(self) -> list[Violation]:
        """Play it; what did not hold."""
        self._begin()
        try:
            self._before()
            go_on = self._others() if self._case.moment in (BUSY, DEAD) else lambda: None
            self._step(STEPS[self._case.step])
            self._after(go_on)
            self._open(*NEW)
            self._goes_out(self._live_at_once())
            self._step(-STEPS[self._case.step])
            self._goes_out((*OLD, *NEW))
        except StandsStill as error:
            self._wrong.append(Violation("I9", "other", str(error)))
        return [*self._wrong, *self._found(), *self._too_many()]

    # The acts.

    def _after(self, go_on: Callable[[], None]) -> None:
        """Fresh ones come, and whoever was in the middle goes on, or not.

        Keys expire by the clock: where it was set back, whoever lives keeps what he holds until he gives it up, and
        what the dead held is cut short by the next sweep.
        """
        if self._case.moment == DEAD:
            unblock(self._client, sorted(waiting_books(self._client)), LOCK_SEC * 1000)
            self._pass(LOCK_SEC * 1000)
            self._turn()
        elif self._case.whose == SERVER and STEPS[self._case.step] < 0:
            go_on()
            self._turn()
        else:
            self._turn()
            go_on()

    def _begin(self) -> None:
        for clock in self._place.clocks.values():
            clock.step(-clock.ahead_ms)
        self._wait_for_server()
        self._client.flushall()

    def _before(self) -> None:
        """The old books see a price; what is due then has not been read when the clock is set."""
        self._open(*OLD)
        if self._case.moment == FULL:
            for name in ("XUSDT", "YUSDT")[: LIMIT // 2]:
                self._open(name)
                self._mark(name)
            self._turn()
        else:
            self._turn()
        for name in OLD:
            self._mark(name)

    def _others(self) -> Callable[[], None]:
        """A watcher and a worker in the middle of their work; what they do if they go on."""
        router, lease = Router(self._client, self._settings), Lease(self._client)
        lease.acquire()
        self._feed({"symbol": OLD[0], "status": "PRICE_UPDATE", "price": "103"})
        turn_of_worker = self._worker_at_work()
        entries, _ = InputStream(self._client, self._settings).read()

        def go_on() -> None:
            moved = router.move(lease.token, LEASE_MS, entries)
            lease.release()
            done = turn_of_worker()
            self.story.append(f"the others go on: {type(moved).__name__}, {type(done).__name__}")
            if not isinstance(moved, Moved | LeaseLost | OlderPending) or not isinstance(
                done, Committed | Conflict | Revise
            ):
                self._wrong.append(Violation("I9", "other", f"the others end with {moved} and {done}"))
            self._turn()

        return go_on

    def _worker_at_work(self) -> Callable[[], object]:
        """It has read a book and made its plan."""
        ledger, book = Ledger(self._client, self._settings), OLD[1]
        guards, (loaded,), _ = ledger.load([book])
        assert isinstance(loaded, LoadedBook), loaded
        made = make_plan(loaded.position, loaded.waiting, base_rules(self._settings), guards, loaded.terms, {})
        return lambda: ledger.commit([(loaded, made)])[0][2] if not made.is_empty else Conflict()

    def _live_at_once(self) -> Sequence[str]:
        """Books that must publish though the clock is still wrong.

        What states its time by a right clock is stale for a server that is ahead. And stream ids never go back: what
        does not state its time is from the future for a server that is behind what it was.
        """
        if self._case.whose == WORKER:
            return *OLD, *NEW
        return (OLD[1], *NEW) if STEPS[self._case.step] > 0 else NEW[:1]

    def _goes_out(self, books: Sequence[str]) -> None:
        """Minutes pass, with prices; these books publish what is due."""
        for _ in range(ROUNDS):
            for name in (*OLD, *NEW):
                self._mark(name)
            self._turn()
            if not self._silent(books):
                return
            self._pass(MINUTE_MS)
        self._wrong.append(Violation("I13", "lost", f"{ROUNDS} minutes, and nothing of {self._silent(books)}"))

    def _silent(self, books: Sequence[str]) -> list[str]:
        told = {(out.record["book"], out.record["action"].partition(":")[0]) for out in self.out}
        return [name for name in books if not {(name, "partial"), (name, "sl_be")} <= told]

    def _open(self, *names: str) -> None:
        for name in names:
            self.fills += 1
            fill = {"symbol": name, "status": "FILLED", "side": "BUY", "qty": "1", "price": "100", "stop_loss": "90"}
            self._feed({**fill, "trade_id": f"t-{name}", **self._time(name)})

    def _mark(self, name: str) -> None:
        self._feed({"symbol": name, "status": "PRICE_UPDATE", "price": "106", **self._time(name)})

    def _time(self, name: str) -> Fields:
        """Some producers say when it was: the old by a right clock, the new by the server's."""
        if name == OLD[0]:
            return {"ts": str(self._real_ms())}
        return {"ts": str(server_ms(self._client))} if name == NEW[0] else {}

    def _feed(self, entry: Fields) -> None:
        self._client.xadd(self._settings.stream_execution_result, dict[Any, Any](entry))

    def _step(self, ms: int) -> None:
        """The wrong clock is set; really no time passes."""
        self.story.append(f"the clock of {self._case.whose} is set by {ms / 1000:+,.0f} s")
        if self._case.whose == SERVER:
            self._stepped_ms += ms
        self._place.clocks[self._case.whose].step(ms)
        self._wait_for_server()

    def _pass(self, ms: int) -> None:
        """Really, so for all."""
        self.story.append(f"{ms / 1000:,.0f} s pass")
        for clock in self._place.clocks.values():
            clock.step(ms)
        self._wait_for_server()

    def _wait_for_server(self) -> None:
        """Until it has looked at its clock."""
        deadline = monotonic() + 30
        expected = self._place.clocks[SERVER].ahead_ms
        while abs(server_ms(self._client) - _machine_ms() - expected) > 500:
            if monotonic() > deadline:
                raise StandsStill("the server does not heed its clock")
            sleep(0.001)

    def _real_ms(self) -> int:
        return server_ms(self._client) - self._stepped_ms

    def _turn(self) -> None:
        """Whoever's clock is wrong or right works, and what went out is looked at."""
        before = server_ms(self._client)
        if self._case.whose == WORKER:
            told = self._place.elsewhere.turn()
            ahead = told * 1000 - _machine_ms()
            if abs(ahead - self._place.clocks[WORKER].ahead_ms) > 5_000:
                raise StandsStill(f"the worker's clock is {ahead} ms ahead, not what it was set to")
        else:
            turn(self._client, self._settings)
        self._look(before, server_ms(self._client))

    def _look(self, before_ms: int, after_ms: int) -> None:
        """At what went out between two times by the server's clock."""
        records = [r for _, r in self._client.xrange(keys.DECISIONS) if r["decision"] == "published"][len(self.out) :]
        for record in records:
            self.story.append(f"out goes {record['book']} {record['action']}")
            self.out.append(Out(before_ms, before_ms - self._stepped_ms, record))
            priced_ms = int(record["mark_ms"])
            if not (before_ms - priced_ms < FRESH_MS and after_ms - priced_ms >= -FUTURE_TOLERANCE_MS):
                what = f"{record['book']} published on a price of {priced_ms} at {before_ms} to {after_ms}"
                self._wrong.append(Violation("I3", "other", what))

    # What must hold.

    def _found(self) -> Iterator[Violation]:
        seen = invariants.read(self._client, self._settings)
        yield from invariants.always(seen)
        yield from invariants.at_rest(seen)
        yield from not_allowed(self._client)
        again = sorted(out.record["action"] + out.record["position_id"] for out in self.out)
        if len(set(again)) < len(again):
            yield Violation("I2", "doubled", f"out went {again}")

    def _too_many(self) -> Iterator[Violation]:
        forward = self._case.whose == SERVER  # one of the two steps is forward
        for clock, allowed in (("server_ms", LIMIT), ("real_ms", LIMIT * 2 if forward else LIMIT)):
            found = _most(self.out, clock)
            if found > allowed:
                yield Violation("I3", "other", f"{found} intents in a minute by {clock}, allowed are {allowed}")


def _most(out: Sequence[Out], clock: str) -> int:
    """The most that went out within a minute before one of them, it included; in the order in which they went."""
    times: Sequence[int] = [getattr(each, clock) for each in out]
    within = (sum(at - MINUTE_MS < earlier <= at for earlier in times[: n + 1]) for n, at in enumerate(times))
    return max(within, default=0)


def _machine_ms() -> int:
    """By this process's clock, which nobody sets."""
    return time_ns() // 1_000_000
