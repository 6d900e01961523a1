"""A hash that is only given what changed holds the whole position."""

from collections.abc import Iterator
from decimal import Decimal

from builders import fill, guards, long_100, look, mark, next_id, outcome, rules

from harvest_tasks.wire.position import changed_fields, position_fields, read_position
from kernel.positions.entry import Entry, Freeze, Funding, Overdue
from kernel.positions.holding import RiskTerms
from kernel.positions.intent import intent_id
from kernel.positions.position import Position, apply

LIVE = rules(live=True, set_be_at_r=Decimal("0.5"))
LADDER = "partial:0.5"


def lived() -> Iterator[Entry]:
    """Harvests that are filled, refused and called overdue, stops, fees and a close."""
    yield long_100(atr=Decimal(1), fee=Decimal("0.1"))
    yield mark("105")
    yield outcome(intent_id("BTCUSDT:1", f"{LADDER}:1"))
    yield mark("106")
    yield fill(
        "SELL", "0.1", "106", intent_id=intent_id("BTCUSDT:1", f"{LADDER}:2"), fee=Decimal("0.2"), fee_asset="BNB"
    )
    yield Overdue("", 1, 10**15)
    yield Funding(next_id(), 1, Decimal(1))
    yield mark("110")
    yield Freeze("", 1, "asked")
    yield fill("BUY", "1", "120")
    yield fill("SELL", "9", "120")


def steps() -> Iterator[tuple[Position, Position]]:
    """The position before and after each entry and what was decided of it."""
    before = Position("BTCUSDT")
    for entry in lived():
        after, _ = look(apply(before, entry, RiskTerms()), LIVE, guards())
        yield before, after
        before = after


def test_what_changed_makes_the_hash_of_one_position_that_of_the_next() -> None:
    for before, after in steps():
        written = position_fields(before) | changed_fields(before, after)
        assert written == position_fields(after)
        assert read_position("BTCUSDT", written) == after


def test_a_harvest_writes_of_the_progress_only_what_it_changed() -> None:
    before, after = next((b, a) for b, a in steps() if a.ladder_state.reservations)
    written = changed_fields(before, after).keys()
    assert {"spent", "firings", "reservations", "unanswered_ms", "stop", "break_even"} <= written
    assert not {"failures", "owed", "atr", "held"} & written
