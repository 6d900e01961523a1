"""The edges of the proposal formulas, one by one."""

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from kernel.errors import InvalidNumber, InvalidSide, InvalidTheta, KernelError
from kernel.proposals.market import MarketState, P1Proposal
from kernel.proposals.partial_exit import HarvestAction, partial_action
from kernel.proposals.profit_lock import locked_stop
from kernel.proposals.proposal import compute_harvest_proposal
from kernel.proposals.r_net import risk_unit
from kernel.proposals.snapshot import PositionSide, PositionSnapshot
from kernel.proposals.theta import HarvestTheta, LockMode

THETA = HarvestTheta()
CALM = MarketState(sigma=0.01, ts=0.35, p_trend=0.6, p_mr=0.2, p_chop=0.2)
LONG = PositionSnapshot(
    symbol="BTCUSDT",
    side=PositionSide.LONG,
    entry_price=100.0,
    current_price=105.0,
    peak_price=106.0,
    trough_price=99.0,
    age_sec=3600.0,
    unrealized_pnl=5.0,
    current_sl=98.0,
)
SHORT = replace(LONG, side=PositionSide.SHORT, current_price=95.0, current_sl=102.0)


def just_under(value: float) -> float:
    return value - 1e-9


@pytest.mark.parametrize(
    ("r", "action"),
    [
        (just_under(2.0), HarvestAction.NONE),
        (2.0, HarvestAction.PARTIAL_25),
        (just_under(4.0), HarvestAction.PARTIAL_25),
        (4.0, HarvestAction.PARTIAL_50),
        (just_under(6.0), HarvestAction.PARTIAL_50),
        (6.0, HarvestAction.PARTIAL_75),
        (1e6, HarvestAction.PARTIAL_75),
    ],
)
def test_a_partial_level_counts_from_its_r_on(r: float, action: HarvestAction) -> None:
    assert partial_action(r, THETA) is action


def test_targets_are_cumulative_shares_of_the_original_quantity() -> None:
    assert [action.target for action in HarvestAction] == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_the_sample_position_has_r_2_45_and_its_stop_at_100_2() -> None:
    proposal = compute_harvest_proposal(LONG, CALM, P1Proposal(0.02))
    assert proposal.R_net == pytest.approx(2.45)
    assert proposal.new_sl_proposed == pytest.approx(100.2)
    assert proposal.cost_est == pytest.approx(0.1)


@pytest.mark.parametrize(
    "given", [None, P1Proposal(), P1Proposal(0.0), P1Proposal(-0.01)], ids=["no proposal", "none", "0", "negative"]
)
def test_without_a_stop_distance_the_fallback_measures_the_risk(given: P1Proposal | None) -> None:
    assert risk_unit(100.0, given, HarvestTheta(fallback_stop_pct=0.03)) == pytest.approx(3.0)


def test_a_given_stop_distance_measures_the_risk() -> None:
    assert risk_unit(100.0, P1Proposal(0.05), THETA) == 5.0


@pytest.mark.parametrize(("position", "stop"), [(LONG, 100.2), (SHORT, 99.8)])
def test_the_lock_sits_just_past_break_even(position: PositionSnapshot, stop: float) -> None:
    assert locked_stop(position, 1.5, 2.0, THETA) == pytest.approx(stop)


@pytest.mark.parametrize(("position", "stop"), [(LONG, 103.0), (SHORT, 97.0)])
def test_the_r_multiple_lock_sits_lock_r_risk_units_from_the_entry(position: PositionSnapshot, stop: float) -> None:
    assert locked_stop(position, 1.5, 2.0, HarvestTheta(lock_mode=LockMode.R_MULTIPLE)) == stop


def test_nothing_is_locked_under_lock_r() -> None:
    assert locked_stop(LONG, just_under(1.5), 2.0, THETA) is None


@pytest.mark.parametrize("mode", LockMode)
@pytest.mark.parametrize("position", [LONG, SHORT], ids=["long", "short"])
def test_a_stop_already_as_tight_is_left_alone(position: PositionSnapshot, mode: LockMode) -> None:
    theta = HarvestTheta(lock_mode=mode)
    lock = locked_stop(replace(position, current_sl=None), 1.5, 2.0, theta)
    assert lock is not None
    assert locked_stop(replace(position, current_sl=lock), 1.5, 2.0, theta) is None


def test_a_shorts_lock_below_zero_is_no_stop() -> None:
    theta = HarvestTheta(lock_mode=LockMode.R_MULTIPLE)
    assert locked_stop(SHORT, 1.5, 80.0, theta) is None


def test_a_regime_flips_only_when_trend_fades_and_the_rest_takes_over() -> None:
    def flip(p_trend: float, p_mr: float, p_chop: float) -> float:
        market = replace(CALM, p_trend=p_trend, p_mr=p_mr, p_chop=p_chop)
        return compute_harvest_proposal(LONG, market).k_components.regime_flip

    assert flip(0.29, 0.3, 0.3) == 1.0
    assert flip(0.3, 0.3, 0.3) == 0.0
    assert flip(0.29, 0.25, 0.25) == 0.0


