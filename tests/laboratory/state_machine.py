"""SM: one machine of everything that can happen to a symbol's books, bound to a real server: fills, repetitions,
overtaking, prices, outcomes, the kill switch, crashes and cut lines at any round trip, servers that start again, clocks
that jump, keys that expire. The reference model is told what the server took, and must come to the same.

The scripts count their branches, so that a machine that does nothing cannot pass.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from math import inf
from typing import Any, ClassVar, Final
from unittest.mock import patch

from hypothesis import seed
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from redis.exceptions import RedisError

from harvest_tasks.fills import commit, stream, watcher
from harvest_tasks.fills.brain import Brain
from harvest_tasks.fills.commit import Conflict
from harvest_tasks.fills.inbox import deliver
from harvest_tasks.fills.ledger import Ledger
from harvest_tasks.fills.loading import LoadedBook
from harvest_tasks.fills.plan import make_plan
from harvest_tasks.processes.embedded_server import EmbeddedServer
from harvest_tasks.server import keys
from harvest_tasks.settings.model import Settings
from kernel.positions.position import parse_id
from laboratory import branches, invariants
from laboratory.arena import Arena
from laboratory.arena_pool import blame, gather
from laboratory.comparison import Life, kernel_entry
from laboratory.drawing import drawing, short_shrinks
from laboratory.faulty_client import MOMENTS, Line, Mishap
from laboratory.invariants import Violation
from laboratory.model import Book, Deed, Published
from laboratory.random_moves import (
    LISTED_LOTS,
    MOVE_BYTES,
    SETUP_BYTES,
    SYMBOL,
    Act,
    Done,
    Draw,
    Fed,
    Player,
    Setup,
    Told,
    drawn_setup,
)
from laboratory.report import Result
from laboratory.server_pool import socket_of
from laboratory.setup_settings import Outs, environ
from laboratory.steps import Crashed

ID: Final = "SM"
TITLE: Final = "stateful machine"

EXAMPLES: Final = 2_000
STEPS: Final = 50
SHARE: Final = 250
"""Of them at most are drawn together."""
ENOUGH: Final = 100
"""How often each branch of commit.lua must be taken at full scale."""
LENIENT: Final = 0.3
DURABLE: Final = 25
"""One example in so many is on a server that keeps a log, and is killed and started again."""
READ_BATCH: Final = 5
"""Entries that a watcher moves at once."""
TRADES: Final = 4
"""Trade ids of a generation; a trade is known again for at least so many newer ones."""
WORK_BYTES: Final = 11
DRAWN: Final = st.binary(min_size=WORK_BYTES + MOVE_BYTES, max_size=WORK_BYTES + MOVE_BYTES)
"""Whether somebody works afterwards and how that ends, and then a move."""
BOOKS: Final = (SYMBOL, f"{SYMBOL}:LONG", f"{SYMBOL}:SHORT")
LOCKS: Final = (keys.LEASE, *(keys.lock(name) for name in BOOKS))
CLOSED: Final = (("SET", "1"), ("SET", "true"), ("HSET", "0", "0"), ("SET", " "))
OPEN: Final = (("DEL",), ("SET", "0"), ("SET", ""))
SPOILT: Final = (keys.HELD, keys.OPEN)
ROOM: Final = 20
"""Intents that the minute still allows, from which on books may be processed together: no one goes short then."""


def run(arena: Arena) -> Result:
    result, wanted = Result(ID, TITLE), arena.count(EXAMPLES)
    gather(arena, result, _share, [(at, min(SHARE, wanted - at)) for at in range(0, wanted, SHARE)])
    _judge_branches(arena, result)
    return result


def _judge_branches(arena: Arena, result: Result) -> None:
    """A branch that is taken too seldom is a failure: what is not tried is not tested."""
    taken: Any = result.notes.pop("branches", {})
    # Of a few examples nobody can say how often.
    enough = ENOUGH if arena.scale >= 1 else int(ENOUGH * arena.scale * LENIENT)
    for label in branches.all_branches("commit"):
        if taken.get(label, 0) < enough:
            what = f"{label} was taken {taken.get(label, 0)} times, not {enough}"
            result.failures.append(arena.failure(what))
    for name in ("commit", "route"):
        of_script = {label: taken.get(label, 0) for label in branches.all_branches(name)}
        seldom = min(of_script, key=lambda label: of_script[label])
        result.notes[f"branches of {name}.lua"] = len(of_script)
        result.notes[f"the most seldom of {name}.lua"] = f"{of_script[seldom]:,} times {seldom}"


def _share(arena: Arena, item: tuple[int, int]) -> Result:
    begun, examples = item
    result, place = Result(ID, TITLE), _Place(arena)

    class Here(Machine):
        at = place

    seed(arena.chance(f"from {begun}").getrandbits(64))(Here)
    with (
        _quiet(),
        short_shrinks(),
        branches.counting("commit", "route"),
        patch.object(commit, "TRADES_PER_GENERATION", TRADES),
        patch.object(watcher, "monotonic", place.look),
        patch.object(stream, "READ_BATCH", READ_BATCH),
    ):
        try:
            run_state_machine_as_test(Here, settings=drawing(examples, STEPS))
        except AssertionError as error:
            kind = "doubled" if "twice" in str(error) else "lost"
            blame(arena, result, [Violation("I5", kind, str(error)[-300:])], str(error))
        result.notes["branches"] = dict(sum(map(branches.read, place.clients()), Counter()))
    result.cases, result.fills, result.intents = place.told["examples"], place.told["fills"], place.told["intents"]
    result.notes["done"] = dict(place.told)
    place.close()
    return result


class _Place:
    """Where the examples of one process run: a server in memory, and one with a log. `told` counts what was done."""

    def __init__(self, arena: Arena) -> None:
        self.told: Counter[str] = Counter()
        self.exchange_info = arena.directory / "exchange_info.json"
        self._durable = arena.server(options=("--appendfsync", "no", "--auto-aof-rewrite-min-size", "1mb"))
        self._servers: Mapping[bool, EmbeddedServer] = {False: arena.server(durable=False), True: self._durable}
        self._lines = {durable: Line(socket_of(server)) for durable, server in self._servers.items()}
        self._looks = 0.0

    def line(self, durable: bool) -> Line:
        return self._lines[durable]

    def kill(self) -> None:
        """The server with a log, and start it again."""
        self._durable.kill()
        self._durable.start()
        self._lines[True].reconnect()

    def look(self) -> float:
        """A watcher's clock: it counts how often it is looked at."""
        self._looks += 1
        return self._looks

    def clients(self) -> list[Any]:
        for line in self._lines.values():
            line.begin()
        return [line.client for line in self._lines.values()]

    def close(self) -> None:
        for line in self._lines.values():
            line.close()


