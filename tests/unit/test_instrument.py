"""What an exchange takes: steps, minimums, and orders that are split at its maximum."""

from decimal import Context, Decimal, localcontext
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kernel.errors import InvalidNumber
from kernel.positions.instrument import Instrument
from kernel.positions.quantities import GRID, exact

BTC = Instrument(Decimal("0.001"), Decimal("0.001"), Decimal(100), Decimal(120), Decimal("0.1"))
COARSE = Context(prec=3)
"""A caller whose arithmetic would round everything."""

steps = st.sampled_from([Decimal(text) for text in ("1e-12", "0.001", "0.003", "0.01", "0.25", "1", "3", "25")])
prices = st.decimals("1e-12", "1e9", places=12)
signs = st.sampled_from([1, -1])


@st.composite
def splits(draw: st.DrawFn, *, dust: bool = True) -> tuple[Instrument, Decimal]:
    """An instrument with a maximum, on its step or not, and a quantity that is a few hundred steps at most."""
    step = draw(steps)
    most = step * draw(st.integers(1, 60)) + draw(finer_than(step))
    qty = step * draw(st.integers(1, 400)) + (draw(finer_than(step)) if dust else 0)
    return Instrument(step, max_qty=most), qty


def finer_than(step: Decimal) -> st.SearchStrategy[Decimal]:
    return st.integers(0, int(step / GRID) - 1).map(lambda n: n * GRID)


@exact
def is_multiple(value: Decimal, step: Decimal) -> bool:
    return value % step == 0


@exact
def total(parts: tuple[Decimal, ...]) -> Decimal:
    return sum(parts, Decimal(0))


# 1. A quantity is rounded down, never up; a stop price towards the market


@given(steps, st.decimals("0", "1e9", places=12))
def test_a_quantity_is_the_largest_multiple_of_the_step_that_is_not_above_it(step: Decimal, qty: Decimal) -> None:
    with localcontext(COARSE):
        floored = Instrument(step).floor(qty)
    assert is_multiple(floored, step)
    assert 0 <= qty - floored < step


@given(steps, prices, signs)
def test_a_stop_is_on_the_tick_and_less_than_one_tick_closer_to_the_market(
    tick: Decimal, price: Decimal, sign: int
) -> None:
    with localcontext(COARSE):
        stop = Instrument(tick=tick).stop_price(price, sign)
    assert is_multiple(stop, tick)
    assert 0 <= (stop - price) * sign < tick


@given(st.decimals("1e-12", "1e9", places=14), signs)
def test_without_a_tick_a_stop_keeps_twelve_decimals(price: Decimal, sign: int) -> None:
    with localcontext(COARSE):
        stop = Instrument().stop_price(price, sign)
    assert is_multiple(stop, GRID)
    assert abs(stop - price) <= GRID / 2


def test_a_stop_that_is_on_the_tick_stays() -> None:
    assert BTC.stop_price(Decimal("60000.10"), 1) == BTC.stop_price(Decimal("60000.1"), -1) == Decimal("60000.1")
    assert BTC.stop_price(Decimal("60000.11"), 1) == Decimal("60000.2")
    assert BTC.stop_price(Decimal("60000.19"), -1) == Decimal("60000.1")


# 2. Parts sum to what was split; none is zero or above the maximum, and they differ by at most one step


@given(splits())
def test_parts_sum_to_the_whole_fit_and_are_nearly_equal(case: tuple[Instrument, Decimal]) -> None:
    instrument, qty = case
    with localcontext(COARSE):
        parts = instrument.parts(qty)
    assert total(parts) == qty
    assert all(0 < part <= instrument.max_qty for part in parts)
    assert max(parts) - min(parts) <= instrument.step


@given(splits())
def test_every_part_but_the_last_is_on_the_step(case: tuple[Instrument, Decimal]) -> None:
    instrument, qty = case
    parts = instrument.parts(qty)
    assert all(is_multiple(part, instrument.step) for part in parts[:-1])
    assert is_multiple(parts[-1], instrument.step) == is_multiple(qty, instrument.step)
    assert list(parts[:-1]) == sorted(parts[:-1], reverse=True)


