"""Corner cases of the kernel that the other tests do not reach: each one is a mutant that once went unnoticed."""

from dataclasses import replace
from decimal import Decimal, localcontext
from hashlib import sha256
from typing import Any

import builders
import pytest
from builders import START_MS, fill, guards, ladder, long_100, look, mark, outcome, rules, run, short_100

from kernel.errors import InvalidLadder, InvalidNumber, InvalidTheta
from kernel.positions.decision import Decision, decide
from kernel.positions.entry import Adopt, Mark, Side
from kernel.positions.guards import Refusal
from kernel.positions.harvest import DueHarvest, due_harvest
from kernel.positions.holding import Holding, Origin, RiskTerms, added, adopted, charged, reduced
from kernel.positions.instrument import Instrument
from kernel.positions.intent import Intent, IntentKind, intent_id, reason_text
from kernel.positions.ladder import Basis, Ladder, Rung
from kernel.positions.ladder_state import Claim, LadderState, Reservation
from kernel.positions.mark import MarkState
from kernel.positions.position import Position, apply
from kernel.positions.quantities import EXACT, exact, plain
from kernel.positions.r_multiple import price_at, r_multiple, shown_r
from kernel.proposals import bounds
from kernel.proposals.kill_score import kill_components
from kernel.proposals.market import MarketState
from kernel.proposals.profit_lock import locked_stop
from kernel.proposals.proposal import ReasonCode, _kill_reasons
from kernel.proposals.snapshot import PositionSide, PositionSnapshot
from kernel.proposals.theta import HarvestTheta, LockMode

BOOK = "BTCUSDT"
FLAT = Position(BOOK)
STOPS = rules(set_be_at_r=Decimal("0.5"))
TWO, HUNDRED, THREE, TEN, FIVE, ONE = map(Decimal, (2, 100, 3, 10, 5, 1))
HOLDING = Holding(TWO, HUNDRED, THREE, TEN, FIVE, ONE, 7, Decimal(4), (("BNB", Decimal(1)),), Origin.ADOPTED)
"""A long with something in each field."""


def adopt(qty: str, *, seen: str = "0", entry: str = "100", stop: str | None = None) -> Adopt:
    return Adopt("", 42, Decimal(seen), Decimal(qty), Decimal(entry), None if stop is None else Decimal(stop))


def test_a_price_is_stale_from_the_limit_on() -> None:
    now = guards(START_MS, fresh_ms=30_000)
    assert now.is_fresh(START_MS - 29_999)
    assert not now.is_fresh(START_MS - 30_000)
    assert now.is_fresh(START_MS + 2_000)
    assert not now.is_fresh(START_MS + 2_001)


def test_a_position_without_a_price_decides_nothing() -> None:
    held = apply(FLAT, adopt("1"), RiskTerms())
    assert held.is_open
    assert held.mark is None
    assert look(held, rules(), guards()) == (held, [])
    assert r_multiple(held, rules()) == 0


def test_a_flat_book_with_a_price_decides_nothing() -> None:
    position, made = run([mark("100"), mark("200")], STOPS)
    assert made == []
    assert r_multiple(position, rules()) == 0


def test_a_stop_moves_though_no_rung_is_due() -> None:
    _, made = run([long_100(), mark("103.5")], rules(set_be_at_r=Decimal("0.3")))
    assert [decision.action for decision in made] == ["sl_be"]


def test_a_decision_names_its_lifecycle() -> None:
    _, made = run([long_100(), mark("105"), fill("SELL", "1", "105"), short_100(), mark("95")])
    assert [decision.position_id for decision in made] == ["BTCUSDT:1", "BTCUSDT:2"]


def test_a_harvest_that_is_not_possible_has_no_intents() -> None:
    small = rules(instrument=Instrument(min_qty=Decimal(9)))
    position, (made,) = run([long_100(), mark("105")], small)
    assert made == Decision("BTCUSDT:1", "partial:0.5:1", (), Refusal.BELOW_MINIMUM)
    assert position.ladder_state.held == (("partial:0.5:1", "below_minimum"),)


