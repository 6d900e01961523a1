"""The tracked positions in Redis: loaded with their inboxes in one round trip, committed in one atomic step each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import uuid4

from redis.exceptions import RedisError

from harvest_tasks import keys, script
from harvest_tasks.connection import Client
from harvest_tasks.door.numbers import positive
from harvest_tasks.door.refusal import Unusable
from harvest_tasks.settings import Settings
from harvest_tasks.symbols import of_book
from harvest_tasks.tracking import wire
from harvest_tasks.tracking.intent_message import Delivery, payload
from harvest_tasks.tracking.plan import Delivered, Plan, Unreadable
from harvest_tasks.tracking.record import BadRecord, from_fields, to_fields
from kernel.guards import Guards, Refusal
from kernel.holding import RiskTerms
from kernel.position import Position
from kernel.quote import FUTURE_TOLERANCE_MS

BATCH: Final = 500
"""Entries of one book in one commit: Lua can pass some thousands of arguments to one command."""
TRADES_PER_GENERATION: Final = 10_000
"""A repeated trade id is recognised for at least this many newer trades of its book."""
OUT_MAXLEN: Final = 10_000
DECISIONS_MAXLEN: Final = 100_000
DEADLETTER_MAXLEN: Final = 10_000
WINDOW_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Loaded:
    """A book as it was read: `version` is what a commit must still find."""

    book: str
    version: int
    trades_generation: int
    position: Position
    batch: Sequence[Delivered]
    terms: RiskTerms


@dataclass(frozen=True, slots=True)
class Busy:
    """Another worker holds the book's lock: its commit will say what is left."""

    book: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The book could not be read or written; its entries stay where they are."""

    book: str
    error: Exception


@dataclass(frozen=True, slots=True)
class Committed:
    """`left` entries wait in the inbox."""

    left: int


@dataclass(frozen=True, slots=True)
class Conflict:
    """Another commit came first: load again."""


@dataclass(frozen=True, slots=True)
class Revise:
    """Nothing was written: plan again with these guards and these earlier trades."""

    guards: Guards
    earlier_trades: Mapping[str, str]


Outcome = Committed | Conflict | Revise | Failed


class Ledger:
    """Reads and commits books. `now_ms` replaces the server's clock, for replays."""

    def __init__(self, client: Client, settings: Settings, now_ms: int | None = None) -> None:
        self._client = client
        self._settings = settings
        self._now_ms = now_ms
        self._token = uuid4().hex
        self._delivery = Delivery(
            live=settings.is_live,
            live_stops=settings.harvest_live_stops,
            timeout_ms=int(settings.harvest_intent_timeout_sec * 1000),
        )

    def load(self, books: Sequence[str]) -> tuple[Guards, list[Loaded | Busy | Failed]]:
        """The guards of this moment and each book, in order, in one round trip."""
        lock_ms = int(self._settings.harvest_lock_ttl_sec * 1000)
        with self._client.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.get(self._settings.harvest_kill_switch_key)
            pipe.lrange(keys.WINDOW, 0, self._settings.harvest_max_actions_per_min - 1)
            for book in books:
                pipe.set(keys.lock(book), self._token, nx=True, px=lock_ms)
                pipe.hgetall(keys.position(book))
                pipe.xrange(keys.inbox(book), count=BATCH)
                pipe.hget(self._settings.riskproposal_prefix + of_book(book), "stop_dist_pct")
            time, switch, window, *rows = pipe.execute(raise_on_error=False)
        loaded = [self._book(book, *rows[i * 4 : i * 4 + 4]) for i, book in enumerate(books)]
        return self._guards(time, switch, window), loaded

    def commit(self, planned: Sequence[tuple[Loaded, Plan]]) -> list[Outcome]:
        """What became of each plan, in order, in one round trip."""
        calls = [self._call(loaded, plan) for loaded, plan in planned]
        replies = script.run_all(self._client, calls)
        return [self._outcome(loaded, plan, reply) for (loaded, plan), reply in zip(planned, replies, strict=True)]

    def unlock(self, books: Sequence[str]) -> None:
        """Give up locks that no commit gave up. A lock only saves double work, so its holder is not asked."""
        if books:
            self._client.delete(*(keys.lock(book) for book in books))

    def _guards(self, time: Any, switch: Any, window: Any) -> Guards:
        for reply in (time, window):
            if isinstance(reply, Exception):
                raise reply
        now_ms = self._now_ms if self._now_ms is not None else time[0] * 1000 + time[1] // 1000
        recent = sum(int(at) > now_ms - WINDOW_MS for at in window)
        return Guards(
            now_ms=now_ms,
            fresh_ms=int(self._settings.harvest_require_fresh_snapshot_sec * 1000),
            killed=switch not in (None, "", "0"),
            budget=self._settings.harvest_max_actions_per_min - recent,
        )

    def _book(self, book: str, locked: Any, fields: Any, inbox: Any, stop_dist_pct: Any) -> Loaded | Busy | Failed:
        for reply in (locked, fields, inbox):
            if isinstance(reply, Exception):
                return Failed(book, reply)
        if not locked:
            return Busy(book)
        try:
            position = from_fields(book, fields)
        except BadRecord as error:
            return Failed(book, error)
        return Loaded(
            book=book,
            version=int(fields.get("version", "0")),
            trades_generation=int(fields.get("trades_generation", "0")),
            position=position,
            batch=[Delivered(inbox_id, _entry(values)) for inbox_id, values in inbox],
            terms=RiskTerms(_ratio(stop_dist_pct), self._settings.fallback_stop_pct),
        )

    def _call(self, loaded: Loaded, plan: Plan) -> script.Call:
        settings, book = self._settings, loaded.book
        generation = loaded.trades_generation
        key_names = [
            keys.position(book),
            keys.inbox(book),
            keys.trades(book, generation),
            keys.trades(book, generation - 1),
            keys.lock(book),
            settings.harvest_kill_switch_key,
            keys.WINDOW,
            keys.DECISIONS,
            keys.DEADLETTER,
            keys.COUNTS,
            keys.WAITING,
            keys.HELD,
            keys.OPEN,
            settings.stream_harvest_suggestions,
            settings.stream_trade_intent,
            *(keys.dedup(intent.position_id, intent.action) for intent, _ in plan.intents),
        ]
        args: list[script.Value] = [
            book,
            loaded.version,
            "" if self._now_ms is None else self._now_ms,
            plan.guards.fresh_ms,
            -FUTURE_TOLERANCE_MS,
            settings.harvest_max_actions_per_min,
            int(settings.harvest_dedup_ttl_sec),
            self._token,
            plan.consumed,
            _look_until(plan),
            int(plan.position.is_open),
            plan.applied,
            plan.duplicate,
            len(plan.deadletters),
            TRADES_PER_GENERATION,
            OUT_MAXLEN,
            DECISIONS_MAXLEN,
            DEADLETTER_MAXLEN,
        ]
        args += _lists(plan, self._delivery)
        return script.Call(script.load("commit"), key_names, args)

    def _outcome(self, loaded: Loaded, plan: Plan, reply: Any) -> Outcome:
        if isinstance(reply, Exception):
            if isinstance(reply, RedisError):
                return Failed(loaded.book, reply)
            raise reply
        kind, *values = reply
        if kind == "committed":
            return Committed(int(values[0]))
        if kind == "conflict":
            return Conflict()
        return _revision(plan.guards.fresh_ms, values)


