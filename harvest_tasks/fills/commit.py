"""Sends a plan to commit.lua, and parses its reply."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import RedisError

from harvest_tasks.fills.loading import FailedBook, LoadedBook
from harvest_tasks.fills.plan import Plan
from harvest_tasks.server import keys, script
from harvest_tasks.server.client import checked
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.dead_letter import DEADLETTER_MAXLEN
from harvest_tasks.wire.history import ROWS_KEPT, HarvestRow, row_json
from harvest_tasks.wire.intent import Delivery, intent_payload
from harvest_tasks.wire.position import changed_fields, position_fields
from kernel.positions.guards import Guards, Refusal
from kernel.positions.mark import FUTURE_TOLERANCE_MS

TRADES_PER_GENERATION: Final = 10_000
"""A repeated trade id is recognised for at least this many newer trades of its book."""
OUT_MAXLEN: Final = 10_000
DECISIONS_MAXLEN: Final = 100_000

_PASSING: Final = frozenset({Refusal.KILLED.value, Refusal.RATE_LIMITED.value, Refusal.DUPLICATE.value})
"""Refusals that may end by themselves, without a new entry."""


@dataclass(frozen=True, slots=True)
class Committed:
    """The plan was written; `left` entries wait in the inbox."""

    left: int


@dataclass(frozen=True, slots=True)
class Conflict:
    """Nothing was written, as another commit came first: load the book again."""


@dataclass(frozen=True, slots=True)
class Revise:
    """Nothing was written: plan again with these guards and these earlier trades."""

    guards: Guards
    earlier_trades: Mapping[str, str]


CommitOutcome = Committed | Conflict | Revise | FailedBook


def commit_call(loaded: LoadedBook, plan: Plan, settings: Settings, token: str, now_ms: int | None) -> script.Call:
    """The call of commit.lua that writes `plan`."""
    head: list[script.Value] = [
        loaded.book,
        loaded.version,
        "" if now_ms is None else now_ms,
        plan.guards.fresh_ms,
        -FUTURE_TOLERANCE_MS,
        settings.harvest_max_actions_per_min,
        settings.harvest_dedup_ttl_sec,
        token,
        plan.consumed,
        _look_until(plan),
        int(plan.position.is_open),
        plan.applied,
        plan.duplicate,
        len(plan.dead_letters),
        TRADES_PER_GENERATION,
        OUT_MAXLEN,
        DECISIONS_MAXLEN,
        DEADLETTER_MAXLEN,
        ROWS_KEPT,
    ]
    return script.Call(script.load("commit"), _keys(loaded, plan, settings), head + _lists(loaded, plan, settings))


def commit_outcome(loaded: LoadedBook, plan: Plan, reply: Any) -> CommitOutcome:
    """What became of `plan`, from the reply of commit.lua."""
    if isinstance(reply, RedisError):
        return FailedBook(loaded.book, reply)
    kind, *values = checked(reply)
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


def _keys(loaded: LoadedBook, plan: Plan, settings: Settings) -> list[str]:
    book, generation, symbol = loaded.book, loaded.trades_generation, loaded.position.symbol
    return [
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
        keys.history(symbol),
        keys.lifecycles(symbol),
        *(keys.dedup(intent.position_id, intent.action) for intent, _ in plan.intents),
    ]


def _lists(loaded: LoadedBook, plan: Plan, settings: Settings) -> list[script.Value]:
    """The six counted lists that end the arguments."""
    fields = changed_fields(loaded.position, plan.position) if loaded.version else position_fields(plan.position)
    args = _pairs(fields) + _pairs(plan.trades) + _intents(plan, settings) + [len(plan.journal)]
    for record in plan.journal:
        _, *pairs = _pairs(record)
        args += [len(pairs), *pairs]
    args.append(len(plan.history))
    for row in plan.history:
        args += ["harvest" if isinstance(row, HarvestRow) else "lifecycle", row_json(row)]
    args.append(len(plan.dead_letters))
    for message in plan.dead_letters:
        args += [message.reason, message.source_id, message.sha256, message.size, message.head]
    return args


def _intents(plan: Plan, settings: Settings) -> list[script.Value]:
    """The number of intents, then each."""
    if not plan.intents:
        return [0]
    args: list[script.Value] = [len(plan.intents)]
    delivery = delivery_of(settings)
    for intent, cause in plan.intents:
        args += (
            "live" if delivery.is_live(intent) else "shadow",
            intent.time_ms,
            intent.intent_id,
            intent.symbol,
            delivery.intent_type(intent),
            intent_payload(intent, delivery, cause),
        )
    return args


def delivery_of(settings: Settings) -> Delivery:
    """How intents are delivered under `settings`."""
    return Delivery(settings.is_live, settings.harvest_live_stops, settings.harvest_intent_timeout_sec * 1000)


def _pairs(mapping: Mapping[str, str]) -> list[script.Value]:
    """The number of items, then each name and value."""
    args: list[script.Value] = [len(mapping)]
    for item in mapping.items():
        args += item
    return args


def _look_until(plan: Plan) -> int | str:
    """Unix ms until which the mark stays fresh, if a refusal may end by itself; else empty."""
    position = plan.position
    if position.mark is None or not position.is_open or position.frozen:
        return ""
    if not any(reason in _PASSING for _, reason in position.ladder_state.held):
        return ""
    return position.mark.time_ms + plan.guards.fresh_ms
