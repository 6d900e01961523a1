"""F10: histories as exchanges and networks make them: trades told up to fifty times, ids used again for something
else, fills that come late, gaps, flips through zero, two legs of a hedge; in batches of any size.

Each goes through the whole path on a real server and is compared with the reference model, batch by batch.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from math import ceil, inf
from typing import Any, Final
from unittest.mock import patch

from hypothesis import given, seed
from hypothesis import strategies as st

from harvest_tasks.fills import stream, watcher
from harvest_tasks.fills.brain import Brain
from harvest_tasks.fills.inbox import deliver
from harvest_tasks.server import keys
from harvest_tasks.settings.model import Settings
from laboratory import invariants
from laboratory.arena import Arena
from laboratory.arena_pool import blame, gather
from laboratory.comparison import Fields, Life, Taken, kernel_entry
from laboratory.drawing import drawing, short_shrinks
from laboratory.invariants import Violation
from laboratory.model import Published, World, text
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
    drawn_setup,
)
from laboratory.report import Result
from laboratory.server_pool import socket_of
from laboratory.setup_settings import Outs, environ
from laboratory.steps import Command, Wire, stepped

ID: Final = "F10"
TITLE: Final = "histories"

HISTORIES: Final = 2_000
SHARE: Final = 250
"""Of them at most are drawn together."""
MOVES: Final = 20
MANNER_BYTES: Final = 2
TIMES: Final = (2, 2, 2, 3, 3, 4, 5, 8, 10, 20, 50)
"""How often a trade is told in all."""
READ_BATCHES: Final = (500, 500, 1, 2, 3, 7, 20)
"""Entries that the watcher reads at once."""
ATTEMPTS: Final = 5
HURRY: Final = (8, 1, 3, 24, 8)
"""What waits is processed after so many moves, on average."""
DRAWN: Final = st.tuples(
    st.binary(min_size=SETUP_BYTES, max_size=SETUP_BYTES),
    st.binary(min_size=MANNER_BYTES, max_size=MANNER_BYTES),
    st.lists(st.binary(min_size=MOVE_BYTES, max_size=MOVE_BYTES), min_size=MOVES, max_size=MOVES),
)
"""A desk, in what manner it is fed, and moves."""


def run(arena: Arena) -> Result:
    result = Result(ID, TITLE)
    wanted = arena.count(HISTORIES)
    gather(arena, result, _share, [(at, min(SHARE, wanted - at)) for at in range(0, wanted, SHARE)])
    return result


def _share(arena: Arena, item: tuple[int, int]) -> Result:
    begun, histories = item
    result, told, branches = Result(ID, TITLE), Counter[str](), Counter[str]()
    path = _Path(arena)

    @seed(arena.chance(f"from {begun}").getrandbits(64))
    @drawing(histories)
    @given(DRAWN)
    def lived(drawn: tuple[bytes, bytes, list[bytes]]) -> None:
        desk, manner, moves = drawn
        history = _History(drawn_setup(desk, LISTED_LOTS[:1]), path, branches, Draw(manner))
        result.cases += 1
        try:
            history.run(moves)
            path.check()
        finally:
            result.fills += history.told["fills"]
            result.intents += sum(isinstance(deed, Published) for deed in history.deeds)
            told.update(history.told)

    try:
        with short_shrinks():
            lived()
    except AssertionError as error:
        doubled = "twice" in str(error)
        blame(arena, result, [Violation("I5", "doubled" if doubled else "lost", str(error)[-300:])], str(error))
    result.notes["told"] = dict(told)
    result.notes["branches of the model"] = len(+branches)
    return result


class _History(Life):
    """A life of repeated, late and reused trades. `told` counts what was fed, by what it was."""

    def __init__(self, setup: Setup, path: "_Path", branches: Counter[str], manner: Draw) -> None:
        path.begin(setup, manner.pick(READ_BATCHES))
        super().__init__(setup, path, branches, patience=1)
        self.told: Counter[str] = Counter()
        self.player = _Historian(self.symbol, setup, self.world, manner.pick(HURRY), self.told)
        self.deeds: list[Any] = []

    def _differences(self, book: Any, deeds: Sequence[Any], taken: Taken) -> Iterator[str]:
        self.deeds += deeds
        return super()._differences(book, deeds, taken)


class _Historian(Player):
    """Resolves moves; what waits is processed once in `hurry` of them."""

    def __init__(self, symbol: Any, setup: Setup, world: World, hurry: int, told: Counter[str]) -> None:
        super().__init__(symbol, setup, world, patience=1)
        self._hurry = hurry
        self._told = told
        self._trades: list[Mapping[str, str]] = []

    def acts(self, drawn: bytes) -> Iterator[Act]:
        draw = Draw(drawn)
        move, is_last = draw.pick(_KINDS), draw.chance(self._hurry)
        self.world.now_ms += draw.pick((10, 10, 10, 10, 10, 300, 2_000, 31_000))
        for act in move(self, draw):
            if isinstance(act, Fed):
                self._note(act.fields)
            yield act
        if is_last:
            yield Done("process")

    def _note(self, fields: Mapping[str, str]) -> None:
        if fields["status"] in ("FILLED", "PARTIAL"):
            self._told["fills"] += 1
            if "trade_id" in fields:
                self._trades.append(fields)

    def _repeated(self, draw: Draw) -> Iterator[Act]:
        """A trade of before, newest first, told again and again; nothing else about it need be the same."""
        if not self._trades:
            yield from self._enter(draw)
            return
        trade = self._trades[-1 - draw.pick(range(8)) % len(self._trades)]
        more = draw.pick(({}, {}, {"fee": "3"}, {"ts": str(self.world.now_ms)}, {"stop_loss": "1"}))
        between = draw.pick((False, False, True))
        for _ in range(draw.pick(TIMES) - 1):
            self._told["repetitions"] += 1
            yield Fed({**trade, **more})
            if between and draw.chance(2):
                yield Done("process")

    def _reused(self, draw: Draw) -> Iterator[Act]:
        """The id of a trade for something else."""
        if not self._trades:
            yield from self._enter(draw)
            return
        trade = self._trades[-1 - draw.pick(range(8)) % len(self._trades)]
        other = draw.pick(({"price": "77"}, {"qty": "0.7"}, {"side": "SELL" if trade["side"] == "BUY" else "BUY"}))
        self._told["ids used again"] += 1
        yield Fed({**trade, **other})

    def _late(self, draw: Draw) -> Iterator[Act]:
        """A fill that happened some time ago, and one that overtook it."""
        enter = draw.pick((self._enter, self._exit))
        ago = draw.pick((1, 1_000, 29_999, 30_000, 40_000, 3_600_000))
        for act in enter(draw):
            assert isinstance(act, Fed)
            self._told["late fills"] += 1
            yield Fed({**act.fields, "ts": str(self.world.now_ms - ago)})

    def _gap(self, draw: Draw) -> Iterator[Act]:
        """Nothing comes for long, and what was not known of is gone."""
        self._told["gaps"] += 1
        self.trade_count += draw.pick((1, 10, 1_000))
        self.world.now_ms += draw.pick((61_000, 901_000, 3_600_000))
        yield Done("process")
        yield Done("forget")

    def _flip(self, draw: Draw) -> Iterator[Act]:
        """Through zero, or, of a leg, more than there is."""
        book = self._some_book(draw)
        for _ in range(draw.pick((1, 1, 2, 4))):
            if not book.sign:
                yield from self._enter(draw)
                return
            self._told["flips"] += 1
            qty = abs(book.holding.qty) + draw.pick((1, 2, 4))
            yield self._fill(book, -book.sign, text(qty), draw)
            yield Done("process")


class _Path:
    """The whole path on a server of its own, in as few round trips as it takes."""

    can_repeat = False

    def __init__(self, arena: Arena) -> None:
        self._wire = Wire(socket_of(arena.server(durable=False)))
        self._client = stepped(self._travel)
        self._exchange_info = arena.directory / "exchange_info.json"

    def _travel(self, packed: Sequence[bytes], commands: Sequence[Command]) -> list[Any]:
        return self._wire.exchange(b"".join(packed), len(commands))

    def begin(self, setup: Setup, read_batch: int) -> None:
        """A desk on an emptied server."""
        self._client.flushdb()
        self._settings = Settings.from_env(environ(setup, self._exchange_info))
        self._brain = Brain(self._client, self._settings, 0)
        self._read_batch = read_batch
        self._outs = Outs(self._client, self._settings)
        self._fed: list[tuple[str, dict[Any, Any]]] = []
        if setup.stop_dist is not None:
            self._client.hset(f"quantum:risk:proposal:{SYMBOL}", "stop_dist_pct", setup.stop_dist)
        if setup.atr is not None:
            self._client.hset(f"quantum:marketstate:{SYMBOL}", "atr", setup.atr)

    def feed(self, fields: Fields, source_id: str, reached: Sequence[tuple[str, Fields]]) -> None:
        self._fed.append((source_id, dict(fields)))

    def tell(self, book: str, fields: Fields, now_ms: int) -> None:
        self._route()
        self._client.sadd(keys.BOOKS, book)
        deliver(self._client, {book: kernel_entry(fields, "", now_ms)})

    def process(self, book: str, world: World) -> Taken:
        self._route()
        # A worker keeps its hand on the ledger, and the clock moves on.
        self._brain.ledger._now_ms = world.now_ms
        _, left = self._brain.process([book], inf)
        assert not left, left
        return self._outs.taken([book])[book]

    def turn(self, killed: bool) -> None:
        self._client.set(self._settings.harvest_kill_switch_key, "1" if killed else "0")

    def presume(self, position_id: str, action: str) -> None:
        self._client.set(keys.dedup(position_id, action), "1")

    def forget(self) -> None:
        if gone := self._client.keys("quantum:dedup:*"):
            self._client.delete(*gone)

    def check(self) -> None:
        """At the end: what must hold of everything together."""
        self._route()
        seen = invariants.read(self._client, self._settings)
        found = [*invariants.always(seen), *invariants.at_rest(seen)]
        # Which intents an outcome ended is the model's to say, entry by entry.
        wrong = [violation for violation in found if violation.invariant != "I2" or "is out twice" in violation.what]
        assert not wrong, "; ".join(map(str, wrong))

    def _route(self) -> None:
        """In one go to the stream, and in the watcher's batches to the inboxes."""
        if not self._fed:
            return
        with self._client.pipeline(transaction=False) as pipe:
            for source_id, fields in self._fed:
                pipe.xadd(self._settings.stream_execution_result, fields, id=source_id)
            pipe.execute()
        slice_ = ceil(len(self._fed) / self._read_batch) + 1
        with patch.object(stream, "READ_BATCH", self._read_batch):
            # A machine that stands still for longer than the lease costs a watcher its slice.
            assert any(self._watch(slice_) for _ in range(ATTEMPTS)), "no watcher keeps its lease"
        self._fed = []

    def _watch(self, slice_: int) -> bool:
        """For so many looks."""
        looks = count()
        with patch.object(watcher, "monotonic", lambda: float(next(looks))):
            return watcher.watch(self._client, self._settings, slice_, lambda _: None)


_WEIGHTS: Final[Mapping[Callable[[Any, Draw], Iterator[Act]], int]] = {
    Player._enter: 6,
    Player._mark: 8,
    _Historian._repeated: 8,
    Player._exit: 4,
    _Historian._flip: 4,
    _Historian._late: 4,
    _Historian._reused: 1,
    Player._answer: 4,
    Player._outcome: 2,
    Player._release: 4,
    Player._funding: 1,
    Player._other_mode: 1,
    Player._refused: 1,
    _Historian._gap: 1,
}
_KINDS: Final[Sequence[Callable[[Any, Draw], Iterator[Act]]]] = [
    move for move, weight in _WEIGHTS.items() for _ in range(weight)
]