def test_every_field_of_a_harvest_intent() -> None:
    leg = Position("BTCUSDT:SHORT")
    position, made = run([short_100(), mark("94.9")], position=leg)
    (intent,) = builders.intents(made)
    name = sha256(b"BTCUSDT:SHORT:1|partial:0.5:1").hexdigest()[:32]
    assert intent == Intent(
        intent_id=f"hv-{name}",
        position_id="BTCUSDT:SHORT:1",
        kind=IntentKind.HARVEST,
        action="partial:0.5:1",
        book="BTCUSDT:SHORT",
        side=Side.BUY,
        qty=Decimal("0.25"),
        rungs=("0.5",),
        reason="R=0.51 >= 0.5",
        mark=Decimal("94.9"),
        time_ms=position.mark.time_ms,
        entry_price=Decimal(100),
        unrealized_pnl=Decimal("5.1"),
    )
    assert (intent.symbol, intent.position_side) == ("BTCUSDT", "SHORT")
    assert (position.symbol, position.position_side, position.leg) == ("BTCUSDT", "SHORT", -1)


def test_parts_of_a_harvest_are_named_one_after_the_other() -> None:
    parts = rules(instrument=Instrument(step=Decimal("0.05"), max_qty=Decimal("0.1")), live=True)
    position, made = run([long_100(), mark("105")], parts)
    assert [i.action for i in builders.intents(made)] == [f"partial:0.5:1:{k}of3" for k in (1, 2, 3)]
    assert [r.qty for r in position.ladder_state.reservations] == [Decimal(q) for q in ("0.1", "0.1", "0.05")]
    assert len({i.intent_id for i in builders.intents(made)}) == 3


def test_what_is_above_the_most_that_one_harvest_takes_is_carried() -> None:
    most = rules(instrument=Instrument(step=Decimal("0.01"), max_qty=Decimal("0.05")), max_parts=2)
    position, made = run([long_100(), mark("105")], most)
    assert sum(i.qty for i in builders.intents(made)) == Decimal("0.1")
    assert position.ladder_state.carry == Decimal("0.15")


def test_a_one_way_book_has_neither_leg() -> None:
    intent = builders.intents(run([long_100(), mark("105")])[1])[0]
    assert (intent.symbol, intent.position_side) == (BOOK, "BOTH")
    assert (FLAT.symbol, FLAT.position_side, FLAT.leg) == (BOOK, "BOTH", 0)
    assert Position("LONG").leg == 0
    odd = Position("A:B:LONG"), replace(intent, book="A:B:LONG")
    assert {each.symbol for each in odd} == {"A"}
    assert {each.position_side for each in odd} == {"B:LONG"}
    assert odd[0].leg == 0


def test_every_field_of_a_move_to_break_even() -> None:
    position, made = run([long_100(), mark("105.19")], STOPS)
    _, stop = builders.intents(made)
    assert stop == Intent(
        intent_id=intent_id("BTCUSDT:1", "sl_be"),
        position_id="BTCUSDT:1",
        kind=IntentKind.MOVE_SL_BE,
        action="sl_be",
        book=BOOK,
        side=Side.SELL,
        qty=Decimal(1),
        rungs=(),
        reason="R=0.51 >= 0.5",
        mark=Decimal("105.19"),
        time_ms=position.mark.time_ms,
        entry_price=Decimal(100),
        unrealized_pnl=Decimal("5.19"),
        stop_price=Decimal("100.2"),
    )


def test_trailing_and_resized_stops_have_a_reason() -> None:
    position, made = run([short_100(atr=Decimal(1)), mark("94"), mark("93")], STOPS)
    trail = builders.intents(made)[-1]
    assert (trail.kind, trail.action, trail.reason) == (IntentKind.TRAIL_UPDATE, "trail:95", "2 behind 93")
    assert (trail.side, trail.qty, trail.stop_price) == (Side.BUY, 1, 95)
    _, made = run([fill("SELL", "1", "93")], STOPS, position=position)
    (resized,) = builders.intents(made)
    assert (resized.kind, resized.reason) == (IntentKind.TRAIL_UPDATE, "for 2, it was for 1")
    assert (resized.qty, resized.stop_price, resized.side) == (2, 95, Side.BUY)


