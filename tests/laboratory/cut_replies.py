"""F8: the line between Harvest and its server is cut, at every command that the path sends, in six ways.

A watcher, a sweep, a worker and a cycle of proposals run their real code through a proxy. Whatever fails, fails: the
next ones come over a whole line, and then everything must be as if nothing had been cut.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import count, product
from math import inf
from typing import Any, Final
from unittest.mock import patch

from redis.exceptions import RedisError

from harvest_tasks.fills import watcher
from harvest_tasks.fills.brain import Brain
from harvest_tasks.fills.sweep import sweep, waiting_books
from harvest_tasks.proposing.cycle import run_cycle
from harvest_tasks.reconciling import adoption
from harvest_tasks.server import keys
from harvest_tasks.server.client import SOCKET_TIMEOUT_SEC, Client, connect
from harvest_tasks.settings.model import Settings
from kernel.positions.intent import intent_id
from laboratory import invariants
from laboratory.accounting import rules
from laboratory.arena import Arena
from laboratory.arena_pool import blame, gather
from laboratory.cutting_proxy import KINDS, LATE, Cut, Proxy
from laboratory.invariants import Fields, Seen, Violation
from laboratory.model import Published, Symbol, World
from laboratory.prepared_scenario import bytes_client
from laboratory.report import Result
from laboratory.scenarios import BOOK, FAR, LIVE, bought, marked
from laboratory.sequential_path import StandsStill, turn
from laboratory.server_pool import socket_of

ID: Final = "F8"
TITLE: Final = "cut lines"

GIVEN_UP_SEC: Final = 0.1
"""What a client waits for where a reply is late."""
ATTEMPTS: Final = 5
"""Of a late reply, on a machine that is so slow that other replies are, too."""
SLICE: Final = 3.0
"""A watcher's, in looks at its clock."""
OTHER, SWEPT = "ETHUSDT", "SOLUSDT"
"""The price of the second of them comes by key."""
BOOKS: Final = (BOOK, OTHER, SWEPT)
ENVIRON: Final = {
    **LIVE,
    "HARVEST_MAX_ACTIONS_PER_MIN": "1000",
    "HARVEST_REQUIRE_FRESH_SNAPSHOT_SEC": "3600",
    "HARVEST_LOCK_TTL_SEC": "300",
    "POSITION_SOURCE": "redis_hash",
    "ENABLE_STREAM": "true",
}
BEFORE: Final = (bought(trade_id="t1"), {**bought(), "symbol": OTHER}, {**bought(), "symbol": SWEPT})
NEWS: Final = (
    bought(trade_id="t1"),
    bought("0.1", "107", trade_id="t2"),
    bought("2", trade_id="t1"),
    {**marked("111"), "symbol": OTHER},
    {"symbol": "XRPUSDT", "status": "PRICE_UPDATE", "price": "nan"},
)
"""A trade again, one that crosses a rung, one that uses an id again, a mark over two rungs, and what nobody can use."""
POSITION: Final = {
    "symbol": "BTCUSDT",
    "side": "LONG",
    "entry_price": "100",
    "current_price": "107",
    "peak_price": "107",
    "trough_price": "99",
    "age_sec": "60",
    "unrealized_pnl": "7",
    "qty": "1",
}
MARKET: Final = {"sigma": "0.01", "ts": "0.5", "p_trend": "0.6", "p_mr": "0.2", "p_chop": "0.2"}
QUICK_CLOCK: Final = ("--hz", "500")
"""The beat in which a server looks whose wait is over."""
WORK: Final = "proposals:"
"""Counters that count cycles, not entries."""


Role = Callable[[Client], None]


@dataclass(frozen=True, slots=True)
class State:
    """What there is in the end: of the path, of its letters and counters, and of proposals."""

    seen: Seen
    letters: Sequence[Fields]
    counts: Mapping[str, int]
    proposals: Sequence[object]


