"""A plan: what a batch publishes or holds back, and the records of it, before anything is written."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from builders import START_MS, fill, guards, long_100, mark, outcome, rules

from harvest_tasks.fills.plan import Delivered, Plan, UnreadableEntry, make_plan, trade_digest
from kernel.positions.entry import Entry, Freeze
from kernel.positions.guards import Guards, Refusal
from kernel.positions.holding import RiskTerms
from kernel.positions.intent import IntentKind
from kernel.positions.position import Position, apply
from kernel.positions.rules import Rules

STOPS = rules(set_be_at_r=Decimal("0.5"))
LIVE = rules(live=True)
BOOK = "BTCUSDT"


def planned(
    *entries: Entry | UnreadableEntry, the_rules: Rules | None = None, the_guards: Guards | None = None, **terms: Any
) -> Plan:
    position = terms.pop("position", Position(BOOK))
    batch = [Delivered(f"{n}-0", entry) for n, entry in enumerate(entries, start=1)]
    earlier = terms.pop("earlier", {})
    return make_plan(position, batch, the_rules or rules(), the_guards or guards(), RiskTerms(**terms), earlier)


def opened(**values: Any) -> Position:
    return apply(Position(BOOK), long_100(**values), RiskTerms())


def test_a_harvest_is_published_with_its_record_its_cause_and_its_suggestion() -> None:
    opening, due = long_100(), mark("105")
    made = planned(opening, due)
    ((intent, cause),) = made.intents
    assert (intent.kind, intent.qty, cause) == (IntentKind.HARVEST, Decimal("0.25"), due.source_id)
    assert made.journal == [
        {
            "decision": "published",
            "book": BOOK,
            "position_id": f"{BOOK}:1",
            "action": "partial:0.5:1",
            "reason": "R=0.50 >= 0.5",
            "intent_id": intent.intent_id,
            "side": "SELL",
            "qty": "0.25",
            "mark": "105",
            "mark_ms": str(due.time_ms),
            "cause": due.source_id,
        }
    ]
    assert [row.intent_id for row in made.history] == [intent.intent_id]
    assert (made.applied, made.duplicate, made.consumed, made.held) == (2, 0, "2-0", {})
    assert made.position.ladder_state.spent == ("0.5",)


def test_a_stop_move_has_its_price_in_the_record_and_is_no_harvest_of_the_history() -> None:
    made = planned(long_100(), mark("104.9"), mark("105"), the_rules=STOPS)
    _, (stop, _) = made.intents
    assert stop.kind is IntentKind.MOVE_SL_BE
    assert made.journal[1]["stop_price"] == "100.2"
    assert made.journal[1]["action"] == "sl_be"
    assert len(made.history) == 1


def test_a_live_harvest_is_history_only_when_it_is_done() -> None:
    made = planned(long_100(), mark("105"), the_rules=LIVE)
    assert len(made.intents) == 1
    assert made.history == []


def test_what_a_guard_holds_back_is_recorded_once_and_stands_until_it_may_go() -> None:
    killed = guards(killed=True)
    opening, due = long_100(), mark("105")
    made = planned(opening, due, mark("105"), the_guards=killed)
    assert made.intents == []
    assert made.journal == [
        {
            "decision": "held",
            "book": BOOK,
            "position_id": f"{BOOK}:1",
            "action": "partial:0.5:1",
            "reason": "killed",
            "mark": "105",
            "mark_ms": str(due.time_ms),
            "cause": due.source_id,
        }
    ]
    assert made.held == {"partial:0.5:1": Refusal.KILLED}
    assert made.position.ladder_state.spent == ()


def test_one_action_that_is_held_back_does_not_hold_back_the_next() -> None:
    made = planned(long_100(), mark("105"), the_rules=STOPS, the_guards=guards(budget=1))
    assert [intent.kind for intent, _ in made.intents] == [IntentKind.HARVEST]
    assert [(r["decision"], r["action"]) for r in made.journal] == [("published", "partial:0.5:1"), ("held", "sl_be")]
    frozen = planned(long_100(), Freeze("", 0, "why"), mark("105"), the_rules=STOPS)
    assert [record["reason"] for record in frozen.journal[1:]] == ["frozen", "frozen"]
    assert set(frozen.held) == {"partial:0.5:1", "sl_be"}


def test_what_stood_before_does_not_stand_once_nothing_is_due() -> None:
    made = planned(long_100(), mark("105"), mark("104"), the_guards=guards(killed=True))
    assert made.held == {}


def test_each_publication_uses_up_the_budget_of_the_rest_of_the_batch() -> None:
    made = planned(long_100(), mark("105"), mark("110"), the_guards=guards(budget=1))
    assert len(made.intents) == 1
    assert made.guards.budget == 0
    assert made.held == {"partial:1:1": Refusal.RATE_LIMITED}


def test_an_empty_batch_looks_again_at_what_was_held_back() -> None:
    held = planned(long_100(), mark("105"), the_guards=guards(killed=True)).position
    again = planned(position=held)
    assert len(again.intents) == 1
    assert (again.consumed, again.applied) == ("", 0)
    assert not again.is_empty
    same = planned(position=held, the_guards=guards(killed=True))
    assert same.is_empty
    assert same.held == {"partial:0.5:1": Refusal.KILLED}


def test_a_batch_decides_once_for_each_entry_and_not_once_more() -> None:
    made = planned(long_100(), the_rules=STOPS)
    assert made.journal == []
    assert made.position == opened(source_id=f"{made.position.applied[0]}-0", time_ms=made.position.holding.opened_ms)


def test_a_duplicate_decides_nothing_and_is_consumed() -> None:
    position = planned(long_100(trade_id="t"), mark("105"), the_guards=guards(killed=True)).position
    again = long_100(trade_id="t")
    made = planned(again, position=position, earlier={"t": trade_digest(again)})
    assert (made.applied, made.duplicate, made.consumed) == (0, 1, "1-0")
    assert (made.intents, made.position) == ([], position)


@pytest.mark.parametrize("earlier", [True, False])
def test_a_trade_id_of_another_content_freezes_and_its_book_publishes_nothing(earlier: bool) -> None:
    first = long_100(trade_id="t")
    known = {"t": trade_digest(first)} if earlier else {}
    before = [] if earlier else [first]
    start = opened() if earlier else Position(BOOK)
    made = planned(*before, fill("BUY", "2", "100", trade_id="t"), mark("105"), position=start, earlier=known)
    assert made.intents == []
    assert [message.reason for message in made.dead_letters] == ["trade_id_reused"]
    assert made.held == {"partial:0.5:1": Refusal.FROZEN}


def test_an_entry_that_is_not_ours_freezes_the_book() -> None:
    made = planned(UnreadableEntry("x"), position=opened())
    assert made.position.frozen == "unreadable_inbox_entry"
    assert (made.applied, made.consumed) == (0, "1-0")


def test_a_new_distance_is_the_risk_of_what_opens_after_it() -> None:
    made = planned(fill("BUY", "1", "100"), stop_dist_pct=Decimal("0.05"))
    assert made.position.holding.risk_per_unit == 5


def test_rules_that_are_others_are_journaled_before_anything_is_decided() -> None:
    own = replace(rules(), overrides="ladder=1:0.5")
    made = planned(long_100(), mark("105"), the_rules=own)
    assert [record["decision"] for record in made.journal] == ["overrides", "published"]
    assert made.position.overrides == own.overrides


def test_rungs_are_armed_again_by_an_end_and_published_again_in_one_batch() -> None:
    live = planned(long_100(), mark("105"), the_rules=LIVE)
    ((intent, _),) = live.intents
    made = planned(outcome(intent.intent_id), position=live.position, the_rules=LIVE)
    ((again, _),) = made.intents
    assert again.action == "partial:0.5:2"
    assert again.intent_id != intent.intent_id


def test_the_arithmetic_is_exact_whatever_the_caller_counts_with() -> None:
    third = fill("BUY", "0.333333333333", "100.000000000001", stop_loss=Decimal(90))
    whole = fill("BUY", "999999999999.999999999999", "100.000000000003")
    made = planned(third, whole)
    assert made.position.holding.qty == Decimal("1000000000000.333333333332")


def test_an_old_price_publishes_nothing() -> None:
    made = planned(long_100(), mark("105"), the_guards=guards(START_MS + 10**9, fresh_ms=30_000))
    assert made.held == {"partial:0.5:1": Refusal.STALE}