@given(splits(dust=False))
def test_no_fewer_orders_on_the_step_could_hold_the_quantity(case: tuple[Instrument, Decimal]) -> None:
    instrument, qty = case
    n = len(instrument.parts(qty))
    assert instrument.max_qty is not None
    assert (n - 1) * instrument.floor(instrument.max_qty) < qty


@given(splits(dust=False), st.integers(1, 30))
def test_no_part_is_under_a_minimum_that_fits_into_the_maximum_twice(
    case: tuple[Instrument, Decimal], steps_of_minimum: int
) -> None:
    instrument, qty = case
    minimum = steps_of_minimum * instrument.step
    assert instrument.max_qty is not None
    assume(2 * minimum <= instrument.floor(instrument.max_qty) and qty >= minimum)
    assert min(instrument.parts(qty)) >= minimum


@pytest.mark.parametrize(
    ("step", "most", "qty", "parts"),
    [
        ("1", "10", "10", ["10"]),
        ("1", "10", "11", ["6", "5"]),
        ("1", "10", "20", ["10", "10"]),
        ("1", "10", "21", ["7", "7", "7"]),
        ("1", "10", "23", ["8", "8", "7"]),
        ("3", "4", "12", ["3", "3", "3", "3"]),  # a maximum between two steps: none may be 6
        ("3", "4", "4", ["4"]),  # what is held may be off the step
        ("3", "4", "8", ["3", "3", "2"]),
        ("1", "1", "2.5", ["1", "1", "0.5"]),
        ("0.001", "120", "360.0005", ["90", "90", "90", "90.0005"]),
    ],
)
def test_an_order_above_the_maximum_is_split(step: str, most: str, qty: str, parts: list[str]) -> None:
    instrument = Instrument(Decimal(step), max_qty=Decimal(most))
    assert instrument.parts(Decimal(qty)) == tuple(Decimal(part) for part in parts)


def test_without_a_maximum_nothing_is_split() -> None:
    assert Instrument().parts(Decimal("1e14")) == (Decimal("1e14"),)


def test_the_largest_quantities_there_are_split_exactly() -> None:
    instrument = Instrument(max_qty=Decimal("333333333333333.333333333333"))
    assert instrument.parts(Decimal("999999999999999.999999999999")) == (Decimal("333333333333333.333333333333"),) * 3
    assert len(instrument.parts(Decimal("1e15"))) == 4


# what is accepted


@pytest.mark.parametrize(
    ("qty", "price", "accepted"),
    [
        ("0.002", "50000", True),
        ("0.001", "99999.9", False),  # worth less than 100
        ("0.001", "100000", True),
        ("0.0009", "1000000", False),  # under the least quantity
        ("0", "50000", False),
        ("-1", "50000", False),
    ],
)
def test_an_order_is_accepted_from_its_minimums_on(qty: str, price: str, accepted: bool) -> None:
    assert BTC.accepts(Decimal(qty), Decimal(price)) is accepted


def test_without_minimums_everything_above_zero_is_accepted() -> None:
    assert Instrument().accepts(GRID, GRID)
    assert not Instrument().accepts(Decimal(0), Decimal(100))


def test_the_value_of_an_order_is_never_rounded() -> None:
    with localcontext(COARSE):
        assert not Instrument(min_notional=Decimal(100)).accepts(Decimal("0.999999999999"), Decimal(100))
        assert Instrument(min_notional=Decimal("100.1")).accepts(Decimal(1), Decimal("100.1"))


@pytest.mark.parametrize(
    "wrong",
    [{"step": Decimal(0)}, {"step": Decimal(-1)}, {"tick": Decimal(0)}, {"step": Decimal(2), "max_qty": Decimal(1)}],
)
def test_an_instrument_that_takes_no_quantity_or_price_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidNumber):
        Instrument(**wrong)