def test_an_all_zero_market_state_is_valid_and_calm_but_for_its_trend() -> None:
    proposal = compute_harvest_proposal(LONG, MarketState(0.0, 0.0, 0.0, 0.0, 0.0))
    assert proposal.k_components.ts_drop == 0.3
    assert proposal.k_components.regime_flip == 0.0


def test_k_at_its_threshold_proposes_a_full_close() -> None:
    calm = compute_harvest_proposal(LONG, CALM)
    at_k = compute_harvest_proposal(LONG, CALM, None, HarvestTheta(kill_threshold=calm.kill_score))
    assert at_k.harvest_action is HarvestAction.FULL_CLOSE_PROPOSED
    assert at_k.reason_codes[:1] == ("harvest_partial_25",)


def test_a_component_at_its_reason_limit_is_no_reason() -> None:
    def reasons(**market: float) -> set[str]:
        theta = HarvestTheta(kill_threshold=0.5)
        return set(compute_harvest_proposal(LONG, replace(CALM, **market), None, theta).reason_codes)

    assert "sigma_spike" not in reasons(sigma=0.015)
    assert "sigma_spike" in reasons(sigma=0.0151)
    assert "ts_drop" not in reasons(ts=0.11)
    assert "ts_drop" in reasons(ts=0.09)


def test_an_age_over_half_a_day_is_a_reason_once_k_triggered() -> None:
    def reasons(age_sec: float) -> tuple[str, ...]:
        theta = HarvestTheta(kill_threshold=0.5)
        return compute_harvest_proposal(replace(LONG, age_sec=age_sec), CALM, None, theta).reason_codes

    assert "age_penalty" not in reasons(43_200.0)
    assert "age_penalty" in reasons(43_201.0)


def test_a_proposal_cannot_be_changed() -> None:
    proposal = compute_harvest_proposal(LONG, CALM)
    with pytest.raises(FrozenInstanceError):
        proposal.R_net = 9.0  # type: ignore[misc]  # assigning is what must fail


def test_a_side_given_as_text_becomes_a_side() -> None:
    assert replace(LONG, side="SHORT").side is PositionSide.SHORT  # type: ignore[arg-type]  # as from JSON


@pytest.mark.parametrize("side", ["BUY", "long", "", None])
def test_an_unknown_side_is_refused(side: Any) -> None:
    with pytest.raises(InvalidSide, match="LONG or SHORT"):
        replace(LONG, side=side)


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf"), 1e16, None, "100"])
@pytest.mark.parametrize("name", ["entry_price", "current_price", "peak_price", "trough_price", "qty"])
def test_a_price_or_quantity_that_none_can_have_is_refused(name: str, wrong: Any) -> None:
    with pytest.raises(InvalidNumber, match=name):
        replace(LONG, **{name: wrong})


@pytest.mark.parametrize(
    "change",
    [
        {"age_sec": -1.0},
        {"age_sec": float("nan")},
        {"unrealized_pnl": float("inf")},
        {"unrealized_pnl": None},
        {"current_sl": 0.0},
        {"current_tp": float("nan")},
    ],
)
def test_a_snapshot_value_out_of_range_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidNumber, match=next(iter(change))):
        replace(LONG, **change)


@pytest.mark.parametrize(
    "change", [{"sigma": -0.01}, {"ts": float("nan")}, {"p_trend": 1.1}, {"p_mr": -0.1}, {"p_chop": None}]
)
def test_a_market_state_out_of_range_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidNumber, match=next(iter(change))):
        replace(CALM, **change)


def test_a_probability_a_rounding_error_above_one_is_accepted() -> None:
    assert replace(CALM, p_trend=1.0000000000000002).p_trend > 1


@pytest.mark.parametrize(
    "change", [{"stop_dist_pct": float("nan")}, {"stop_dist_pct": 1e-12}, {"stop_dist_pct": 11.0}, {"proposed_sl": 0.0}]
)
def test_a_risk_proposal_out_of_range_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidNumber, match=next(iter(change))):
        P1Proposal(**change)


@pytest.mark.parametrize(
    "change",
    [
        {"T1_R": 4.0},
        {"T3_R": 3.0},
        {"T1_R": 0.0},
        {"be_plus_pct": 1.0},
        {"be_plus_pct": -0.1},
        {"cost_bps": -1.0},
        {"sigma_ref": 0.0},
        {"softmax_temp": 0.0},
        {"weight_ts_drop": -0.5},
        {"kill_threshold": 1.5},
        {"fallback_stop_pct": 0.0},
        {"u1": float("inf")},
        {"lock_mode": "trailing"},
    ],
)
def test_parameters_that_contradict_themselves_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises((InvalidNumber, InvalidTheta)) as refusal:
        HarvestTheta(**change)
    assert isinstance(refusal.value, KernelError)
