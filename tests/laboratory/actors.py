"""Actors on one server, and a play of theirs: who moves, who crashes, which key expires, when the switch is turned."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from harvest_tasks.server import script
from harvest_tasks.server.client import Client, checked
from laboratory.schedules import Choice
from laboratory.steps import Actor, Command, Wire, pack, start_clock, stepped, tick, told

ACTORS: Final = 3
GO, CRASH, EXPIRE, TURN = "go", "crash", "expire", "turn"

Work = Callable[[Client], None]
TRIPS: Final = 300
"""More round trips than any play needs."""


class Endless(AssertionError):
    """Somebody goes round and round."""


@dataclass(frozen=True, slots=True)
class Switch:
    """How the kill switch is turned: by `command`; whether it then `closes` the way for intents."""

    command: Command
    closes: bool


@dataclass(frozen=True, slots=True)
class Budget:
    """How often what may happen in one play, at most; `turns` are tried in their order, each at any time."""

    crashes: int = 0
    expiries: int = 0
    turns: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Start:
    """The state in which a play begins: `packed` commands make it. `ttl` names the keys with a time to live by kind,
    `outs` the streams of intents, `switches` the ways to turn the kill switch.
    """

    packed: bytes
    count: int
    ttl: Mapping[str, Sequence[str]]
    outs: Sequence[str] = ()
    switches: Mapping[str, Switch] = field(default_factory=dict)


class Stage:
    """Three actors and a director on the server at the socket `path`. `commits` counts what commit.lua confirmed, by
    book.
    """

    def __init__(self, path: str) -> None:
        self.wire = Wire(path)
        self.client = stepped(self._direct)
        self.actors = [Actor(f"actor {n}", self._along) for n in range(ACTORS)]
        self.commits: Counter[str] = Counter()
        self.probed: list[Any] = []
        self._probe, self._probes = b"", 0
        self._trips = 0
        self._commit = script.load("commit").sha

    def set_up(self, start: Start) -> None:
        """Everything as at the start."""
        probes = [("EXISTS", *keys) for keys in start.ttl.values()] + [("XLEN", out) for out in start.outs]
        self._probe, self._probes = pack(*probes), len(probes)
        self.commits.clear()
        self._trips = 0
        replies = self.wire.exchange(start.packed + self._probe, start.count + self._probes)
        self.probed = replies[start.count :]
        _raise_errors(replies[: start.count])

    def do(self, *commands: tuple[Any, ...]) -> None:
        """By nobody's hand. Raises what the server answers."""
        replies = self.wire.exchange(pack(*commands) + self._probe, len(commands) + self._probes)
        self.probed = replies[len(commands) :]
        _raise_errors(replies[: len(commands)])

    def direct(self, work: Work) -> None:
        """Run `work` to its end, held up nowhere."""
        start_clock()
        self._trips = 0
        work(self.client)

    def close(self) -> None:
        for actor in self.actors:
            actor.close()
        self.wire.close()

    def _along(self, packed: Sequence[bytes], commands: Sequence[Command]) -> list[Any]:
        replies = self.wire.exchange(b"".join(packed) + self._probe, len(commands) + self._probes)
        self.probed = replies[len(commands) :]
        return self._heard(commands, replies[: len(commands)])

    def _direct(self, packed: Sequence[bytes], commands: Sequence[Command]) -> list[Any]:
        return self._heard(commands, self.wire.exchange(b"".join(packed), len(commands)))

    def _heard(self, commands: Sequence[Command], replies: list[Any]) -> list[Any]:
        tick(commands)
        self._trips += 1
        if self._trips > TRIPS:
            raise Endless(f"{TRIPS} round trips, and no end: {told(commands)}")
        for command, reply in zip(commands, replies, strict=True):
            if command[0] == "EVALSHA" and command[1] == self._commit and _is_confirmed(reply):
                self.commits[command[3 + command[2]]] += 1
        return replies


class Story:
    """One play: `cast` are the works of the actors, by name. `wrong` says what no step may do, each with the invariant
    it is against.
    """

    def __init__(self, stage: Stage, start: Start, cast: Mapping[str, Work], budget: Budget) -> None:
        self.stage = stage
        self.wrong: list[tuple[str, str]] = []
        self._start = start
        self._left = budget
        self._actors = dict(zip(cast, stage.actors, strict=False))
        self._last: Choice = ("", "")
        self._closed = self._turned = False
        self._steps: list[tuple[str, str | Sequence[Command]]] = []
        stage.set_up(start)
        for name, work in cast.items():
            self._actors[name].begin(work)

    @property
    def sent(self) -> int:
        """How many intents are out by now."""
        return sum(self.stage.probed[len(self._start.ttl) :])

    @property
    def turned(self) -> bool:
        """Whether the kill switch was."""
        return self._turned

    def options(self) -> list[Choice]:
        going = [(GO, name) for name, actor in self._actors.items() if actor.ahead is not None]
        return [*going, *self._mishaps(going)] if going else []

    def take(self, choice: Choice) -> None:
        what, whom = choice
        {GO: self._go, CRASH: self._crash, EXPIRE: self._expire, TURN: self._turn}[what](whom)
        self._last = choice

    def lines(self) -> list[str]:
        """What happened, a line each."""
        return [f"{who}: {what if isinstance(what, str) else told(what)}" for who, what in self._steps]

    def _mishaps(self, going: Sequence[Choice]) -> Iterator[Choice]:
        left = self._left
        # Later, its crash would be the same: it did nothing since.
        if left.crashes and self._last in going:
            yield CRASH, self._last[1]
        if left.expiries:
            yield from ((EXPIRE, kind) for kind, n in zip(self._start.ttl, self.stage.probed, strict=False) if n)
        if left.turns:
            yield TURN, left.turns[0]

    def _go(self, name: str) -> None:
        actor, before = self._actors[name], self.sent
        assert actor.ahead is not None
        self._steps.append((name, actor.ahead))
        actor.step()
        if self._closed and self.sent > before:
            self.wrong.append(("I3", f"{name} published though the kill switch was on"))
        if actor.error is not None:
            self.wrong.append(("I13", f"{name} ended with {type(actor.error).__name__}: {actor.error}"))
            actor.error = None

    def _crash(self, name: str) -> None:
        self._left = Budget(self._left.crashes - 1, self._left.expiries, self._left.turns)
        self._steps.append((name, "crashes before it sees the reply"))
        self._actors[name].crash()

    def _expire(self, kind: str) -> None:
        self._left = Budget(self._left.crashes, self._left.expiries - 1, self._left.turns)
        self._steps.append(("time", f"{kind} expires"))
        self.stage.do(("DEL", *self._start.ttl[kind]))

    def _turn(self, switch: str) -> None:
        self._left = Budget(self._left.crashes, self._left.expiries, self._left.turns[1:])
        turned = self._start.switches[switch]
        self._steps.append(("operator", f"kill switch: {switch}"))
        self._closed, self._turned = turned.closes, True
        self.stage.do(tuple(turned.command))


def _raise_errors(replies: Sequence[Any]) -> None:
    for reply in replies:
        checked(reply)


def _is_confirmed(reply: Any) -> bool:
    return isinstance(reply, list) and bool(reply) and reply[0] == "committed"
