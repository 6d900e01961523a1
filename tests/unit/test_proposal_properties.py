"""What always holds of a proposal. Numbers in brackets are those of the kernel's docstrings."""

from dataclasses import replace
from math import isclose, isfinite

from hypothesis import assume, given
from hypothesis import strategies as st

from kernel.proposals.kill_score import KillComponents, kill_score
from kernel.proposals.market import MarketState, P1Proposal
from kernel.proposals.partial_exit import HarvestAction, partial_action, tranche_weights
from kernel.proposals.profit_lock import locked_stop
from kernel.proposals.proposal import ReasonCode, compute_harvest_proposal
from kernel.proposals.r_net import cost_estimate, r_net, risk_unit
from kernel.proposals.snapshot import PositionSide, PositionSnapshot
from kernel.proposals.theta import HarvestTheta, LockMode

prices = st.floats(1e-6, 1e6)
unit = st.floats(0, 1)
weights = st.floats(0, 3)
r_values = st.floats(-100, 100)
thetas = st.builds(HarvestTheta, lock_mode=st.sampled_from(LockMode), lock_R=st.floats(0.1, 5))
components = st.builds(KillComponents, st.sampled_from([0.0, 1.0]), st.floats(0, 2), st.floats(0, 0.5), unit)
markets = st.builds(MarketState, st.floats(0, 0.1), st.floats(-1, 1), unit, unit, unit)
risk_proposals = st.none() | st.builds(P1Proposal, st.none() | st.floats(0.001, 0.5))


@st.composite
def snapshots(draw: st.DrawFn) -> PositionSnapshot:
    entry = draw(prices)
    side = draw(st.sampled_from(PositionSide))
    current = entry * draw(st.floats(0.5, 1.5))
    qty = draw(st.floats(1e-3, 1e3))
    return PositionSnapshot(
        symbol="BTCUSDT",
        side=side,
        entry_price=entry,
        current_price=current,
        peak_price=max(entry, current),
        trough_price=min(entry, current),
        age_sec=draw(st.floats(0, 200_000)),
        unrealized_pnl=side.sign * qty * (current - entry),
        current_sl=draw(st.none() | st.floats(entry * 0.5, entry * 1.5)),
        qty=qty,
    )


def mirrored(position: PositionSnapshot) -> PositionSnapshot:
    """The other side's position, with every price reflected at the entry."""
    entry, stop = position.entry_price, position.current_sl
    return replace(
        position,
        side=PositionSide.SHORT if position.side is PositionSide.LONG else PositionSide.LONG,
        current_price=2 * entry - position.current_price,
        peak_price=2 * entry - position.trough_price,
        trough_price=2 * entry - position.peak_price,
        current_sl=None if stop is None else 2 * entry - stop,
    )


@given(snapshots(), markets, risk_proposals, st.floats(1e-3, 1e3))
def test_r_does_not_depend_on_the_size_of_the_position(
    position: PositionSnapshot, market: MarketState, risk: P1Proposal | None, factor: float
) -> None:  # r_multiple 1
    scaled = replace(position, qty=position.qty * factor, unrealized_pnl=position.unrealized_pnl * factor)
    ours = compute_harvest_proposal(position, market, risk).R_net
    assert isclose(ours, compute_harvest_proposal(scaled, market, risk).R_net, rel_tol=1e-9, abs_tol=1e-9)


@given(snapshots(), markets, risk_proposals, thetas)
def test_a_short_mirrors_a_long(
    position: PositionSnapshot, market: MarketState, risk: P1Proposal | None, theta: HarvestTheta
) -> None:  # r_multiple 2, profit_lock 3
    lock = compute_harvest_proposal(replace(position, current_sl=None), market, risk, theta).new_sl_proposed
    at_the_stop = lock is not None and isclose(lock, position.current_sl or 0.0, rel_tol=1e-9)
    assume(not at_the_stop)  # a reflected price may be one ulp off, on the other side of its stop
    one = compute_harvest_proposal(position, market, risk, theta)
    other = compute_harvest_proposal(mirrored(position), market, risk, theta)
    assert (one.harvest_action, one.R_net, one.kill_score) == (
        other.harvest_action,
        other.R_net,
        other.kill_score,
    )
    if lock is not None and lock < 2 * position.entry_price:  # above that the mirror's stop would be below 0
        assert one.reason_codes == other.reason_codes
    if one.new_sl_proposed is not None and other.new_sl_proposed is not None:
        assert isclose(one.new_sl_proposed + other.new_sl_proposed, 2 * position.entry_price, rel_tol=1e-9)


