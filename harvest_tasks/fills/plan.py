"""Plans what a batch of a book's entries leads to, before anything is written. Pure.

A plan assumes the guards it was given. If commit.lua finds them changed, it refuses the whole plan and replies with the
current ones. The batch is then planned again from the same position, so no state ever rests on an intent that a guard
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
    """Each intent, and the id of the input entry that made it due."""
    journal: list[JournalRecord] = field(default_factory=list)
    trades: dict[str, str] = field(default_factory=dict)
    """Trade ids first seen in this batch, with the digest of their content."""
    history: list[HistoryRow] = field(default_factory=list)
    """Rows of the history: lifecycles and harvests that ended, and harvests that were suggested."""
    dead_letters: list[DeadLetter] = field(default_factory=list)
    held: Mapping[str, Refusal] = field(default_factory=dict)
    """The refusal of each action that is due after the last entry and that a guard holds back."""
    applied: int = 0
    duplicate: int = 0
    consumed: str = ""
    """Inbox id of the last entry of the batch."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not self.consumed and not self.intents and not self.journal


@exact
def make_plan(
    position: Position,
    batch: Sequence[Delivered],
    rules: Rules,
    guards: Guards,
    terms: RiskTerms,
    earlier_trades: Mapping[str, str],
) -> Plan:
    """The plan for `batch` after `position`; `earlier_trades` maps trade ids that were applied before to their digests.

    With an empty batch, the plan decides again about what the guards held back.
    """
    plan = Plan(position, guards)
    _apply_overrides(plan, rules)
    for delivered in batch:
        if _apply_entry(plan, delivered.entry, terms, earlier_trades):
            _decide(plan, rules)
        plan.consumed = delivered.inbox_id
    if not batch:
        _decide(plan, rules)
    return plan


def trade_digest(fill: Fill) -> str:
    """A digest of side, quantity and price: two fills with one trade id must agree in it."""
    content = f"{fill.side} {plain(fill.qty)} {plain(fill.price)}"
    return sha256(content.encode()).hexdigest()[:16]


def _apply_entry(plan: Plan, entry: Entry | UnreadableEntry, terms: RiskTerms, earlier: Mapping[str, str]) -> bool:
    """Fold one entry into the plan. Returns False if it is a duplicate."""
    if isinstance(entry, UnreadableEntry):
        _refuse(plan, "unreadable_inbox_entry", "", entry.raw, 0)
        return True
    after = apply(plan.position, entry, terms)
    if after is plan.position:
        plan.duplicate += 1
        return False
    if isinstance(entry, Fill) and entry.trade_id is not None:
        content, known = trade_digest(entry), plan.trades.get(entry.trade_id, earlier.get(entry.trade_id))
        if known is None:
            plan.trades[entry.trade_id] = content
        elif known == content:
            plan.duplicate += 1
            return False
        else:
            _refuse(plan, "trade_id_reused", entry.source_id, repr(entry), entry.time_ms)
            return True
    _journal_entry(plan, entry)
    plan.history += ended_rows(plan.position, after, entry)
    plan.position = after
    plan.applied += 1
    return True


def _refuse(plan: Plan, reason: str, source_id: str, raw: str, time_ms: int) -> None:
    """Dead-letter an entry that cannot be applied, and freeze its book."""
    plan.dead_letters.append(DeadLetter.of(reason, source_id, raw))
    freeze = Freeze(source_id, time_ms, reason)
    plan.position = apply(plan.position, freeze)
    _journal_entry(plan, freeze)


def _apply_overrides(plan: Plan, rules: Rules) -> None:
    """Record the symbol's own rules in the position, and journal them if they changed."""
    if rules.overrides != plan.position.overrides:
        plan.journal.append(_record(plan.position, "overrides", reason=rules.overrides or "none"))
        plan.position = plan.position._replace(overrides=rules.overrides)


def _journal_entry(plan: Plan, entry: Entry) -> None:
    """Journal an entry that changes what may be decided. `plan.position` is still the one before it."""
    position = plan.position
    match entry:
        case Fill():
            beyond = excess(position, entry)
            if beyond:
                plan.journal.append(_record(position, "clamped", reason="exit_over_position", qty=plain(beyond)))
        case Freeze():
            plan.journal.append(_record(position, "frozen", reason=entry.reason))
        case Release():
            plan.journal.append(_record(position, "released"))
        case OrderEnded():
            for rung in position.ladder_state.released(entry.intent_id)[1]:
                plan.journal.append(_record(position, "exhausted", action=rung, intent_id=entry.intent_id))
        case Overdue():
            for intent_id in position.ladder_state.late_intents(entry.placed_before_ms):
                plan.journal.append(_record(position, "unanswered", intent_id=intent_id))
        case Adopt():
            plan.journal.append(_adoption_record(position, entry))


def _adoption_record(position: Position, adopt: Adopt) -> JournalRecord:
    held, compared = position.holding.qty, adopt.tracked_qty
    decision = "adopted" if held == compared else "adoption_refused"
    quantities = {"tracked": held, "seen": compared, "qty": adopt.qty, "entry": adopt.entry}
    return _record(position, decision, **{name: plain(value) for name, value in quantities.items()})


def _decide(plan: Plan, rules: Rules) -> None:
    plan.position, plan.guards, decisions = decide(plan.position, rules, plan.guards)
    plan.held = {decision.action: decision.refusal for decision in decisions if decision.refusal is not None}
    for decision in decisions:
        if decision.refusal is not None:
            if not decision.repeated:
                plan.journal.append(_held_record(plan.position, decision, decision.refusal))
            continue
        for intent in decision.intents:
            plan.journal.append(_published_record(plan.position, intent))
            plan.intents.append((intent, _cause(plan.position)))
            if intent.kind is IntentKind.HARVEST and not rules.live:
                plan.history.append(suggested_row(plan.position, intent))


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