def run(arena: Arena) -> Result:
    """At a scale below 1: some of the cuts."""
    with _Line(arena) as line:
        commands = line.commands()
    every = [Cut(number, kind) for number, kind in product(range(1, len(commands) + 1), KINDS)]
    chosen = every if arena.scale >= 1 else arena.chance("cuts").sample(every, arena.count(len(every)))
    result = Result(ID, TITLE)
    gather(arena, result, _play, [chosen[share :: arena.jobs] for share in range(min(arena.jobs, len(chosen)))])
    result.notes["commands of the path"] = len(commands)
    return result


def _play(arena: Arena, cuts: Sequence[Cut]) -> Result:
    result, by_kind, failed = Result(ID, TITLE), Counter[str](), Counter[str]()
    with _Line(arena) as line:
        commands = line.commands()
        for cut in cuts:
            wrong = line.play(cut)
            result.cases += 1
            result.fills += line.fills
            result.intents += line.intents
            by_kind[cut.kind] += 1
            failed.update(line.failed)
            blame(arena, result, wrong, f"command {cut.number}, {commands[cut.number - 1]}: {cut.kind}")
    result.notes["cut"] = dict(by_kind)
    result.notes["roles ended with"] = dict(failed)
    return result


class _Line:
    """The path on a line that can be cut. `failed` are the errors that roles of the last play ended with."""

    def __init__(self, arena: Arena) -> None:
        self.fills = self.intents = 0
        self.failed: list[str] = []
        self._server = arena.server(durable=False, options=QUICK_CLOCK)
        self._client = arena.client(self._server)
        self._dumps = bytes_client(socket_of(self._server))
        self._settings = Settings.from_env(ENVIRON)
        self._stack = ExitStack()

    def __enter__(self) -> "_Line":
        self._proxy = Proxy(socket_of(self._server))
        self._stack.callback(self._proxy.close)
        self._stack.callback(self._dumps.close)
        self._prepare()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def commands(self) -> list[str]:
        """What the path sends when nothing is cut."""
        self._restore()
        self._act(None, SOCKET_TIMEOUT_SEC)
        assert not self.failed, self.failed
        return list(self._proxy.seen)

    def play(self, cut: Cut) -> list[Violation]:
        """Cut there, let fresh ones come, and look what is not as it should be."""
        for _ in range(ATTEMPTS):
            self._restore()
            self._act(cut, GIVEN_UP_SEC if cut.kind == LATE else SOCKET_TIMEOUT_SEC)
            if self._proxy.has_cut:
                break
        else:
            return [Violation("I13", "other", f"command {cut.number} was never sent: {self._proxy.seen}")]
        try:
            self._recover(forget=cut.number % 2 == 0)
        except StandsStill as error:
            return [Violation("I9", "lost", str(error))]
        return list(self._violations())

    # The path.

    def _act(self, cut: Cut | None, timeout_sec: float) -> None:
        self.failed = []
        client = connect(self._proxy.url, timeout_sec)
        self._proxy.begin(cut)
        for role in (self._watch, self._sweep, self._work, self._propose):
            try:
                role(client)
            except RedisError as error:
                self.failed.append(type(error).__name__)
        client.close()

    def _watch(self, client: Client) -> None:
        """For so many looks at its clock, however long they take."""
        looks = count()
        with patch.object(watcher, "monotonic", lambda: float(next(looks))), patch.object(watcher, "BLOCK_MS", 1):
            first_start = partial(adoption.begin_adoption, client, self._settings)
            watcher.watch(client, self._settings, SLICE, lambda _: None, first_start=first_start)

    def _sweep(self, client: Client) -> None:
        sweep(client, self._settings)

    def _work(self, client: Client) -> None:
        Brain(client, self._settings).process(sorted(waiting_books(client)), inf)

    def _propose(self, client: Client) -> None:
        run_cycle(client, self._settings, [BOOK], float(self._now_ms // 1000))

    # Before and after.

    def _prepare(self) -> None:
        """The state in which each case begins, and what comes of it alone."""
        client, source = self._client, self._settings.stream_execution_result
        client.flushdb()
        seconds, _ = client.time()
        self._now_ms = seconds * 1000
        ids = [f"{self._now_ms - 1000 + n}-0" for n in range(len(BEFORE) + len(NEWS))]
        for entry_id, entry in zip(ids[: len(BEFORE)], BEFORE, strict=False):
            client.xadd(source, _any(entry), id=entry_id)
        turn(client, self._settings)
        for entry_id, entry in zip(ids[len(BEFORE) :], NEWS, strict=True):
            client.xadd(source, _any(entry), id=entry_id)
        client.hset(keys.position_state(BOOK), mapping=_any(POSITION))
        client.hset(f"{self._settings.marketstate_prefix}{BOOK}", mapping=_any(MARKET))
        client.hset(keys.ticker(SWEPT), mapping=_any({"markPrice": "112", "ts": str(self._now_ms)}))
        self._packed = [("FLUSHDB",), ("SCRIPT", "FLUSH"), *self._restoring()]
        self._sent_before = client.xlen(self._settings.stream_trade_intent)
        self._recover(forget=False)
        self._alone = self._state()
        self._is_as_the_model_has_it(ids)

    def _restoring(self) -> Iterator[tuple[Any, ...]]:
        for key in sorted(self._dumps.keys()):
            yield "RESTORE", key, 0, self._dumps.dump(key)

    def _restore(self) -> None:
        with self._dumps.pipeline(transaction=False) as pipe:
            for command in self._packed:
                pipe.execute_command(*command)
            pipe.execute()
        self._client.delete(keys.LEASE)

    def _recover(self, forget: bool) -> None:
        """Time passes, and fresh ones come over a whole line."""
        gone = [keys.LEASE, *(keys.lock(book) for book in BOOKS)]
        if forget:
            gone += self._client.keys("quantum:dedup:harvest:*")
        self._client.delete(*gone)
        turn(self._client, self._settings)
        self._propose(self._client)

    # What must hold.

    def _violations(self) -> Iterator[Violation]:
        now = self._state()
        self.fills = sum(entry["status"] == "FILLED" for entry in NEWS)
        self.intents = len(now.seen.sent) - self._sent_before
        yield from invariants.always(now.seen)
        yield from invariants.at_rest(now.seen)
        yield from invariants.same_effects(now.seen, self._alone.seen)
        for what in ("letters", "counts", "proposals"):
            found, expected = getattr(now, what), getattr(self._alone, what)
            if found != expected:
                yield Violation("I4", "other", f"{what} are {found}, without a cut {expected}")

    def _state(self) -> State:
        client, prefix = self._client, self._settings.harvest_prefix
        seen = invariants.read(client, self._settings)
        counts = {name: n for name, n in seen.counts.items() if not name.startswith(WORK)}
        streamed = [fields for _, fields in client.xrange(self._settings.stream_name)]
        return State(seen, seen.deadletters, counts, [client.hgetall(prefix + BOOK), streamed])

    def _is_as_the_model_has_it(self, ids: Sequence[str]) -> None:
        wrong = [*invariants.always(self._alone.seen), *invariants.at_rest(self._alone.seen)]
        for symbol in self._models(ids):
            for book in symbol.books.values():
                wrong += invariants.like(self._alone.seen, book)
        sent = len(self._alone.seen.sent) - self._sent_before
        assert not wrong, f"with nothing cut: {'; '.join(map(str, wrong))}"
        assert sent > 0, "nothing is published"
        assert len(self._alone.proposals[1]) == 1, self._alone.proposals

    def _models(self, ids: Sequence[str]) -> Sequence[Symbol]:
        """Of the books whose entries all come by the stream, from the same entries."""
        world = World(self._now_ms, FAR, fresh_ms=FAR)
        symbols = {name: Symbol(name, rules(self._settings), Counter()) for name in (BOOK, OTHER)}
        for entry_id, entry in zip(ids, [*BEFORE, *NEWS], strict=True):
            if entry["symbol"] in symbols:
                symbol = symbols[entry["symbol"]]
                for book, said in symbol.reached(entry):
                    deeds = book.take(said, entry_id, world)
                    symbol.names.update({intent_id(*d.name): d.name for d in deeds if isinstance(d, Published)})
        return list(symbols.values())


def _any(fields: Fields) -> dict[Any, Any]:
    """redis-py's type for a mapping is invariant."""
    return dict(fields)
