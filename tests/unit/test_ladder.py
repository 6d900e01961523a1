"""The R ladder decides what a position owes, each rung once per lifecycle."""

from decimal import Decimal

import pytest
from builders import fill, intents, ladder, long_100, mark, outcome, refusals, rules, run, short_100

from kernel.errors import InvalidLadder
from kernel.positions.entry import Entry
from kernel.positions.instrument import Instrument
from kernel.positions.intent import Intent
from kernel.positions.ladder import Basis
from kernel.positions.rules import Rules

LIVE = rules(live=True)


def published(*entries: Entry, the_rules: Rules | None = None) -> list[Intent]:
    return intents(run(entries, the_rules)[1])


@pytest.mark.parametrize(
    "text",
    ["1.0:0.25,0.5:0.25", "0.5:0.25,0.5:0.25", "0:0.25", "-1:0.25", "0.5:0", "0.5:1.1", "0.5:0.6,1:0.6", "NaN:0.25"],
)
def test_an_impossible_ladder_is_refused(text: str) -> None:
    with pytest.raises(InvalidLadder):
        ladder(text)


def test_rungs_under_the_least_r_never_fire() -> None:
    assert [rung.name for rung in ladder().at_least(Decimal("0.75")).rungs] == ["1", "1.5"]


def test_a_rung_fires_at_its_level_not_below() -> None:
    assert published(long_100(), mark("104.999999999999")) == []
    (intent,) = published(long_100(), mark("105"))
    assert (intent.side, intent.qty, intent.rungs, intent.reason) == (
        "SELL",
        Decimal("0.25"),
        ("0.5",),
        "R=0.50 >= 0.5",
    )


def test_a_short_buys_back() -> None:
    (intent,) = published(short_100(), mark("94.8"))
    assert (intent.side, intent.qty, intent.reason) == ("BUY", Decimal("0.25"), "R=0.52 >= 0.5")


def test_a_rung_fires_once_however_the_price_jitters() -> None:
    prices = ["105", "104", "105.1", "104.9", "105.2", "106", "105"]
    assert len(published(long_100(), *(mark(p) for p in prices))) == 1


def test_rungs_crossed_together_make_one_intent() -> None:
    (intent,) = published(long_100(), mark("116"))
    assert (intent.qty, intent.rungs, intent.reason) == (Decimal("0.75"), ("0.5", "1", "1.5"), "R=1.60 >= 1.5")


def test_the_same_cause_gives_the_same_id_and_another_lifecycle_another() -> None:
    first, second = (published(long_100(), mark("105"))[0] for _ in range(2))
    assert first.intent_id == second.intent_id
    assert len(first.intent_id) <= 36
    twice = published(long_100(), mark("105"), fill("SELL", "1", "105"), long_100(), mark("105"))
    assert len({intent.intent_id for intent in twice}) == 2


def test_an_add_does_not_arm_a_rung_again_but_grows_the_later_ones() -> None:
    made = published(long_100(), mark("105"), fill("BUY", "1", "100"), mark("105"), mark("110"))
    assert [(i.rungs, i.qty) for i in made] == [(("0.5",), Decimal("0.25")), (("1",), Decimal("0.5"))]


def test_the_remaining_basis_takes_its_share_of_what_is_left() -> None:
    the_rules = rules(live=True, ladder=ladder(basis=Basis.REMAINING))
    made = published(long_100(), mark("105"), mark("110"), the_rules=the_rules)
    assert [i.qty for i in made] == [Decimal("0.25"), Decimal("0.1875")]


def test_live_intents_reserve_their_quantity() -> None:
    position, _ = run([long_100(), mark("105")], LIVE)
    assert (position.ladder_state.reserved, position.available) == (Decimal("0.25"), Decimal("0.75"))


def test_shadow_intents_reserve_nothing_but_spend_their_rung() -> None:
    position, _ = run([long_100(), mark("105")])
    assert (position.ladder_state.reserved, position.ladder_state.spent) == (0, ("0.5",))