class _Timely(Player):
    """For a server that goes by its own clock: nothing is only just stale, or from a future that comes soon."""

    is_real = False

    def _ts(self, draw: Draw) -> dict[str, str]:
        stated = super()._ts(draw)
        return {} if self.is_real and stated and int(stated["ts"]) > self.world.now_ms else stated


class Machine(RuleBasedStateMachine):
    """One example."""

    at: ClassVar[_Place]

    # Every example begins with a desk.

    @initialize(desk=st.binary(min_size=SETUP_BYTES, max_size=SETUP_BYTES), place=st.binary(min_size=3, max_size=3))
    def begin(self, desk: bytes, place: bytes) -> None:
        draw = Draw(place)
        drawn = drawn_setup(desk, LISTED_LOTS[:1])
        self.setup = replace(drawn, per_minute=draw.pick((drawn.per_minute, drawn.per_minute, 4, 2)))
        self.durable, self.is_real = draw.chance(DURABLE), draw.chance(5)
        self.line = self.at.line(self.durable)
        self.line.say(("FLUSHDB",), ("SCRIPT", "FLUSH"))
        self.line.commits.clear()
        self.line.begin()
        self.settings = _settings(tuple(environ(self.setup, self.at.exchange_info).items()))
        self._meet_model()
        self._publish_terms(self.setup)
        self.outs = Outs(self.line.client, self.settings)
        self._hire()
        self.told = self.at.told
        self.told["examples"] += 1

    def _meet_model(self) -> None:
        self.life = Life(self.setup, None, Counter(), patience=1)
        self.symbol, self.world = self.life.symbol, self.life.world
        self.player = _Timely(self.symbol, self.setup, self.world, patience=1)
        self.player.is_real = self.is_real
        self.story = [str(self.setup)]
        self.last_id = (0, 0)
        self.is_left = False
        self.unmoved: list[tuple[str, list[tuple[Book, Any]]]] = []
        self.inboxes: dict[str, list[tuple[Any, str]]] = {}
        self.versions: Counter[str] = Counter()
        self.trades: list[Mapping[str, str]] = []
        self._now()

    def _publish_terms(self, setup: Setup) -> None:
        if setup.stop_dist is not None:
            self.line.say(("HSET", f"quantum:risk:proposal:{SYMBOL}", "stop_dist_pct", setup.stop_dist))
        if setup.atr is not None:
            self.line.say(("HSET", f"quantum:marketstate:{SYMBOL}", "atr", setup.atr))

    # What comes in.

    @rule(drawn=DRAWN)
    def fill(self, drawn: bytes) -> None:
        draw = Draw(drawn[WORK_BYTES:])
        moves = (Player._enter, Player._enter, Player._exit, Player._answer, Player._other_mode, Player._refused)
        self._do(draw.pick(moves)(self.player, draw))
        self._perhaps_work(drawn)

    @rule(drawn=DRAWN)
    def price(self, drawn: bytes) -> None:
        draw = Draw(drawn[WORK_BYTES:])
        self._do(self.player._mark(draw))
        self._perhaps_work(drawn)

    @rule(drawn=DRAWN)
    def end(self, drawn: bytes) -> None:
        """An intent is filled, or it is rejected, expires or is canceled."""
        draw = Draw(drawn[WORK_BYTES:])
        self._do(draw.pick((Player._answer, Player._outcome, Player._outcomes))(self.player, draw))
        self._perhaps_work(drawn)

    @rule(drawn=DRAWN)
    def repeat(self, drawn: bytes) -> None:
        """A trade of before, told again or with another content."""
        draw = Draw(drawn[WORK_BYTES:])
        if self.trades:
            trade = draw.pick(self.trades[-2:])
            changed = {"price": "77"} if draw.chance(4) else draw.pick(({}, {"fee": "3"}))
            self._do(Fed({**trade, **changed}) for _ in range(draw.pick((1, 1, 2, 5))))
        self._perhaps_work(drawn)

    @rule(drawn=DRAWN)
    def overtake(self, drawn: bytes) -> None:
        """Two entries change places: the second is what happened first."""
        draw = Draw(drawn[WORK_BYTES:])
        acts = [*self.player._enter(draw), *self.player._mark(draw)]
        entries = [act.fields for act in acts if isinstance(act, Fed)]
        times = self.world.now_ms - 20, self.world.now_ms - 40
        self._do(Fed({**fields, "ts": str(at)}) for fields, at in zip(reversed(entries), times, strict=True))
        self._perhaps_work(drawn)

    @rule(drawn=DRAWN)
    def tell(self, drawn: bytes) -> None:
        """What does not come by the stream, or is about money: a release, a payment, what an operator adopts."""
        draw = Draw(drawn[WORK_BYTES:])
        move = draw.pick((Player._release, Player._funding, Player._release, Player._overdue, Player._adopt))
        self._watch(None)
        if not self.unmoved:
            self._do(move(self.player, draw))
        self._perhaps_work(drawn)

    # Who works.

    @rule(drawn=DRAWN)
    def watch(self, drawn: bytes) -> None:
        self._watch(_mishap(Draw(drawn)))

    @rule(drawn=DRAWN)
    def work(self, drawn: bytes) -> None:
        draw = Draw(drawn)
        self._let_go(draw)
        if self.world.killed and draw.chance(2):
            self._turn_switch(draw)
        if not draw.chance(3):
            self._watch(None)
        self._work(self._waiting(), _mishap(draw))

    def _perhaps_work(self, drawn: bytes) -> None:
        draw = Draw(drawn[:WORK_BYTES])
        if draw.chance(2):
            self._let_go(draw)
            self._watch(_mishap(draw))
            self._let_go(draw)
            self._work(self._waiting(), _mishap(draw))

    def _let_go(self, draw: Draw) -> None:
        """Mostly what a dead one held has run out by the time that somebody else comes."""
        if self.is_left and not draw.chance(3):
            self._say("gone are the lease and the locks")
            self.line.say(("DEL", *LOCKS))
            self.is_left = False

    @rule(drawn=DRAWN)
    def look_again(self, drawn: bytes) -> None:
        """A worker looks at books for which nothing came."""
        idle = [name for name in sorted(self.symbol.books) if not self.inboxes.get(name)]
        self._work(idle, _mishap(Draw(drawn)))

    @precondition(lambda self: bool(self._waiting()))
    @rule(drawn=DRAWN)
    def be_late(self, drawn: bytes) -> None:
        """A worker makes its plan, and another commits before it does."""
        name = Draw(drawn).pick(self._waiting())
        self._say(f"a worker that has loaded {name} is overtaken")
        self.line.say(("DEL", keys.lock(name)))
        mine = Ledger(self.line.client, self.settings, self._given_now())
        guards, (loaded,), rules = mine.load([name])
        assert isinstance(loaded, LoadedBook), loaded
        made = make_plan(loaded.position, loaded.waiting, rules[SYMBOL], guards, loaded.terms, {})
        self.line.say(("DEL", keys.lock(name)))
        self._work([name], None)
        ((*_, outcome),) = mine.commit([(loaded, made)])
        assert isinstance(outcome, Conflict), self._whole([f"the late commit ends with {outcome}"])
        mine.unlock([name])

    # What goes wrong.

    @rule(drawn=DRAWN)
    def happen(self, drawn: bytes) -> None:
        draw = Draw(drawn)
        what = (self._turn_switch, self._turn_switch, self._expire, self._forget_scripts, self._kill_server)
        draw.pick(what)(draw)

    def _turn_switch(self, draw: Draw) -> None:
        key = self.settings.harvest_kill_switch_key
        self.world.killed = not self.world.killed
        command, *args = draw.pick(CLOSED if self.world.killed else OPEN)
        self._say(f"kill switch: {command} {args}")
        self.line.say(("DEL", key), (command, key, *args))

    def _expire(self, draw: Draw) -> None:
        """Keys with a time to live are gone."""
        (found,) = self.line.say(("KEYS", "quantum:dedup:*"))
        self.world.out.clear()
        self._say(f"gone are the lease, the locks and {found}")
        self.line.say(("DEL", *LOCKS, *found))

    @rule(drawn=DRAWN)
    def presume(self, drawn: bytes) -> None:
        """A dedup key is there though its intent is not out, as after a restored backup."""
        draw = Draw(drawn[WORK_BYTES:])
        for act in self.player._presume(draw):
            if isinstance(act, Done) and act.name is not None:
                self._say(f"marked as out: {act.name}")
                self.world.out.add(act.name)
                self.line.say(("SET", keys.dedup(*act.name), "1"))
        self._perhaps_work(drawn)

    def _forget_scripts(self, _: Draw) -> None:
        self._say("SCRIPT FLUSH, and every connection is new")
        self.line.say(("SCRIPT", "FLUSH"))
        self.line.reconnect()

    def _kill_server(self, _: Draw) -> None:
        """And start it again, where it keeps a log."""
        if self.durable:
            self._say("the server is killed and started again")
            self.told["servers killed"] += 1
            self.at.kill()

    @precondition(lambda self: not self.is_real)
    @rule(ms=st.sampled_from((10, 300, 2_000, 31_000, 61_000, 3_600_000, -300, -31_000, -3_600_000)))
    def set_clock(self, ms: int) -> None:
        """Time passes, or the clock is set; what was set back comes right again."""
        is_behind = self.world.now_ms < self.last_id[0] - 60_000
        self.world.now_ms = self.last_id[0] if is_behind else self.world.now_ms + ms
        self._say(f"the clock is at {self.world.now_ms}")

    @precondition(lambda self: bool(self._waiting()))
    @rule(drawn=DRAWN)
    def spoil(self, drawn: bytes) -> None:
        """A key of each commit is of another type, or no number, or not to be written; then it is right again."""
        key = Draw(drawn).pick(SPOILT)
        self._fail_by([("RENAME", key, "aside"), ("SET", key, "x")], [("DEL", key), ("RENAME", "aside", key)])
        no_number = [("COPY", keys.COUNTS, "aside"), ("HSET", keys.COUNTS, "applied", "x")]
        self._fail_by(no_number, [("RENAME", "aside", keys.COUNTS)])
        self._fail_by([("ACL", "SETUSER", "default", "-hset")], [("ACL", "SETUSER", "default", "+hset")])
        self._take(self._waiting())

    def _fail_by(self, what: Sequence[tuple[str, ...]], repair: Sequence[tuple[str, ...]]) -> None:
        self._say(f"spoilt: {what}")
        before = Counter(self.line.commits)
        self.line.say(*what, ("DEL", *LOCKS))
        try:
            self.line.begin()
            Brain(self.line.client, self.settings, self._given_now()).process(self._waiting(), inf)
        finally:
            self.line.say(*repair)
        assert self.line.commits == before, self._whole(["a commit went through"])

    def teardown(self) -> None:
        """Whatever it was, it is over; then all must be well."""
        if not hasattr(self, "told"):
            return
        self.told["steps"] += len(self.story) - 1
        self.world.killed = False
        self.line.say(("DEL", self.settings.harvest_kill_switch_key, *LOCKS))
        self._watch(None)
        assert not self.unmoved, self._whole([f"not moved: {self.unmoved}"])
        self._work(self._waiting(), None)
        assert not self._waiting(), self._whole([f"not applied: {self.inboxes}"])
        self.line.begin()
        seen = invariants.read(self.line.client, self.settings)
        found = [*invariants.always(seen), *invariants.at_rest(seen), *invariants.versions(seen, self.line.commits)]
        # Which intents an outcome ended is the model's to say, entry by entry.
        wrong = [str(each) for each in found if each.invariant != "I2" or "is out twice" in each.what]
        assert not wrong, self._whole(wrong)
        self.told["intents"] += len(seen.sent)

    # How it is done.

    def _now(self) -> None:
        """Of a server that goes by its own clock."""
        if self.is_real:
            ((seconds, micros),) = self.line.say(("TIME",))
            self.world.now_ms = int(seconds) * 1000 + int(micros) // 1000

    def _given_now(self) -> int | None:
        return None if self.is_real else self.world.now_ms

    def _do(self, acts: Iterator[Act]) -> None:
        self._now()
        fed = []
        for act in acts:
            if isinstance(act, Fed):
                fed.append(self._fed(act.fields))
            elif isinstance(act, Told):
                self._tell(act.fields)
        if fed:
            self.line.say(*fed)

    def _fed(self, fields: Mapping[str, str]) -> tuple[Any, ...]:
        """The command that feeds an entry, under the id that the server would give it: ids never go back."""
        ms, seq = self.last_id
        self.last_id = (self.world.now_ms, 0) if self.world.now_ms > ms else (ms, seq + 1)
        entry_id = f"{self.last_id[0]}-{self.last_id[1]}"
        self._say(f"{entry_id} {dict(fields)}")
        self.unmoved.append((entry_id, self.symbol.reached(fields)))
        if fields["status"] in ("FILLED", "PARTIAL"):
            self.told["fills"] += 1
            if "trade_id" in fields and fields not in self.trades:
                self.trades.append(fields)
        self.told["entries"] += 1
        return "XADD", self.settings.stream_execution_result, entry_id, *(p for pair in fields.items() for p in pair)

    def _tell(self, fields: Mapping[str, Any]) -> None:
        self._say(f"told: {dict(fields)}")
        self.line.begin()
        self.line.say(("SADD", keys.BOOKS, fields["book"]))
        deliver(self.line.client, {fields["book"]: kernel_entry(fields, "", self.world.now_ms)})
        for book, said in self.symbol.reached(fields):
            self.inboxes.setdefault(book.name, []).append((said, ""))

    def _waiting(self) -> list[str]:
        return sorted(name for name, waiting in self.inboxes.items() if waiting)

    def _watch(self, mishap: Mishap | None) -> None:
        """One slice, for which there is something to do."""
        if not self.unmoved:
            return
        reads = len(self.unmoved) // READ_BATCH + 2.0
        self._play("a watcher", mishap, lambda: watcher.watch(self.line.client, self.settings, reads, _no_bell))
        moved_to = self._moved_to()
        while self.unmoved and parse_id(self.unmoved[0][0]) <= moved_to:
            entry_id, reached = self.unmoved.pop(0)
            for book, said in reached:
                self.inboxes.setdefault(book.name, []).append((said, entry_id))

    def _moved_to(self) -> tuple[int, int]:
        """The last entry that the group gave away and that is not pending."""
        source = self.settings.stream_execution_result
        groups, pending = self.line.say(("XINFO", "GROUPS", source), ("XPENDING", source, keys.GROUP))
        if isinstance(groups, Exception) or not groups:
            return 0, 0
        group = dict(zip(groups[0][::2], groups[0][1::2], strict=True))
        if not pending[0]:
            return parse_id(group["last-delivered-id"])
        ms, seq = parse_id(pending[1])
        return ms, seq - 1

    def _work(self, books: Sequence[str], mishap: Mishap | None) -> None:
        self._now()
        together = self.world.budget >= ROOM
        for some in [books] if together and books else [[name] for name in books]:
            # A worker keeps what it knows of a symbol's rules, and the clock moves on.
            self.brain.ledger._now_ms = self._given_now()
            self._play(f"a worker, for {some}", mishap, lambda: self.brain.process(some, inf))  # noqa: B023 - used at once
            if self.line.has_happened:
                self._hire()
            self._take(some)

    def _hire(self) -> None:
        self.brain = Brain(self.line.client, self.settings)

    def _play(self, who: str, mishap: Mishap | None, role: Callable[[], object]) -> None:
        """To its end, or to that of its mishap."""
        self.line.begin(mishap)
        self._say(f"{who}{f', that {mishap}' if mishap else ''}")
        try:
            role()
        except Crashed:
            self.told["crashes"] += 1
            self.is_left = True
        except RedisError as error:
            assert self.line.has_happened, self._whole([f"{who} ends with {error!r}"])
            self.told["cut lines"] += 1
            self.is_left = True
        except Exception as error:
            raise AssertionError(self._whole([f"{who} raised {error!r}"])) from error
        self.line.let_go()

    def _take(self, books: Sequence[str]) -> None:
        """Let the model take what the server took of the books, and compare."""
        replies = self.line.say(
            *(("XLEN", keys.inbox(name)) for name in books),
            *(("HGET", keys.position(name), "version") for name in books),
        )
        found = self.outs.taken(books)
        wrong: list[str] = []
        for name, left, version in zip(books, replies, replies[len(books) :], strict=False):
            deeds = self._taken(self.symbol.book(name), left, int(version or 0))
            wrong += [f"{name}: {line}" for line in self.life._differences(self.symbol.book(name), deeds, found[name])]
        assert not wrong, self._whole(wrong)

    def _taken(self, book: Book, left: int, version: int) -> list[Deed]:
        """What the model does about what was taken: a commit takes some of what waited, or looks again."""
        waiting = self.inboxes.setdefault(book.name, [])
        taken, self.inboxes[book.name] = waiting[: len(waiting) - left], waiting[len(waiting) - left :]
        if version == self.versions[book.name]:
            assert not taken, self._whole([f"{book.name} took {taken} without a commit"])
            return []
        self.versions[book.name] = version
        self.told["commits"] += 1
        # What went out after now went out before the clock was set back.
        self.world.sent_ms = [min(at, self.world.now_ms) for at in self.world.sent_ms]
        entries = taken or [({"internal": "look"}, "")]
        deeds = [deed for said, entry_id in entries for deed in book.take(said, entry_id, self.world)]
        self.told["intents due"] += sum(isinstance(deed, Published) for deed in deeds)
        return deeds

    def _say(self, line: str) -> None:
        self.story.append(line)

    def _whole(self, wrong: Sequence[str]) -> str:
        return "\n".join([*self.story, "and then:", *wrong])


@cache
def _settings(variables: tuple[tuple[str, str], ...]) -> Settings:
    return Settings.from_env({**dict(variables), "HARVEST_LOCK_TTL_SEC": "300"})


def _mishap(draw: Draw) -> Mishap | None:
    """Mostly none."""
    if not draw.chance(4):
        return None
    trip = draw.pick((1, 2, 3, 4, 5, 6, 7, 8, 9, 3, 4))
    return Mishap(trip, draw.pick(MOMENTS), draw.chance(2))


@contextmanager
def _quiet() -> Iterator[None]:
    """Books fail by the thousand, and leases are lost."""
    log = logging.getLogger("harvest_tasks")
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(before)


def _no_bell(_: Sequence[str]) -> None:
    """Bells may be lost."""
