"""What a batch of a book's entries leads to, worked out before anything is written. Pure.

A plan assumes the guards it was given. If commit.lua finds them changed, it refuses the whole plan and replies with the
present ones. The batch is then planned again from the same position, so no state ever rests on an intent that a guard
refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from harvest_tasks.wire.dead_letter import DeadLetter
from harvest_tasks.wire.history import HistoryRow, ended_rows, suggested_row
from kernel.positions.decision import Decision, decide
from kernel.positions.entry import Adopt, Entry, Fill, Freeze, OrderEnded, Overdue, Release
from kernel.positions.guards import Guards, Refusal
from kernel.positions.holding import RiskTerms
from kernel.positions.intent import Intent, IntentKind
from kernel.positions.position import Position, apply, excess
from kernel.positions.quantities import exact, plain
from kernel.positions.rules import Rules

JournalRecord = dict[str, str]


@dataclass(frozen=True, slots=True)
class UnreadableEntry:
    """An inbox entry that Harvest did not write; `raw` is its text."""

    raw: str


class Delivered(NamedTuple):
    """An inbox entry: its id there, and what it carries."""

    inbox_id: str
    entry: Entry | UnreadableEntry


@dataclass(slots=True)
class Plan:
    """The position after the batch, and everything that must be written with it in one step."""

    position: Position
    guards: Guards
    intents: list[tuple[Intent, str]] = field(default_factory=list)
    """Each intent with the id of the input entry that made it due."""
    journal: list[JournalRecord] = field(default_factory=list)
    trades: dict[str, str] = field(default_factory=dict)
    """Trade ids first seen in this batch, with the digest of their content."""
    past: list[HistoryRow] = field(default_factory=list)
    """Rows of the history: lifecycles and harvests that ended, and harvests that were suggested."""
    deadletters: list[DeadLetter] = field(default_factory=list)
    held: Mapping[str, Refusal] = field(default_factory=dict)
    """What is due after the last entry and held back by a guard: the refusal by action."""
    applied: int = 0
    duplicate: int = 0
    consumed: str = ""
    """Inbox id of the last entry of the batch."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not self.consumed and not self.intents and not self.journal


@exact
def plan(
    position: Position,
    batch: Sequence[Delivered],
    rules: Rules,
    guards: Guards,
    terms: RiskTerms,
    earlier_trades: Mapping[str, str],
) -> Plan:
    """The plan for `batch` after `position`; `earlier_trades` maps trade ids that were applied before to their digests.

    An empty batch decides again about what the guards held back.
    """
    made = Plan(position, guards)
    _apply_overrides(made, rules)
    for delivered in batch:
        if _apply_entry(made, delivered.entry, terms, earlier_trades):
            _decide(made, rules)
        made.consumed = delivered.inbox_id
    if not batch:
        _decide(made, rules)
    return made


def digest(fill: Fill) -> str:
    """What makes two fills the same trade: side, quantity and price."""
    content = f"{fill.side} {plain(fill.qty)} {plain(fill.price)}"
    return sha256(content.encode()).hexdigest()[:16]


def _apply_entry(made: Plan, entry: Entry | UnreadableEntry, terms: RiskTerms, earlier: Mapping[str, str]) -> bool:
    """Fold one entry into the plan. Returns False if it is a duplicate."""
    if isinstance(entry, UnreadableEntry):
        _refuse(made, "unreadable_inbox_entry", "", entry.raw, 0)
        return True
    after = apply(made.position, entry, terms)
    if after is made.position:
        made.duplicate += 1
        return False
    if isinstance(entry, Fill) and entry.trade_id is not None:
        content, known = digest(entry), made.trades.get(entry.trade_id, earlier.get(entry.trade_id))
        if known is None:
            made.trades[entry.trade_id] = content
        elif known == content:
            made.duplicate += 1
            return False
        else:
            _refuse(made, "trade_id_reused", entry.source_id, repr(entry), entry.time_ms)
            return True
    _journal_entry(made, entry)
    made.past += ended_rows(made.position, after, entry)
    made.position = after
    made.applied += 1
    return True


def _refuse(made: Plan, reason: str, source_id: str, raw: str, time_ms: int) -> None:
    """Dead-letter an entry that cannot be applied, and freeze its book."""
    made.deadletters.append(DeadLetter.of(reason, source_id, raw))
    freeze = Freeze(source_id, time_ms, reason)
    made.position = apply(made.position, freeze)
    _journal_entry(made, freeze)


def _apply_overrides(made: Plan, rules: Rules) -> None:
    """Take over the symbol's own rules, and journal them if they changed."""
    if rules.overrides != made.position.overrides:
        made.journal.append(_record(made.position, "overrides", reason=rules.overrides or "none"))
        made.position = made.position._replace(overrides=rules.overrides)


def _journal_entry(made: Plan, entry: Entry) -> None:
    """Journal an entry that changes what may be decided. `made.position` is still the one before it."""
    position = made.position
    match entry:
        case Fill():
            beyond = excess(position, entry)
            if beyond:
                made.journal.append(_record(position, "clamped", reason="exit_over_position", qty=plain(beyond)))
        case Freeze():
            made.journal.append(_record(position, "frozen", reason=entry.reason))
        case Release():
            made.journal.append(_record(position, "released"))
        case OrderEnded():
            for rung in position.ladder_state.released(entry.intent_id)[1]:
                made.journal.append(_record(position, "exhausted", action=rung, intent_id=entry.intent_id))
        case Overdue():
            for intent_id in position.ladder_state.late(entry.placed_before_ms):
                made.journal.append(_record(position, "unanswered", intent_id=intent_id))
        case Adopt():
            made.journal.append(_adoption_record(position, entry))


def _adoption_record(position: Position, adopt: Adopt) -> JournalRecord:
    held, seen = position.holding.qty, adopt.seen_qty
    decision = "adopted" if held == seen else "adoption_refused"
    quantities = {"tracked": plain(held), "seen": plain(seen), "qty": plain(adopt.qty), "entry": plain(adopt.entry)}
    return _record(position, decision, **quantities)


def _decide(made: Plan, rules: Rules) -> None:
    made.position, made.guards, decisions = decide(made.position, rules, made.guards)
    made.held = {decision.action: decision.refusal for decision in decisions if decision.refusal is not None}
    for decision in decisions:
        if decision.refusal is not None:
            if not decision.noted:
                made.journal.append(_held_record(made.position, decision, decision.refusal))
            continue
        for intent in decision.intents:
            made.journal.append(_published_record(made.position, intent))
            made.intents.append((intent, _cause(made.position)))
            if intent.kind is IntentKind.HARVEST and not rules.live:
                made.past.append(suggested_row(made.position, intent))


def _held_record(position: Position, decision: Decision, refusal: Refusal) -> JournalRecord:
    return _record(position, "held", action=decision.action, reason=refusal.value)


def _published_record(position: Position, intent: Intent) -> JournalRecord:
    stop = {} if intent.stop_price is None else {"stop_price": plain(intent.stop_price)}
    return _record(
        position,
        "published",
        action=intent.action,
        reason=intent.reason,
        intent_id=intent.intent_id,
        side=intent.side.value,
        qty=plain(intent.qty),
        **stop,
    )


def _record(position: Position, decision: str, **values: str) -> JournalRecord:
    mark = position.mark
    priced = {} if mark is None else {"mark": plain(mark.price), "mark_ms": str(mark.time_ms)}
    cause = {"cause": _cause(position)}
    return {"decision": decision, "book": position.book, "position_id": position.position_id} | values | priced | cause


def _cause(position: Position) -> str:
    return f"{position.applied[0]}-{position.applied[1]}"