def test_the_fill_that_names_an_intent_releases_its_quantity() -> None:
    position, made = run([long_100(), mark("105")], LIVE)
    intent_id = intents(made)[0].intent_id
    position, _ = run([fill("SELL", "0.1", "105", intent_id=intent_id)], LIVE, position=position)
    assert position.ladder_state.reserved == Decimal("0.15")
    position, _ = run([fill("SELL", "0.15", "105", intent_id=intent_id)], LIVE, position=position)
    assert position.ladder_state.reservations == ()


def test_a_manual_close_under_an_open_intent_cuts_the_reservation() -> None:
    position, _ = run([long_100(), mark("116"), fill("SELL", "0.6", "116")], LIVE)
    assert (position.holding.qty, position.ladder_state.reserved) == (Decimal("0.4"), Decimal("0.4"))


def test_nothing_is_published_when_all_is_reserved() -> None:
    whole = rules(live=True, ladder=ladder("0.5:1"))
    position, _ = run([long_100(), mark("105")], whole)
    later = rules(live=True, ladder=ladder("0.5:0.5,1:0.5"))
    _, made = run([mark("110")], later, position=position)
    assert refusals(made) == [("partial:1:1", "nothing_left")]


def test_a_rejected_intent_arms_its_rung_again_with_an_id_of_its_own() -> None:
    position, made = run([long_100(), mark("105")], LIVE)
    first = intents(made)[0].intent_id
    _, made = run([outcome(first), mark("105")], LIVE, position=position)
    (again,) = intents(made)
    assert (again.qty, again.intent_id != first) == (Decimal("0.25"), True)


def test_after_three_rejections_the_rung_is_spent() -> None:
    position, made = run([long_100(), mark("105")], LIVE)
    ids = []
    while intents(made):
        ids.append(intents(made)[0].intent_id)
        position, made = run([outcome(ids[-1]), mark("105")], LIVE, position=position)
    assert len(set(ids)) == len(ids) == 3
    assert (position.ladder_state.spent, position.ladder_state.reserved) == (("0.5",), 0)


def test_a_partly_filled_intent_that_ends_asks_only_for_the_rest_again() -> None:
    position, made = run([long_100(), mark("105")], LIVE)
    first = intents(made)[0].intent_id
    partial = fill("SELL", "0.1", "105", intent_id=first)
    _, made = run([partial, outcome(first, "CANCELED"), mark("105")], LIVE, position=position)
    assert [i.qty for i in intents(made)] == [Decimal("0.15")]


def test_the_end_of_an_unknown_order_changes_nothing() -> None:
    position, _ = run([long_100(), mark("105"), outcome("not-ours")], LIVE)
    assert position.ladder_state.spent == ("0.5",)


def test_quantities_round_down_and_carry_what_is_left_over() -> None:
    stepped = rules(instrument=Instrument(step=Decimal("0.1")))
    made = published(long_100(), mark("105"), mark("110"), mark("115"), the_rules=stepped)
    assert [i.qty for i in made] == [Decimal("0.2"), Decimal("0.3"), Decimal("0.2")]


def test_a_slice_below_the_minimum_waits_for_the_next_rung() -> None:
    small = rules(instrument=Instrument(min_notional=Decimal(50)))
    position, made = run([long_100(), mark("105")], small)
    assert refusals(made) == [("partial:0.5:1", "below_minimum")]
    _, made = run([mark("110")], small, position=position)
    assert [(i.rungs, i.qty) for i in intents(made)] == [(("0.5", "1"), Decimal("0.5"))]


def test_a_rest_below_the_minimum_is_closed_too() -> None:
    most = rules(ladder=ladder("0.5:0.9"), instrument=Instrument(min_qty=Decimal("0.2")))
    (intent,) = published(long_100(), mark("105"), the_rules=most)
    assert intent.qty == 1


def test_a_flip_under_an_open_intent_forgets_it() -> None:
    position, _ = run([long_100(), mark("105"), fill("SELL", "3", "105")], LIVE)
    assert (position.position_id, position.ladder_state.reservations) == ("BTCUSDT:2", ())


def test_r_does_not_depend_on_quantity() -> None:
    tiny = published(fill("BUY", "0.001", "100", stop_loss=Decimal(90)), mark("107.5"))
    assert tiny[0].reason == "R=0.75 >= 0.5"