@given(snapshots(), r_values, st.floats(0.001, 0.5), thetas)
def test_a_stop_only_tightens(
    position: PositionSnapshot, r: float, stop_dist: float, theta: HarvestTheta
) -> None:  # profit_lock 1 and 2
    stop = locked_stop(position, r, position.entry_price * stop_dist, theta)
    if stop is None:
        return
    assert r >= theta.lock_R
    assert stop > 0
    if position.current_sl is not None:
        assert (stop - position.current_sl) * position.side.sign > 0


@given(r_values, r_values)
def test_a_higher_r_never_gives_a_smaller_partial(one: float, other: float) -> None:  # partial_exit 1
    low, high = sorted((one, other))
    theta = HarvestTheta()
    assert partial_action(low, theta).target <= partial_action(high, theta).target


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(-50, 50), st.floats(1e-6, 100))
def test_tranche_weights_sum_to_one(u1: float, u2: float, u3: float, temperature: float) -> None:
    found = tranche_weights(u1, u2, u3, temperature)  # partial_exit 3
    assert isclose(sum(found), 1.0, rel_tol=1e-12)
    assert all(weight >= 0 for weight in found)


@given(components)
def test_k_stays_between_calm_and_its_ceiling(found: KillComponents) -> None:  # kill_score 1 and 2
    assert 0.5 <= kill_score(found, HarvestTheta()) <= 0.93


@given(components, components, weights, weights, weights, weights)
def test_k_never_falls_when_a_component_grows(
    one: KillComponents, other: KillComponents, w1: float, w2: float, w3: float, w4: float
) -> None:  # kill_score 3
    theta = HarvestTheta(weight_regime_flip=w1, weight_sigma_spike=w2, weight_ts_drop=w3, weight_age_penalty=w4)
    for name in ("regime_flip", "sigma_spike", "ts_drop", "age_penalty"):
        raised = replace(one, **{name: max(getattr(one, name), getattr(other, name))})
        assert kill_score(one, theta) <= kill_score(raised, theta)


@given(snapshots(), markets, risk_proposals, thetas)
def test_components_stay_in_their_ranges(
    position: PositionSnapshot, market: MarketState, risk: P1Proposal | None, theta: HarvestTheta
) -> None:  # kill_score 4
    found = compute_harvest_proposal(position, market, risk, theta).k_components
    assert found.regime_flip in (0.0, 1.0)
    assert 0 <= found.sigma_spike <= 2
    assert 0 <= found.ts_drop <= 0.5
    assert 0 <= found.age_penalty <= 1


@given(snapshots(), markets, risk_proposals, thetas)
def test_reason_codes_keep_their_order_and_explain_the_action(
    position: PositionSnapshot, market: MarketState, risk: P1Proposal | None, theta: HarvestTheta
) -> None:  # proposal 2 and 3
    proposal = compute_harvest_proposal(position, market, risk, theta)
    codes = proposal.reason_codes
    assert list(codes) == sorted(codes, key=list(ReasonCode).index)
    killed = ReasonCode.KILL_SCORE_TRIGGERED in codes
    assert killed == (proposal.kill_score >= theta.kill_threshold)
    assert killed == (proposal.harvest_action is HarvestAction.FULL_CLOSE_PROPOSED)
    assert (ReasonCode.PROFIT_LOCK in codes) == (proposal.new_sl_proposed is not None)
    if not killed:
        assert set(codes) <= set(list(ReasonCode)[: list(ReasonCode).index(ReasonCode.KILL_SCORE_TRIGGERED)])


@given(snapshots(), markets, risk_proposals, thetas)
def test_the_same_inputs_give_the_same_proposal(
    position: PositionSnapshot, market: MarketState, risk: P1Proposal | None, theta: HarvestTheta
) -> None:  # proposal 1
    assert compute_harvest_proposal(position, market, risk, theta) == compute_harvest_proposal(
        position, market, risk, theta
    )


@given(
    st.floats(1e-12, 1e15),
    st.floats(-1e30, 1e30),
    st.floats(1e-12, 1e15),
    st.floats(allow_nan=False, min_value=1e-9, max_value=10),
)
def test_no_accepted_input_overflows(entry: float, pnl: float, qty: float, stop_dist: float) -> None:
    theta = HarvestTheta()
    position = PositionSnapshot("X1", PositionSide.LONG, entry, entry, entry, entry, 0.0, pnl, qty=qty)
    risk = risk_unit(entry, P1Proposal(stop_dist), theta)
    assert isfinite(r_net(position, cost_estimate(entry, theta), risk))
