"""The protective stop goes to break-even once, then trails the peak, only ever tightens, and covers what is held."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from builders import fill, guards, intents, ladder, long_100, mark, outcome, refusals, rules, run, short_100
from hypothesis import given
from hypothesis import strategies as st

from kernel.positions.decision import Decision
from kernel.positions.entry import Adopt, Entry
from kernel.positions.instrument import Instrument
from kernel.positions.rules import Rules

NO_RUNG = ladder("1000:1")
STOPS = rules(ladder=NO_RUNG, set_be_at_r=Decimal("0.5"))
BREAK_EVEN = Decimal("100.2")
"""Where the stop of a long from 100 goes first."""


def moves(*entries: Entry, the_rules: Rules = STOPS) -> list[tuple[str, Decimal | None]]:
    return [(i.kind.value, i.stop_price) for i in intents(run(entries, the_rules)[1])]


def asked(decisions: Sequence[Decision]) -> list[tuple[str, Decimal | None, Decimal]]:
    """Of each published stop move its kind, price and quantity."""
    return [(i.action.partition(":")[0], i.stop_price, i.qty) for i in intents(decisions)]


def ticking(tick: str, **values: Any) -> Rules:
    return rules(ladder=NO_RUNG, set_be_at_r=Decimal("0.5"), instrument=Instrument(tick=Decimal(tick)), **values)


def test_break_even_is_set_once_at_its_r() -> None:
    assert moves(long_100(), mark("104"), mark("105"), mark("106")) == [("MOVE_SL_BE", Decimal("100.2"))]


def test_a_short_sets_break_even_below_its_entry() -> None:
    assert moves(short_100(), mark("95")) == [("MOVE_SL_BE", Decimal("99.8"))]


def test_a_stop_move_carries_the_whole_position_and_opposes_it() -> None:
    (intent,) = intents(run([short_100(), mark("95")], STOPS)[1])
    assert (intent.side, intent.qty, intent.rungs) == ("BUY", 1, ())


def test_break_even_waits_until_it_protects() -> None:
    tight = fill("BUY", "1", "100", stop_loss=Decimal("99.9"))
    assert moves(tight, mark("100.1"), mark("100.2")) == []
    tight = fill("BUY", "1", "100", stop_loss=Decimal("99.9"))
    assert moves(tight, mark("100.21")) == [("MOVE_SL_BE", Decimal("100.2"))]


def test_trailing_needs_an_atr_and_break_even() -> None:
    assert moves(long_100(), mark("120"), mark("130")) == [("MOVE_SL_BE", Decimal("100.2"))]
    made = moves(long_100(atr=Decimal(3)), mark("104"), mark("105"), mark("110"))
    assert made == [("MOVE_SL_BE", Decimal("100.2")), ("TRAIL_UPDATE", Decimal(104))]


def test_a_trailing_move_that_is_due_at_once_comes_with_break_even() -> None:
    made = moves(long_100(atr=Decimal(1)), mark("105"))
    assert made == [("MOVE_SL_BE", Decimal("100.2")), ("TRAIL_UPDATE", Decimal(103))]


def test_a_short_trails_above_its_trough() -> None:
    made = moves(short_100(atr=Decimal(2)), mark("95"), mark("90"))
    assert made == [("MOVE_SL_BE", Decimal("99.8")), ("TRAIL_UPDATE", Decimal(99)), ("TRAIL_UPDATE", Decimal(94))]


def test_the_stop_only_tightens() -> None:
    made = moves(long_100(atr=Decimal(1)), mark("105"), mark("110"), mark("109"), mark("112"), mark("108.5"))
    assert [price for _, price in made] == [Decimal("100.2"), Decimal(103), Decimal(108), Decimal(110)]


def test_a_move_smaller_than_the_least_one_is_not_worth_an_intent() -> None:
    made = moves(long_100(atr=Decimal(1)), mark("105"), mark("110"), mark("110.1"), mark("110.107"))
    assert [price for _, price in made] == [Decimal("100.2"), Decimal(103), Decimal(108)]


def test_a_trailing_stop_is_never_beyond_the_mark() -> None:
    late_atr = fill("BUY", "0.1", "103", atr=Decimal("0.5"))
    made = moves(long_100(), mark("110"), mark("103"), late_atr)
    assert made == [("MOVE_SL_BE", Decimal("100.2"))]


def test_a_stop_beyond_break_even_needs_no_move_to_it_and_may_trail() -> None:
    # The add at 80 brings break-even down to 90.18, under the stop at 95 that is in place.
    entries: list[Entry] = [
        fill("BUY", "1", "100", stop_loss=Decimal(95)),
        fill("BUY", "1", "80", atr=Decimal(1)),
        mark("99"),
    ]
    assert moves(*entries, mark("99")) == [("TRAIL_UPDATE", Decimal(98))]


# on the tick


@pytest.mark.parametrize(
    ("tick", "long_stop", "short_stop"),
    [("0.1", "100.2", "99.8"), ("0.5", "100.5", "99.5"), ("1", "101", "99"), ("0.15", "100.2", "99.75")],
)
def test_break_even_is_rounded_to_the_tick_towards_the_market(tick: str, long_stop: str, short_stop: str) -> None:
    the_rules = ticking(tick)
    assert moves(long_100(), mark("105"), the_rules=the_rules) == [("MOVE_SL_BE", Decimal(long_stop))]
    assert moves(short_100(), mark("95"), the_rules=the_rules) == [("MOVE_SL_BE", Decimal(short_stop))]


def test_a_trailing_stop_is_rounded_to_the_tick_towards_the_market() -> None:
    the_rules = ticking("0.5")
    atr = Decimal(1)
    assert moves(long_100(atr=atr), mark("105"), mark("110.2"), the_rules=the_rules)[2:] == [
        ("TRAIL_UPDATE", Decimal("108.5"))
    ]
    assert moves(short_100(atr=atr), mark("95"), mark("89.8"), the_rules=the_rules)[2:] == [
        ("TRAIL_UPDATE", Decimal("91.5"))
    ]


def test_a_stop_that_is_on_the_tick_stays_there() -> None:
    made = moves(long_100(atr=Decimal(1)), mark("105"), mark("110.5"), the_rules=ticking("0.5"))
    assert made[-1] == ("TRAIL_UPDATE", Decimal("108.5"))


def test_without_a_tick_a_stop_keeps_twelve_decimals_rounded_half_even() -> None:
    odd = fill("BUY", "1", "0.000000001001", stop_loss=Decimal("0.0000000009"))
    # 0.000000001001 x 1.002 is 0.000000001003002.
    assert moves(odd, mark("0.0000000011")) == [("MOVE_SL_BE", Decimal("0.000000001003"))]


def test_a_stop_that_the_tick_puts_on_the_mark_waits() -> None:
    the_rules = ticking("5")
    assert moves(long_100(), mark("105"), the_rules=the_rules) == []
    assert moves(long_100(), mark("105.01"), the_rules=the_rules) == [("MOVE_SL_BE", Decimal(105))]
    assert moves(short_100(), mark("95"), the_rules=the_rules) == []
    assert moves(short_100(), mark("94.99"), the_rules=the_rules) == [("MOVE_SL_BE", Decimal(95))]


def test_a_move_of_less_than_a_tick_is_no_move() -> None:
    made = moves(*(long_100(atr=Decimal(1)), mark("105"), mark("110.1"), mark("110.4")), the_rules=ticking("0.5"))
    assert [price for _, price in made] == [Decimal("100.5"), Decimal(103), Decimal("108.5")]


def test_a_tick_larger_than_the_price_gives_a_short_no_stop_at_all() -> None:
    tiny = fill("SELL", "1", "0.5", stop_loss=Decimal("0.55"))
    assert moves(tiny, mark("0.4"), the_rules=ticking("1")) == []


# only tighter


def test_a_larger_atr_does_not_loosen_the_stop() -> None:
    narrow: list[Entry] = [long_100(atr=Decimal(1)), mark("105"), mark("110")]
    wide: list[Entry] = [fill("BUY", "0.1", "110", atr=Decimal(4)), mark("111"), mark("115"), mark("117")]
    made = moves(*narrow, *wide)
    # The second 108 is for the quantity that was added.
    assert [price for _, price in made if price != BREAK_EVEN] == [103, 108, 108, 109]


def test_a_smaller_atr_tightens_the_stop_at_once() -> None:
    wide: list[Entry] = [long_100(atr=Decimal(2)), mark("105"), mark("110")]
    made = moves(*wide, fill("SELL", "0.0001", "110", atr=Decimal("0.5")))
    assert [price for _, price in made] == [BREAK_EVEN, 101, 106, 109]


def test_a_changing_atr_of_the_market_never_loosens_the_stop() -> None:
    position, _ = run([long_100(), mark("110")], rules(ladder=NO_RUNG, set_be_at_r=Decimal("0.5"), atr=Decimal(1)))
    assert position.ladder_state.stop == 108
    for atr, stop in (("5", 108), ("0.5", 109), ("3", 109)):
        the_rules = rules(ladder=NO_RUNG, set_be_at_r=Decimal("0.5"), atr=Decimal(atr))
        position, _ = run([mark("110")], the_rules, position=position)
        assert position.ladder_state.stop == stop


marks = st.decimals("80", "140", places=2)
atrs = st.none() | st.decimals("0.1", "9", places=1)


@given(
    st.lists(st.tuples(marks, atrs, atrs, st.booleans()), max_size=30),
    st.booleans(),
    st.sampled_from([None, "0.1", "2"]),
)
def test_over_any_prices_and_atrs_the_stops_of_a_position_only_tighten(
    steps: list[tuple[Decimal, Decimal | None, Decimal | None, bool]], is_long: bool, tick: str | None
) -> None:
    side, opening = ("BUY", long_100()) if is_long else ("SELL", short_100())
    position, _ = run([opening], STOPS)
    sign, prices, ids = (1 if is_long else -1), [], []
    for at, filled_atr, market_atr, is_fill in steps:
        entry = fill(side, "0.1", str(at), atr=filled_atr) if is_fill else mark(str(at))
        the_rules = rules(
            ladder=NO_RUNG,
            set_be_at_r=Decimal("0.5"),
            atr=market_atr,
            instrument=Instrument(tick=None if tick is None else Decimal(tick)),
        )
        position, made = run([entry], the_rules, position=position)
        prices += [i.stop_price * sign for i in intents(made) if i.stop_price is not None]
        ids += [i.intent_id for i in intents(made)]
        assert all((at - i.stop_price) * sign > 0 for i in intents(made))
    assert prices == sorted(prices)
    assert len(set(ids)) == len(ids)


# one intent for a real change


def test_a_price_that_jitters_moves_the_stop_no_more_than_its_best() -> None:
    opening = long_100(atr=Decimal(1))
    jitter = [mark(p) for p in ("105", "104.9", "105", "104", "105", "104.99") * 5]
    assert moves(opening, *jitter) == [("MOVE_SL_BE", BREAK_EVEN), ("TRAIL_UPDATE", Decimal(103))]


def test_a_price_that_climbs_by_ticks_moves_the_stop_by_no_less_than_the_least_move() -> None:
    opening = long_100(atr=Decimal(1))
    made = [price for _, price in moves(opening, *(mark(f"{n / 100:.2f}") for n in range(10_500, 11_000)))]
    assert all(later - earlier >= earlier * STOPS.min_stop_move_pct for earlier, later in pairwise(made))
    assert 40 < len(made) < 60


def test_a_trailing_move_of_exactly_the_least_size_counts() -> None:
    made = moves(long_100(atr=Decimal(1)), mark("105"), mark("105.102999999999"), mark("105.103"))
    assert [price for _, price in made] == [BREAK_EVEN, 103, Decimal("103.103")]


# held back


def test_a_stop_that_is_held_back_is_news_once_however_far_the_price_goes() -> None:
    position, _ = run([long_100(atr=Decimal(1)), mark("105")], STOPS)
    climbing = [mark(str(106 + n)) for n in range(50)]
    position, made = run(climbing, STOPS, guards(killed=True), position=position)
    assert refusals(made) == [("trail", "killed")]
    assert position.ladder_state.held == (("trail", "killed"),)


def test_a_break_even_that_is_held_back_is_news_once_and_holds_nothing_else() -> None:
    position, made = run(
        [long_100(atr=Decimal(1)), *(mark(str(105 + n)) for n in range(20))], STOPS, guards(killed=True)
    )
    assert refusals(made) == [("sl_be", "killed")]
    assert (position.ladder_state.held, position.ladder_state.stop) == ((("sl_be", "killed"),), 90)


def test_what_was_held_back_goes_out_once_with_the_newest_price() -> None:
    position, _ = run([long_100(atr=Decimal(1)), mark("105"), mark("110")], STOPS, guards(killed=True))
    position, made = run([mark("109.5")], STOPS, position=position)
    assert asked(made) == [("sl_be", BREAK_EVEN, 1), ("trail", Decimal(108), 1)]
    assert position.ladder_state.held == ()


def test_another_reason_is_news_again_and_replaces_the_first() -> None:
    position, _ = run([long_100(atr=Decimal(1)), mark("105")], STOPS)
    _, made = run([mark("110")], STOPS, guards(killed=True), position=position)
    position, _ = run([mark("110")], STOPS, guards(killed=True), position=position)
    position, made = run([mark("111"), mark("112")], STOPS, guards(budget=0), position=position)
    assert refusals(made) == [("trail", "rate_limited")]
    assert position.ladder_state.held == (("trail", "rate_limited"),)


def test_resizes_that_are_held_back_are_news_once() -> None:
    position, _ = run([long_100(), mark("105")], STOPS)
    closing = [fill("SELL", "0.1", "105") for _ in range(5)]
    position, made = run(closing, STOPS, guards(killed=True), position=position)
    assert refusals(made) == [("resize", "killed")]
    position, made = run([mark("105")], STOPS, position=position)
    assert asked(made) == [("resize", BREAK_EVEN, Decimal("0.5"))]
    assert position.ladder_state.held == ()


# for what is held


def test_after_a_partial_close_the_stop_is_published_for_what_is_left() -> None:
    _, made = run([long_100(), mark("105"), fill("SELL", "0.4", "105")], STOPS)
    assert asked(made) == [("sl_be", BREAK_EVEN, 1), ("resize", BREAK_EVEN, Decimal("0.6"))]


def test_a_resize_is_a_stop_move_like_another_and_names_price_base_and_quantity() -> None:
    _, made = run([long_100(), mark("105"), fill("SELL", "0.4", "105")], STOPS)
    resize = intents(made)[-1]
    assert (resize.kind, resize.side, resize.action) == ("TRAIL_UPDATE", "SELL", "resize:100.2:1:0.6")


def test_after_an_add_the_stop_is_published_for_more() -> None:
    _, made = run([long_100(), mark("105"), fill("BUY", "1", "105")], STOPS)
    assert asked(made)[1:] == [("resize", BREAK_EVEN, 2)]


def test_a_stop_of_a_short_is_resized_too() -> None:
    _, made = run([short_100(), mark("95"), fill("BUY", "0.5", "95")], STOPS)
    assert asked(made)[1:] == [("resize", Decimal("99.8"), Decimal("0.5"))]


def test_a_stop_is_resized_once_per_change_and_not_per_tick() -> None:
    _, made = run([long_100(), mark("105"), fill("SELL", "0.4", "105"), *(mark("105") for _ in range(9))], STOPS)
    assert len(intents(made)) == 2


@pytest.mark.parametrize(("closed", "resized"), [("0.0999", 0), ("0.1", 1)])
def test_a_quantity_that_hardly_changed_is_not_worth_an_intent(closed: str, resized: int) -> None:
    _, made = run([long_100(), mark("105"), fill("SELL", closed, "105")], STOPS)
    assert len(intents(made)) == 1 + resized


def test_small_closes_add_up_to_one_that_counts() -> None:
    _, made = run([long_100(), mark("105"), *(fill("SELL", "0.04", "105") for _ in range(3))], STOPS)
    assert asked(made)[1:] == [("resize", BREAK_EVEN, Decimal("0.88"))]


def test_the_same_quantity_met_again_after_an_add_has_an_id_of_its_own() -> None:
    _, made = run([long_100(), mark("105"), *(fill(side, "0.5", "105") for side in ("SELL", "BUY", "SELL"))], STOPS)
    assert [qty for _, _, qty in asked(made)[1:]] == [Decimal("0.5"), 1, Decimal("0.5")]
    assert len({i.intent_id for i in intents(made)}) == 4


def test_a_trailing_move_covers_what_is_held_so_no_resize_follows() -> None:
    _, made = run([long_100(atr=Decimal(1)), mark("105"), fill("SELL", "0.5", "110"), mark("110")], STOPS)
    assert asked(made)[2:] == [("trail", Decimal(108), Decimal("0.5"))]


def test_a_close_leaves_no_stop_to_resize() -> None:
    position, made = run([long_100(), mark("105"), fill("SELL", "1", "105"), mark("106")], STOPS)
    assert (len(intents(made)), position.ladder_state.stop_qty) == (1, None)


def test_a_stop_that_was_never_published_is_not_resized() -> None:
    # The stop that the position opened with is the desk's own: who placed it knows its quantity.
    _, made = run([long_100(), mark("104"), fill("SELL", "0.5", "104"), mark("104")], STOPS)
    assert intents(made) == []


def test_a_stop_that_no_longer_protects_is_not_resized() -> None:
    _, made = run([long_100(), mark("105"), fill("SELL", "0.5", "100.2"), mark("100.1")], STOPS)
    assert len(intents(made)) == 1
    _, made = run([long_100(), mark("105"), fill("SELL", "0.5", "100.2"), mark("100.3")], STOPS)
    assert asked(made)[1:] == [("resize", BREAK_EVEN, Decimal("0.5"))]


def test_an_adopted_quantity_resizes_the_stop() -> None:
    position, _ = run([long_100(), mark("105")], STOPS)
    _, made = run([Adopt("", 0, Decimal(1), Decimal("0.7"), Decimal(100))], STOPS, position=position)
    assert asked(made) == [("resize", BREAK_EVEN, Decimal("0.7"))]


# nothing is resized while an intent may still change the quantity

BOTH = rules(live=True, set_be_at_r=Decimal("0.5"))


def test_no_resize_while_something_is_reserved() -> None:
    position, made = run([long_100(), mark("105"), fill("SELL", "0.3", "105"), mark("105")], BOTH)
    assert [action for action, *_ in asked(made)] == ["partial", "sl_be"]
    assert position.ladder_state.reserved


@pytest.mark.parametrize("end", ["filled", "exhausted"])
def test_once_nothing_is_reserved_the_stop_is_resized_once(end: str) -> None:
    position, made = run([long_100(), mark("105"), fill("SELL", "0.3", "105")], BOTH)
    intent_id = intents(made)[0].intent_id
    if end == "filled":
        _, made = run([fill("SELL", "0.25", "105", intent_id=intent_id)], BOTH, position=position)
        assert asked(made) == [("resize", BREAK_EVEN, Decimal("0.45"))]
        return
    for _ in range(3):
        position, made = run([outcome(intent_id)], BOTH, position=position)
        intent_id = intents(made)[0].intent_id
    assert asked(made) == [("resize", BREAK_EVEN, Decimal("0.7"))]


def test_parts_of_a_fill_resize_the_stop_only_when_the_intent_is_done() -> None:
    position, made = run([long_100(), mark("105")], BOTH)
    intent_id = intents(made)[0].intent_id
    thirds = [fill("SELL", qty, "105", intent_id=intent_id) for qty in ("0.1", "0.1", "0.05")]
    _, made = run(thirds, BOTH, position=position)
    assert asked(made) == [("resize", BREAK_EVEN, Decimal("0.75"))]


def test_a_stop_trails_while_something_is_reserved() -> None:
    position, _ = run([long_100(atr=Decimal(1)), mark("105")], BOTH)
    _, made = run([mark("108")], BOTH, position=position)
    assert asked(made) == [("trail", Decimal(106), 1)]


# which ATR


def test_the_atr_of_the_market_is_used_while_no_fill_named_one() -> None:
    the_rules = rules(ladder=NO_RUNG, set_be_at_r=Decimal("0.5"), atr=Decimal(2))
    assert moves(long_100(), mark("110"), the_rules=the_rules)[-1] == ("TRAIL_UPDATE", Decimal(106))
    named = long_100(atr=Decimal(3))
    assert moves(named, mark("110"), the_rules=the_rules)[-1] == ("TRAIL_UPDATE", Decimal(104))


def test_the_last_fill_that_named_an_atr_wins() -> None:
    opening = long_100(atr=Decimal(3))
    add, silent = fill("BUY", "0.0001", "105", atr=Decimal(1)), fill("BUY", "0.0001", "105")
    assert moves(opening, add, silent, mark("110"))[-1] == ("TRAIL_UPDATE", Decimal(108))


def test_an_exit_may_name_the_atr() -> None:
    assert moves(long_100(), fill("SELL", "0.0001", "105", atr=Decimal(1)), mark("110"))[-1] == (
        "TRAIL_UPDATE",
        Decimal(108),
    )


def test_a_new_position_does_not_trail_by_the_atr_of_the_last() -> None:
    the_rules = rules(ladder=NO_RUNG, set_be_at_r=Decimal("0.5"), atr=Decimal(2))
    earlier = [long_100(atr=Decimal(1)), fill("SELL", "1", "100")]
    assert moves(*earlier, long_100(), mark("110"), the_rules=the_rules)[-1] == ("TRAIL_UPDATE", Decimal(106))
    assert moves(*earlier, long_100(), mark("110")) == [("MOVE_SL_BE", BREAK_EVEN)]


def test_the_multiple_of_the_atr_is_a_rule() -> None:
    the_rules = rules(ladder=NO_RUNG, set_be_at_r=Decimal("0.5"), trail_atr_mult=Decimal("1.5"))
    assert moves(long_100(atr=Decimal(2)), mark("110"), the_rules=the_rules)[-1] == ("TRAIL_UPDATE", Decimal(107))


def test_costs_delay_break_even_by_their_amount() -> None:
    the_rules = rules(ladder=NO_RUNG, set_be_at_r=Decimal("0.5"), cost_bps=Decimal(10))
    assert moves(long_100(), mark("105.099999999999"), the_rules=the_rules) == []
    assert moves(long_100(), mark("105.1"), the_rules=the_rules) == [("MOVE_SL_BE", BREAK_EVEN)]