def test_an_id_is_thirty_five_characters() -> None:
    assert len(intent_id(BOOK, "a")) == 35
    assert intent_id(BOOK, "a").startswith("hv-")


def test_r_is_cut_and_never_rounded_up_in_any_decimal_context() -> None:
    assert reason_text(Decimal("0.999"), "0.5") == "R=0.99 >= 0.5"
    assert reason_text(Decimal("-0.999"), "0.5") == "R=-0.99 >= 0.5"
    assert reason_text(Decimal("1.23456"), "0.1234") == "R=1.2345 >= 0.1234"
    with localcontext(prec=3):
        assert reason_text(Decimal("12345.678"), "0.5") == "R=12345.67 >= 0.5"


def test_the_opposite_of_a_side() -> None:
    assert (Side.BUY.opposite, Side.SELL.opposite) == (Side.SELL, Side.BUY)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        *(
            ("0", "0"),
            ("-0", "0"),
            ("0.00", "0"),
            ("-0.00", "0"),
            ("100", "100"),
            ("1E+3", "1000"),
            ("1e-7", "0.0000001"),
        ),
        *(("1.50", "1.5"), ("10.0", "10"), ("0.10", "0.1"), ("-2.500", "-2.5"), ("1e400", "1" + "0" * 400)),
    ],
)
def test_plain_text_of_a_decimal(text: str, shown: str) -> None:
    assert plain(Decimal(text)) == shown


def test_exact_arithmetic_takes_and_gives_what_the_function_does() -> None:
    @exact
    def third(one: Decimal, *, of: Decimal) -> Decimal:
        """Of something."""
        return one / of

    with localcontext(prec=3):
        assert third(Decimal(1), of=Decimal(3)) == EXACT.divide(Decimal(1), Decimal(3))
        assert Decimal(1) / 3 == Decimal("0.333")
    assert (third.__name__, third.__doc__) == ("third", "Of something.")


def test_adding_and_reducing_keep_what_they_do_not_touch() -> None:
    more = added(HOLDING, Decimal(2), Decimal(104))
    assert more == HOLDING._replace(qty=Decimal(4), avg_entry=Decimal(102), base_qty=Decimal(5))
    less = reduced(HOLDING, Decimal("0.5"), Decimal(110))
    assert less == HOLDING._replace(qty=Decimal("1.5"), realized_pnl=Decimal(10))


def test_a_fee_touches_nothing_else() -> None:
    assert charged(HOLDING, Decimal("0.25"), None) == HOLDING._replace(fees=HOLDING.fees + Decimal("0.25"))
    assert charged(HOLDING, Decimal("0.25"), "BNB") == HOLDING._replace(other_fees=(("BNB", Decimal("1.25")),))


def test_a_flat_holding_has_sign_zero() -> None:
    assert [Holding(Decimal(q)).sign for q in (3, 0, -3)] == [1, 0, -1]


def test_what_is_adopted_takes_its_risk_from_a_stop_on_its_losing_side() -> None:
    terms = RiskTerms(fallback_stop_pct=Decimal("0.02"))
    for qty, stop, risk in (("0.5", "95", 5), ("0.5", "105", 2), ("-0.5", "105", 5), ("-0.5", "95", 2), ("3", None, 2)):
        held = adopted(adopt(qty, stop=stop), terms)
        size = abs(Decimal(qty))
        assert held == Holding(Decimal(qty), Decimal(100), size, Decimal(risk), opened_ms=42, origin=Origin.ADOPTED), (
            qty,
            stop,
        )


def test_a_position_that_is_adopted_keeps_its_price_and_a_usable_stop() -> None:
    seen = apply(FLAT, Mark("5-0", 5, Decimal(99)), RiskTerms())
    for qty, stop, kept in (("0.5", "95", Decimal(95)), ("0.5", "105", None), ("-0.5", "105", Decimal(105))):
        held = apply(seen, adopt(qty, stop=stop), RiskTerms())
        assert (held.epoch, held.ladder_state) == (1, LadderState(stop=kept))
        assert held.mark == MarkState(Decimal(99), 5, Decimal(99), Decimal(99))
    other = apply(apply(seen, adopt("1"), RiskTerms()), adopt("-1", seen="1", stop="105"), RiskTerms())
    assert (other.epoch, other.holding.qty, other.ladder_state.stop) == (2, -1, 105)


