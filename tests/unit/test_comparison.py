"""When a tracked position and the exchange's record of it differ; the numbers are those of `comparison`."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvest_tasks.reconciling.comparison import Agreement, Comparison, Difference, DifferenceKind, NotReported, compare
from harvest_tasks.wire.exchange_position import (
    ExchangeFlat,
    ExchangePosition,
    ExchangeSnapshot,
    OtherLegOnly,
    UnreadableSnapshot,
)
from kernel.positions.holding import Holding
from kernel.positions.position import Position

BOOK = "BTCUSDT"
TOLERANCE = Decimal("0.001")

quantities = st.decimals(-(10**14), 10**14, places=12)
tolerances = st.decimals(0, 1, places=6)


def position(qty: str | Decimal) -> Position:
    return Position(BOOK, holding=Holding(qty=Decimal(qty), avg_entry=Decimal(100)))


def on_record(qty: str | Decimal) -> ExchangePosition:
    qty = Decimal(qty)
    return ExchangeSnapshot(BOOK, qty, Decimal(100)) if qty else ExchangeFlat(BOOK)


def found(tracked: str, read: ExchangePosition | None, *, was_seen: bool = False) -> Comparison:
    return compare(position(tracked), read, TOLERANCE, was_reported=was_seen)


@pytest.mark.parametrize(
    ("tracked", "exchange", "kind"),
    [
        ("1", "1", None),
        ("-2.5", "-2.5", None),
        ("0", "0", None),
        ("1", "1.001", None),
        ("1000", "1001", None),
        ("1000", "1001.002", DifferenceKind.QUANTITY),
        ("-1000", "-998.9", DifferenceKind.QUANTITY),
        ("2", "1", DifferenceKind.QUANTITY),
        ("1", "0", DifferenceKind.FLAT),
        ("-0.000000000001", "0", DifferenceKind.FLAT),
        ("0", "-3", DifferenceKind.OPEN),
        ("1", "-1", DifferenceKind.SIDE),
        ("-0.000000000001", "0.000000000001", DifferenceKind.SIDE),
    ],
)
def test_what_differs_and_how(tracked: str, exchange: str, kind: DifferenceKind | None) -> None:
    expected: Comparison = Agreement(BOOK, Decimal(tracked), Decimal(exchange))
    if kind is not None:
        expected = Difference(BOOK, Decimal(tracked), Decimal(exchange), kind)
    assert found(tracked, on_record(exchange)) == expected


def test_what_was_missed_is_exact() -> None:
    difference = Difference(BOOK, Decimal("100000000000000.000000000001"), Decimal("-3"), DifferenceKind.SIDE)
    assert difference.excess == Decimal("100000000000003.000000000001")


def test_an_open_book_without_a_record_is_unknown() -> None:
    assert found("1", None) == NotReported(BOOK, Decimal(1))


def test_an_open_book_whose_record_is_gone_was_closed() -> None:
    assert found("1", None, was_seen=True) == Difference(BOOK, Decimal(1), Decimal(0), DifferenceKind.FLAT)


@pytest.mark.parametrize("was_seen", [False, True])
def test_a_flat_book_needs_no_record(was_seen: bool) -> None:
    assert found("0", None, was_seen=was_seen) == Agreement(BOOK, Decimal(0), Decimal(0))


@pytest.mark.parametrize("was_seen", [False, True])
def test_the_other_legs_record_says_nothing(was_seen: bool) -> None:
    assert found("1", OtherLegOnly(BOOK), was_seen=was_seen) == NotReported(BOOK, Decimal(1))
    assert found("0", OtherLegOnly(BOOK), was_seen=was_seen) == Agreement(BOOK, Decimal(0), Decimal(0))


def test_an_old_record_of_no_position_does_not_speak_of_one_that_opened_since() -> None:
    assert found("1", ExchangeFlat(BOOK, "stale")) == UnreadableSnapshot(BOOK, "stale")
    assert found("0", ExchangeFlat(BOOK, "stale")) == Agreement(BOOK, Decimal(0), Decimal(0))


@pytest.mark.parametrize("tracked", ["0", "1"])
def test_an_unreadable_record_is_compared_with_nothing(tracked: str) -> None:
    assert found(tracked, UnreadableSnapshot(BOOK, "no side"), was_seen=True) == UnreadableSnapshot(BOOK, "no side")


@given(quantities, quantities, tolerances)
def test_1_two_quantities_differ_beyond_the_tolerance_of_the_larger_or_on_two_sides(
    tracked: Decimal, exchange: Decimal, tolerance: Decimal
) -> None:
    verdict = compare(position(tracked), on_record(exchange), tolerance, was_reported=False)
    apart, larger = abs(tracked - exchange), max(abs(tracked), abs(exchange))
    differs = apart > tolerance * larger or (tracked > 0 > exchange) or (exchange > 0 > tracked)
    assert isinstance(verdict, Difference) == differs


@given(quantities, quantities, tolerances)
def test_1_who_is_asked_first_does_not_matter(one: Decimal, other: Decimal, tolerance: Decimal) -> None:
    here = compare(position(one), on_record(other), tolerance, was_reported=False)
    there = compare(position(other), on_record(one), tolerance, was_reported=False)
    assert type(here) is type(there)


@given(
    quantities, st.sampled_from([UnreadableSnapshot(BOOK, "?"), OtherLegOnly(BOOK), ExchangeFlat(BOOK, "stale"), None])
)
def test_2_nothing_differs_from_what_is_not_known(tracked: Decimal, read: ExchangePosition | None) -> None:
    assert not isinstance(compare(position(tracked), read, TOLERANCE, was_reported=False), Difference)


def test_only_quantities_are_compared() -> None:
    held = position("1")._replace(frozen="reason", banked_pnl=Decimal(7))
    assert compare(
        held, ExchangeSnapshot(BOOK, Decimal(1), Decimal(55), Decimal(50)), TOLERANCE, was_reported=False
    ) == Agreement(BOOK, Decimal(1), Decimal(1))