def _revision(fresh_ms: int, values: Sequence[Any]) -> Revise:
    now_ms, killed, budget, n_trades, *rest = values
    trades, published = rest[: n_trades * 2], rest[n_trades * 2 + 1 :]
    guards = Guards(now_ms, fresh_ms, killed == 1, budget, frozenset(published))
    return Revise(guards, dict(zip(trades[::2], trades[1::2], strict=True)))


def _lists(plan: Plan, delivery: Delivery) -> list[script.Value]:
    """The five counted lists that end the arguments of commit.lua."""
    fields = to_fields(plan.position)
    args: list[script.Value] = [len(fields)]
    for item in fields.items():
        args += item
    args.append(len(plan.trades))
    for item in plan.trades.items():
        args += item
    args.append(len(plan.intents))
    for intent, cause in plan.intents:
        args += [
            "live" if delivery.is_live(intent) else "shadow",
            intent.time_ms,
            intent.intent_id,
            intent.symbol,
            delivery.intent_type(intent),
            payload(intent, delivery, cause),
        ]
    args.append(len(plan.journal))
    for record in plan.journal:
        args.append(len(record) * 2)
        for item in record.items():
            args += item
    args.append(len(plan.deadletters))
    for letter in plan.deadletters:
        args += [letter.reason, letter.source_id, letter.sha256, letter.size, letter.head]
    return args


_PASSING: Final = frozenset({Refusal.KILLED.value, Refusal.RATE_LIMITED.value, Refusal.DUPLICATE.value})
"""Refusals that may end without a new entry."""


def _look_until(plan: Plan) -> int | str:
    """Unix ms until which the mark stays fresh, if a refusal may end by itself."""
    position = plan.position
    if position.quote is None or not position.is_open or position.frozen:
        return ""
    if not any(reason in _PASSING for _, reason in position.progress.held):
        return ""
    return position.quote.time_ms + plan.guards.fresh_ms


def _entry(values: Mapping[str, str]) -> Any:
    raw = values.get("e", "")
    try:
        return wire.unpack(raw)
    except wire.BadWire:
        return Unreadable(raw or repr(dict(values)))


def _ratio(text: Any) -> Decimal | None:
    """A published stop distance; what cannot be one is as good as none."""
    if not isinstance(text, str):
        return None
    try:
        return positive("stop_dist_pct", text)
    except Unusable:
        return None