def test_adopting_the_same_or_an_outdated_position_changes_nothing() -> None:
    held = apply(FLAT, adopt("2"), RiskTerms())
    assert apply(held, adopt("2", seen="2"), RiskTerms()) == held
    assert apply(held, adopt("3", seen="1"), RiskTerms()) == held
    dearer = apply(held, adopt("2", seen="2", entry="101"), RiskTerms())
    assert dearer.holding.avg_entry == 101
    assert (dearer.epoch, dearer.holding.base_qty) == (1, 2)


def test_less_of_a_position_cuts_what_is_reserved() -> None:
    position, _ = run([long_100(), mark("105")], rules(live=True))
    assert position.ladder_state.reserved == Decimal("0.25")
    less = apply(position, adopt("0.1", seen="1"), RiskTerms())
    assert less.ladder_state.reserved == Decimal("0.1")
    assert less.holding.base_qty == 1
    none = apply(position, adopt("0", seen="1"), RiskTerms())
    assert (none.ladder_state, none.epoch, none.holding.qty) == (LadderState(), 1, 0)


def test_a_stop_distance_of_zero_counts_as_not_given() -> None:
    for stated in (None, Decimal(0), Decimal(-1)):
        assert RiskTerms(stated, Decimal("0.02")).per_unit(Decimal(100)) == 2


def test_the_price_of_an_r_includes_the_costs() -> None:
    costly = rules(cost_bps=Decimal(10))
    held = Holding(Decimal(2), Decimal(100), Decimal(2), Decimal(10))
    assert price_at(held, costly, Decimal("0.5")) == Decimal("105.1")
    assert price_at(held._replace(qty=Decimal(-2)), costly, Decimal("0.5")) == Decimal("94.9")
    position = FLAT._replace(holding=held, mark=MarkState(Decimal("105.1"), 1, Decimal(1), Decimal(1)))
    assert r_multiple(position, costly) == Decimal("0.5")


def test_a_price_just_within_the_tolerance_is_not_from_the_future() -> None:
    seen = MarkState(Decimal(100), 10_000, Decimal(100), Decimal(100))
    assert seen.after(Decimal(90), 9_000, 8_000) == seen  # what is there is 2,000 ms ahead: it stays
    assert seen.after(Decimal(90), 9_000, 7_999).price == 90
    near, far = seen.after(Decimal(110), 12_000, 10_000), seen.after(Decimal(110), 12_001, 10_000)
    assert (near.peak, far.peak, far.price) == (110, 100, 110)


def test_a_reservation_counts_its_fills() -> None:
    placed = Reservation("a", Decimal(3), (), 1)
    once = placed.after(Decimal(2), Decimal(10), Decimal(4)).after(Decimal("0.5"), Decimal(20), Decimal(3))
    assert (once.qty, once.filled, once.value, once.pnl) == (Decimal("0.5"), Decimal("2.5"), 30, 7)
    assert once.after(Decimal(9), Decimal(1), Decimal(0)).qty == 0


def test_a_part_of_a_fill_realizes_its_own_profit_only() -> None:
    position, made = run([long_100(), mark("105")], rules(live=True))
    (intent,) = builders.intents(made)
    position, _ = run(
        [fill("SELL", "0.1", "106"), fill("SELL", "0.1", "106", intent_id=intent.intent_id)], position=position
    )
    (left,) = position.ladder_state.reservations
    assert (left.pnl, left.value, left.filled) == (Decimal("0.6"), Decimal("10.6"), Decimal("0.1"))


def test_nothing_reserved_is_a_decimal() -> None:
    assert isinstance(LadderState().reserved, Decimal)


def released(state: LadderState, *ids: str) -> tuple[LadderState, list[tuple[str, ...]]]:
    given_up = []
    for name in ids:
        state, last_attempts = state.released(name)
        given_up.append(last_attempts)
    return state, given_up


