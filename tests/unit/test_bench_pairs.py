"""Measuring in turns: the order of the runs, and what is made of their figures."""

import pytest

from bench.pairs import Pairs, in_turns, slope, spread


def test_neither_side_is_always_the_second_to_run() -> None:
    ran: list[str] = []

    def run(name: str) -> float:
        ran.append(name)
        return 1.0

    in_turns(lambda: run("ours"), lambda: run("peer"), 3)
    assert ran == ["ours", "peer", "peer", "ours", "ours", "peer"]


def test_figures_of_one_repetition_stay_side_by_side() -> None:
    ours, peer = iter([10.0, 20.0]), iter([1.0, 2.0])
    assert in_turns(lambda: next(ours), lambda: next(peer), 2) == Pairs((10.0, 20.0), (1.0, 2.0))


def test_a_repetition_that_was_slow_on_both_sides_leaves_the_ratio_alone() -> None:
    assert Pairs((100.0, 10.0, 100.0), (50.0, 5.0, 50.0)).ratio == 2.0


def test_the_ratio_is_the_median_of_the_ratios_and_not_the_ratio_of_the_medians() -> None:
    pairs = Pairs((1.0, 10.0, 100.0), (100.0, 10.0, 2.0))
    assert pairs.ratio == 1.0


def test_the_spread_is_of_the_ratios() -> None:
    assert Pairs((2.0, 3.0, 4.0), (1.0, 1.0, 2.0)).spread == pytest.approx(0.5)


def test_the_spread_of_equal_figures_is_none() -> None:
    assert spread([7.0, 7.0, 7.0]) == 0.0


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_the_slope_is_the_power_with_which_cost_grows(power: float) -> None:
    sizes = [10.0, 100.0, 1_000.0, 50_000.0]
    assert slope(sizes, [3 * size**power for size in sizes]) == pytest.approx(power)
