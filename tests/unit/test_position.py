"""A position is a fold over its entries."""

from decimal import Decimal

import pytest
from builders import TERMS, fill, fold, long_100, mark, run

from kernel.positions.entry import Entry, Freeze, Mark, Release
from kernel.positions.holding import RiskTerms
from kernel.positions.position import Position, apply

FLAT = Position("BTCUSDT")


def folded(*entries: Entry) -> Position:
    return fold(FLAT, entries, TERMS)


def test_the_first_fill_opens_a_lifecycle() -> None:
    position = folded(fill("BUY", "2", "100"))
    assert position.position_id == "BTCUSDT:1"
    assert (position.holding.qty, position.holding.avg_entry, position.holding.base_qty) == (2, 100, 2)


def test_an_add_moves_the_entry_to_the_weighted_mean_and_grows_the_base() -> None:
    position = folded(fill("BUY", "1", "100"), fill("BUY", "3", "104"))
    assert (position.holding.qty, position.holding.avg_entry, position.holding.base_qty) == (4, 103, 4)


def test_a_reduction_keeps_entry_and_base_and_realizes_profit() -> None:
    position = folded(fill("BUY", "4", "100"), fill("SELL", "1", "110"))
    assert (position.holding.qty, position.holding.avg_entry, position.holding.base_qty) == (3, 100, 4)
    assert position.holding.realized_pnl == 10


def test_a_short_realizes_profit_when_it_buys_back_lower() -> None:
    assert folded(fill("SELL", "2", "100"), fill("BUY", "2", "90")).holding.realized_pnl == 20


def test_crossing_zero_closes_and_opens_a_new_lifecycle() -> None:
    position = folded(fill("BUY", "1", "100"), fill("SELL", "3", "110"))
    assert position.position_id == "BTCUSDT:2"
    assert (position.holding.qty, position.holding.avg_entry, position.holding.base_qty) == (-2, 110, 2)
    assert (position.banked_pnl, position.holding.realized_pnl) == (10, 0)


def test_the_epoch_survives_closing() -> None:
    position = folded(fill("BUY", "1", "100"), fill("SELL", "1", "110"), fill("BUY", "1", "105"))
    assert position.epoch == 2
    assert position.banked_pnl == 10


def test_a_new_lifecycle_starts_afresh() -> None:
    position, _ = run([long_100(), mark("106"), fill("SELL", "1", "106")])
    assert position.ladder_state.spent == ()
    position, _ = run([fill("BUY", "1", "106")], position=position)
    assert (position.ladder_state.spent, position.mark.peak) == ((), 106)


def test_fees_count_apart_from_the_gross_profit() -> None:
    position = folded(fill("BUY", "1", "100", fee=Decimal("0.1")), fill("SELL", "1", "110", fee=Decimal("-0.02")))
    assert (position.holding.realized_pnl, position.holding.fees) == (10, Decimal("0.08"))


def test_an_entry_applied_before_changes_nothing() -> None:
    entry = fill("BUY", "1", "100")
    position = folded(entry)
    assert apply(position, entry, TERMS) is position


def test_an_older_entry_changes_nothing() -> None:
    old, new = fill("BUY", "1", "100"), fill("BUY", "1", "101")
    position = folded(new)
    assert apply(position, old, TERMS) is position


@pytest.mark.parametrize(
    ("side", "stop", "risk"),
    [
        ("BUY", "95", "5"),
        ("SELL", "105", "5"),
        ("BUY", "105", "2"),  # the winning side
        ("SELL", "95", "2"),
        ("BUY", "100", "2"),  # no distance
        ("BUY", "99.9999", "2"),  # too near to measure a risk
        ("SELL", "96000000", "2"),  # further away than the whole price
    ],
)
def test_risk_per_unit_is_the_distance_to_a_usable_stop_else_the_fallback(side: str, stop: str, risk: str) -> None:
    position = folded(fill(side, "1", "100", stop_loss=Decimal(stop)))
    assert position.holding.risk_per_unit == Decimal(risk)


def test_risk_per_unit_without_a_stop_is_the_published_distance() -> None:
    position = fold(FLAT, [fill("BUY", "1", "100")], RiskTerms(stop_dist_pct=Decimal("0.05")))
    assert position.holding.risk_per_unit == 5


def test_risk_per_unit_is_frozen_at_the_open() -> None:
    position = folded(long_100(), fill("BUY", "1", "120", stop_loss=Decimal(119)))
    assert position.holding.risk_per_unit == 10


def test_the_newest_price_is_the_mark() -> None:
    position = folded(long_100(time_ms=1000), mark("105", time_ms=3000), mark("101", time_ms=2000))
    assert (position.mark.price, position.mark.time_ms, position.mark.peak) == (105, 3000, 105)


def test_a_price_from_the_future_loses_to_the_next_one() -> None:
    first, second = mark("200", source_id="10000-0", time_ms=3_600_000), mark("101", source_id="11000-0")
    position = folded(long_100(source_id="9000-0"), first, second)
    assert (position.mark.price, position.mark.time_ms) == (101, 11_000)


def test_a_price_of_our_own_reading_never_loses_to_an_older_one() -> None:
    position = folded(long_100(source_id="9000-0"), mark("105", source_id="9500-0"))
    assert apply(position, Mark("", 9400, Decimal(101)), TERMS).mark.price == 105


def test_peak_and_trough_follow_the_marks_since_the_open() -> None:
    position = folded(mark("500"), long_100(), mark("120"), mark("80"), mark("101"))
    assert (position.mark.peak, position.mark.trough) == (120, 80)


def test_a_frozen_book_keeps_tracking() -> None:
    position = folded(long_100(), Freeze("", 0, "refused_entry"), fill("SELL", "1", "110"))
    assert (position.frozen, position.holding.qty) == ("refused_entry", 0)


def test_the_first_reason_for_a_freeze_stays_until_the_release() -> None:
    position = folded(Freeze("", 0, "a"), Freeze("", 0, "b"))
    assert position.frozen == "a"
    assert apply(position, Release("", 0), TERMS).frozen == ""


def test_no_digit_is_lost_at_the_ends_of_the_range() -> None:
    big, small = "999999999999999.999999999999", "0.000000000001"
    position = folded(fill("BUY", big, big), fill("SELL", small, small))
    assert position.holding.qty == Decimal(big) - Decimal(small)
    assert str(position.holding.realized_pnl) == "-999.999999999999999999999998"