def test_the_third_failure_gives_a_rung_up_once_and_for_all_its_parts() -> None:
    claims = (Claim("0.5", 3, Decimal(1)), Claim("1", 1, Decimal(1)))
    placed = tuple(Reservation(name, Decimal(1), claims, 1) for name in ("a", "b"))
    state = LadderState(spent=("0.5", "1"), failures=(("0.5", 2),), reservations=placed)
    after, given_up = released(state, "a", "b", "c")
    assert given_up == [("0.5",), (), ()]
    assert after.spent == ("0.5",)
    assert after.failures == (("0.5", 3), ("1", 1))
    assert after.owed == (("1", Decimal(2)),)
    assert after.reservations == ()


def test_reservations_that_fit_exactly_are_not_cut() -> None:
    placed = tuple(Reservation(name, Decimal(1), (), 1) for name in ("a", "b"))
    state = LadderState(reservations=placed)
    assert state.capped(Decimal(2)) is state
    assert state.capped(Decimal(1)).reservations == placed[:1]
    assert [r.qty for r in state.capped(Decimal("1.5")).reservations] == [1, Decimal("0.5")]
    assert state.capped(Decimal(0)).reservations == ()


@pytest.mark.parametrize(
    ("rungs", "what"),
    [
        ("0:0.5", "every rung needs a positive R"),
        ("1:0.5,1:0.5", "rungs must ascend in R"),
        ("1:1.5", "every fraction must be above 0 and at most 1"),
        ("1:0", "every fraction must be above 0 and at most 1"),
        ("1:0.5,2:0.6", "the fractions sum to 1.1, more than the position"),
    ],
)
def test_an_invalid_ladder_says_why(rungs: str, what: str) -> None:
    with pytest.raises(InvalidLadder) as refused:
        ladder(rungs)
    assert str(refused.value) == what


def test_a_ladder_from_some_r_on_keeps_its_basis() -> None:
    whole = ladder("0.5:0.25,1:0.75", Basis.REMAINING)
    assert whole.at_least(Decimal(1)) == Ladder((Rung(Decimal(1), Decimal("0.75")),), Basis.REMAINING)


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"step": Decimal(0)}, "a step of quantities or prices must be above 0"),
        ({"tick": Decimal(0)}, "a step of quantities or prices must be above 0"),
        ({"step": Decimal(2), "max_qty": Decimal(1)}, "the maximum of an order must be at least one step"),
    ],
)
def test_an_invalid_instrument_says_why(values: dict[str, Any], what: str) -> None:
    with pytest.raises(InvalidNumber) as refused:
        Instrument(**values)
    assert str(refused.value) == what


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"T2_R": 6.0}, "partial levels must ascend: 2, 6, 6"),
        ({"be_plus_pct": 1.0}, "be_plus_pct is a share of the entry, below 1, not 1"),
        ({"lock_mode": "none"}, "lock_mode must be break_even or r_multiple, not 'none'"),
    ],
)
def test_invalid_parameters_say_why(values: dict[str, Any], what: str) -> None:
    with pytest.raises(InvalidTheta) as refused:
        HarvestTheta(**values)
    assert str(refused.value) == what


def test_both_ends_of_a_range_are_in_it() -> None:
    for end in (bounds.NON_NEGATIVE.low, bounds.NON_NEGATIVE.high):
        assert MarketState(end, 0.0, 0.0, 0.0, 0.0).sigma == end


def test_a_stop_that_is_behind_break_even_needs_no_move_and_may_trail() -> None:
    above = long_100(stop_loss=Decimal(90), atr=Decimal(1))
    position, _ = run([above, mark("104")], STOPS)
    protected = position._replace(ladder_state=position.ladder_state._replace(stop=Decimal("100.5")))
    quiet, _, _ = decide(protected, STOPS, guards())
    assert not quiet.ladder_state.break_even
    moved, made = run([mark("105")], STOPS, position=protected)
    assert moved.ladder_state.break_even
    assert [i.action for i in builders.intents(made)] == ["partial:0.5:1", "trail:103"]


