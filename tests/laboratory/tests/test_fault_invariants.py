"""What the fault harness calls a violation: each is seen, and nothing else is."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import builders
import pytest
from laboratory import invariants
from laboratory.invariants import Seen, Sent, Violation

from harvest_tasks.wire import inbox_entry
from harvest_tasks.wire.position import position_fields
from kernel.positions.entry import Entry
from kernel.positions.intent import Intent, IntentKind, intent_id
from kernel.positions.position import Position

BOOK = "BTCUSDT"
LIVE = builders.rules(live=True)


def entry(intent: Intent, ms: int, **changed: Any) -> Sent:
    """As it stands in the stream of suggestions."""
    payload = {
        "position_id": intent.position_id,
        "side": intent.side.value,
        "qty": float(intent.qty),
        "reduce_only": True,
        "reduceOnly": True,
        **changed,
    }
    return Sent(f"{ms}-0", True, {"intent_id": intent.intent_id, "payload": json.dumps(payload)})


def record(intent: Intent, cause: str) -> dict[str, str]:
    stop = {} if intent.stop_price is None else {"stop_price": str(intent.stop_price)}
    about = {"decision": "published", "book": BOOK, "position_id": intent.position_id, "cause": cause}
    return {**about, "action": intent.action, "intent_id": intent.intent_id, **stop}


def seen_after(position: Position, intents: Sequence[Intent], **changed: Any) -> Seen:
    """A server on which all went well: two entries came in, and the second made `intents` due."""
    cause = f"{position.applied[0]}-{position.applied[1]}"
    state = {
        "positions": {BOOK: position_fields(position) | {"version": "2"}},
        "sent": [entry(intent, 1_000 + n) for n, intent in enumerate(intents)],
        "journal": [record(intent, cause) for intent in intents],
        "deadletters": [],
        "counts": {"in": 2, "applied": 2, "intents": len(intents)},
        "inboxes": {BOOK: []},
        "waiting": set(),
        "open": {BOOK},
        "pending": 0,
        "unread": 0,
    }
    return Seen(**{**state, **changed})


@pytest.fixture
def seen() -> Seen:
    position, decisions = builders.run([builders.long_100(), builders.mark("106")], LIVE)
    return seen_after(position, builders.intents(decisions))


def found(seen: Seen, **told: Any) -> set[tuple[str, str]]:
    return {(violation.invariant, violation.kind) for violation in invariants.always(seen, **told)}


def with_position(seen: Seen, **fields: str) -> Seen:
    return replace(seen, positions={BOOK: {**seen.positions[BOOK], **fields}})


def test_all_that_went_well_violates_nothing(seen: Seen) -> None:
    assert seen.sent
    assert invariants.always(seen, per_minute=1) == []
    assert invariants.at_rest(seen) == []
    assert invariants.same_effects(seen, seen) == []
    assert invariants.versions(seen, {BOOK: 2}) == []


def test_more_reserved_than_held(seen: Seen) -> None:
    assert ("I1", "other") in found(with_position(seen, qty="0.2"))


def test_an_intent_that_is_out_twice(seen: Seen) -> None:
    assert found(replace(seen, sent=[*seen.sent, *seen.sent])) >= {("I2", "doubled"), ("I10", "torn")}


def test_an_intent_with_two_contents(seen: Seen) -> None:
    (sent,) = seen.sent
    other = Sent("2000-0", True, {**sent.fields, "payload": sent.fields["payload"].replace("0.25", "0.24")})
    assert ("I12", "other") in found(replace(seen, sent=[sent, other]))


def retried(seen: Seen) -> Seen:
    """The same rung asked for again, under another intent."""
    (first,) = seen.journal
    second = {**first, "action": "partial:0.5:2", "intent_id": intent_id(f"{BOOK}:1", "partial:0.5:2")}
    return replace(seen, journal=[first, second])


def test_a_rung_that_is_asked_for_again_though_nothing_ended(seen: Seen) -> None:
    assert ("I2", "doubled") in found(retried(seen))
    assert ("I2", "doubled") not in found(retried(seen), ended=[seen.sent[0].intent_id])


@pytest.mark.parametrize(("applied", "kind"), [(1, "lost"), (3, "doubled")])
def test_entries_that_are_not_accounted_for(seen: Seen, applied: int, kind: str) -> None:
    assert ("I4", kind) in found(replace(seen, counts={**seen.counts, "applied": applied}))


@pytest.mark.parametrize(
    "changed",
    [
        {"sent": []},
        {"journal": []},
        {"counts": {"in": 2, "applied": 2}},
        {"open": set()},
        {"waiting": {BOOK}},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_half_states(seen: Seen, changed: Mapping[str, Any]) -> None:
    assert ("I10", "torn") in found(replace(seen, **changed))


@pytest.mark.parametrize("fields", [{"spent": ""}, {"spent": "0.5,1"}])
def test_a_position_that_knows_of_other_rungs_than_the_journal(seen: Seen, fields: dict[str, str]) -> None:
    assert ("I10", "torn") in found(with_position(seen, **fields))


def test_a_position_with_another_stop_than_was_published() -> None:
    position, decisions = builders.run(
        [builders.long_100(), builders.mark("106")], builders.rules(set_be_at_r=Decimal("0.5"))
    )
    moved = [intent for intent in builders.intents(decisions) if intent.kind is IntentKind.MOVE_SL_BE]
    assert moved
    right = seen_after(position, builders.intents(decisions))
    assert found(right) == set()
    assert ("I10", "torn") in found(with_position(right, stop="90"))


@pytest.mark.parametrize("changed", [{"qty": 0}, {"reduce_only": False}, {"reduceOnly": False}, {"side": "BUY"}])
def test_an_intent_that_is_no_exit(seen: Seen, changed: dict[str, Any]) -> None:
    position, decisions = builders.run([builders.long_100(), builders.mark("106")], LIVE)
    (intent,) = builders.intents(decisions)
    assert ("I11", "other") in found(seen_after(position, [intent], sent=[entry(intent, 1_000, **changed)]))


def test_decisions_in_another_order_than_the_entries(seen: Seen) -> None:
    later = {**seen.journal[0], "decision": "held", "cause": "1-0"}
    assert ("I5", "out_of_order") in found(replace(seen, journal=[*seen.journal, later]))


def test_an_inbox_in_another_order_than_the_stream(seen: Seen) -> None:
    entries: list[Entry] = [builders.mark("101"), builders.mark("102")]
    packed = [inbox_entry.pack(each) for each in entries]
    counts = {**seen.counts, "in": 4}
    waiting = replace(seen, inboxes={BOOK: packed}, waiting={BOOK}, counts=counts)
    assert found(waiting) == set()
    assert found(replace(waiting, inboxes={BOOK: packed[::-1]})) == {("I5", "out_of_order")}


def test_more_intents_than_the_minute_allows(seen: Seen) -> None:
    sent = [replace(seen.sent[0], stream_id=f"{ms}-0") for ms in (0, 30_000, 59_999)]
    assert ("I3", "other") in found(replace(seen, sent=sent), per_minute=2)
    assert ("I3", "other") not in found(replace(seen, sent=sent), per_minute=3)
    sent[-1] = replace(sent[-1], stream_id="60000-0")
    assert ("I3", "other") not in found(replace(seen, sent=sent), per_minute=2)


@pytest.mark.parametrize(
    "changed", [{"pending": 1}, {"unread": 1}, {"inboxes": {BOOK: ["[]"]}}, {"waiting": {BOOK}}], ids=str
)
def test_what_still_waits(seen: Seen, changed: Mapping[str, Any]) -> None:
    assert [violation.invariant for violation in invariants.at_rest(replace(seen, **changed))] == ["I9"]


def test_a_version_that_does_not_count_the_commits(seen: Seen) -> None:
    (violation,) = invariants.versions(seen, {BOOK: 3})
    assert violation == Violation("I7", "torn", f"{BOOK} has version 2 after 3 commits")


def test_effects_that_differ_from_another_runs(seen: Seen) -> None:
    assert [v.invariant for v in invariants.same_effects(replace(seen, sent=[]), seen)] == ["I13"]
    assert [v.kind for v in invariants.same_effects(seen, replace(seen, sent=[]))] == ["doubled"]
    assert [v.what[:8] for v in invariants.same_effects(with_position(seen, qty="3"), seen)] == ["position"]
    assert invariants.same_effects(with_position(seen, version="9"), seen) == []