def test_a_stop_that_would_not_be_a_price_does_not_trail() -> None:
    wide = rules(set_be_at_r=Decimal("0.5"), trail_atr_mult=Decimal(1))
    cheap = fill("BUY", "1", "1", stop_loss=Decimal("0.9"), atr=Decimal("0.3"))
    _, made = run([cheap, mark("1.06"), mark("1.35")], wide)
    assert [i.action for i in builders.intents(made) if i.kind is IntentKind.TRAIL_UPDATE] == ["trail:1.05"]


def test_the_end_of_an_order_has_its_status() -> None:
    position, made = run([long_100(), mark("105")], rules(live=True))
    (intent,) = builders.intents(made)
    position, again = run([outcome(intent.intent_id, "EXPIRED")], rules(live=True), position=position)
    assert position.ladder_state.failures == (("0.5", 1),)
    assert [i.action for i in builders.intents(again)] == ["partial:0.5:2"]


def test_a_price_read_from_a_key_came_when_it_was_seen() -> None:
    ahead = apply(FLAT, Mark("", 50_000, Decimal(100), read_ms=50_000), RiskTerms())
    assert apply(ahead, Mark("", 40_000, Decimal(90), read_ms=40_000), RiskTerms()).mark.price == 90
    assert apply(ahead, Mark("", 40_000, Decimal(90), read_ms=49_000), RiskTerms()).mark.price == 100
    assert apply(ahead, Mark("", 40_000, Decimal(90)), RiskTerms()).mark.price == 100


def test_unrealized_profit_is_that_of_all_that_is_held() -> None:
    _, made = run([fill("BUY", "4", "100", stop_loss=Decimal(90)), mark("105")], STOPS)
    assert [i.unrealized_pnl for i in builders.intents(made)] == [20, 20]


def test_a_stop_trails_at_prices_below_one() -> None:
    cheap = fill("BUY", "1", "0.5", stop_loss=Decimal("0.45"), atr=Decimal("0.01"))
    _, made = run([cheap, mark("0.53"), mark("0.6")], STOPS)
    assert [i.action for i in builders.intents(made) if i.kind is IntentKind.TRAIL_UPDATE] == [
        "trail:0.51",
        "trail:0.58",
    ]


def test_a_component_at_its_threshold_is_no_reason() -> None:
    components = kill_components(MarketState(0.0151, 0.1, 0.1, 0.5, 0.4), 0.0, HarvestTheta())
    at = replace(components, sigma_spike=0.5, ts_drop=0.2, age_penalty=0.5)
    assert list(_kill_reasons(at)) == [ReasonCode.REGIME_FLIP]
    above = replace(at, sigma_spike=0.51, ts_drop=0.21, age_penalty=0.51)
    assert len(list(_kill_reasons(above))) == 4


def test_no_lock_at_a_price_of_zero() -> None:
    theta = HarvestTheta(lock_R=2.0, lock_mode=LockMode.R_MULTIPLE)
    short = PositionSnapshot(BOOK, PositionSide.SHORT, 2.0, 1.0, 2.0, 1.0, 0.0, 1.0)
    assert locked_stop(short, 3.0, 1.0, theta) is None
    assert locked_stop(short, 3.0, 0.5, theta) == 1.0


def test_a_rung_that_fails_for_the_last_time_is_owed_nothing() -> None:
    last = Reservation("a", Decimal(1), (Claim("0.5", 3, Decimal(1)),), 1)
    state = LadderState(spent=("0.5",), owed=(("0.5", Decimal(4)), ("1", Decimal(2))), reservations=(last,))
    after, given_up = state.released("a")
    assert (given_up, after.owed, after.failures) == (("0.5",), (("1", Decimal(2)),), (("0.5", 3),))


def test_a_far_stop_is_a_stop_at_its_own_distance() -> None:
    for qty, stop in (("1", "40"), ("-1", "160")):
        held = apply(FLAT, adopt(qty, stop=stop), RiskTerms())
        assert (held.holding.risk_per_unit, held.ladder_state.stop) == (60, Decimal(stop))


def test_adopting_flat_when_flat_changes_nothing() -> None:
    assert apply(FLAT, adopt("0"), RiskTerms()) == FLAT


def test_an_adoption_with_a_stream_id_is_the_newest_entry() -> None:
    adopted_at = adopt("1")._replace(source_id="7-3")
    assert apply(FLAT, adopted_at, RiskTerms()).applied == (7, 3)


def test_a_harvest_knows_its_action() -> None:
    position, _ = run([long_100()])
    due = due_harvest(position, MarkState(Decimal(105), 1, Decimal(105), Decimal(100)), rules())
    assert due is not None
    action, harvest = due
    assert isinstance(harvest, DueHarvest)
    assert action == harvest.action == "partial:0.5:1"


def test_folding_and_deciding_are_exact_in_any_decimal_context() -> None:
    """Products of 12 decimals and 15 digits each do not fit in the 28 digits of a usual context."""
    bought = fill("BUY", "123456789.123456789012", "98765.432109876543", stop_loss=Decimal("97654.321098765432"))
    sold = fill("SELL", "0.987654321098", "99999.987654321098")
    fine = rules(ladder=ladder("0.333333333333:0.333333333333"), instrument=Instrument(step=Decimal("0.001")))
    for digits in (10, 28, 79, 80, 200):
        with localcontext(prec=digits):
            position = apply(apply(FLAT, bought, RiskTerms()), sold, RiskTerms())
            after, _, (decision, *_) = decide(position, fine, guards())
        with localcontext(EXACT):
            assert position.holding.realized_pnl == sold.qty * (sold.price - bought.price)
            wanted = Decimal("0.333333333333") * bought.qty
            assert decision.intents[0].qty + after.ladder_state.carry == wanted


def test_a_stop_that_is_held_back_is_decided_once() -> None:
    position = apply(apply(FLAT, long_100(), RiskTerms()), mark("106"), RiskTerms())
    killed = guards(killed=True)
    for noted in (False, True):
        position, _, decisions = decide(position, STOPS, killed)
        assert [(d.action, d.refusal, d.repeated) for d in decisions] == [
            ("partial:0.5:1", Refusal.KILLED, noted),
            ("sl_be", Refusal.KILLED, noted),
        ]


def test_folding_a_mark_sets_every_field_of_the_position_by_its_name() -> None:
    """The fold makes positions by the place of their fields: it takes a third of the time of `_replace`."""
    before = Position(
        book=BOOK,
        epoch=3,
        holding=HOLDING,
        mark=MarkState(Decimal(100), 1, Decimal(101), Decimal(99)),
        ladder_state=LadderState(stop=Decimal(95)),
        banked_pnl=Decimal(7),
        frozen="reason",
        applied=(1, 2),
        overrides="ladder=1:1",
    )
    after = apply(before, Mark("5-6", 5, Decimal(120)), RiskTerms())
    assert after == before._replace(mark=MarkState(Decimal(120), 5, Decimal(120), Decimal(99)), applied=(5, 6))
    opened = apply(before._replace(holding=Holding()), long_100(source_id="7-0", time_ms=7), RiskTerms())
    assert opened == Position(
        book=BOOK,
        epoch=4,
        holding=Holding(Decimal(1), Decimal(100), Decimal(1), Decimal(10), opened_ms=7),
        mark=MarkState(price=Decimal(100), time_ms=7, peak=Decimal(100), trough=Decimal(100)),
        ladder_state=LadderState(stop=Decimal(90)),
        banked_pnl=Decimal(7),
        frozen="reason",
        applied=(7, 0),
        overrides="ladder=1:1",
    )


def test_the_terms_of_the_risk_count_in_any_decimal_context() -> None:
    for digits in (28, 80):
        with localcontext(prec=digits):
            opened = apply(FLAT, fill("BUY", "1", "100"), RiskTerms(stop_dist_pct=Decimal("0.05")))
        assert opened.holding.risk_per_unit == 5


def test_r_is_shown_cut_to_six_decimals() -> None:
    assert [str(shown_r(Decimal(r))) for r in ("0.4999999", "-0.4999999")] == ["0.499999", "-0.499999"]
    with localcontext(prec=5):
        assert str(shown_r(Decimal("123.4567899"))) == "123.456789"
