"""The protective stop goes to break-even once, then trails the peak, and only ever tightens."""

from decimal import Decimal

from books import fill, intents, ladder, long_100, mark, rules, run, short_100

STOPS = rules(ladder=ladder("1000:1"), set_be_at_r=Decimal("0.5"))


def moves(*entries):
    return [(i.kind.value, i.stop_price) for i in intents(run(entries, STOPS)[1])]


def test_break_even_is_set_once_at_its_r():
    assert moves(long_100(), mark("104"), mark("105"), mark("106")) == [("MOVE_SL_BE", Decimal("100.2"))]


def test_a_short_sets_break_even_below_its_entry():
    assert moves(short_100(), mark("95")) == [("MOVE_SL_BE", Decimal("99.8"))]


def test_a_stop_move_carries_the_whole_position_and_opposes_it():
    (intent,) = intents(run([short_100(), mark("95")], STOPS)[1])
    assert (intent.side, intent.qty, intent.rungs) == ("BUY", 1, ())


def test_break_even_waits_until_it_protects():
    tight = fill("BUY", "1", "100", stop_loss=Decimal("99.9"))
    assert moves(tight, mark("100.1"), mark("100.2")) == []
    tight = fill("BUY", "1", "100", stop_loss=Decimal("99.9"))
    assert moves(tight, mark("100.21")) == [("MOVE_SL_BE", Decimal("100.2"))]


def test_trailing_needs_an_atr_and_break_even():
    assert moves(long_100(), mark("120"), mark("130")) == [("MOVE_SL_BE", Decimal("100.2"))]
    made = moves(long_100(atr=Decimal(3)), mark("104"), mark("105"), mark("110"))
    assert made == [("MOVE_SL_BE", Decimal("100.2")), ("TRAIL_UPDATE", Decimal(104))]


def test_a_trailing_move_that_is_due_at_once_comes_with_break_even():
    made = moves(long_100(atr=Decimal(1)), mark("105"))
    assert made == [("MOVE_SL_BE", Decimal("100.2")), ("TRAIL_UPDATE", Decimal(103))]


def test_a_short_trails_above_its_trough():
    made = moves(short_100(atr=Decimal(2)), mark("95"), mark("90"))
    assert made == [("MOVE_SL_BE", Decimal("99.8")), ("TRAIL_UPDATE", Decimal(99)), ("TRAIL_UPDATE", Decimal(94))]


def test_the_stop_only_tightens():
    made = moves(long_100(atr=Decimal(1)), mark("105"), mark("110"), mark("109"), mark("112"), mark("108.5"))
    assert [price for _, price in made] == [Decimal("100.2"), Decimal(103), Decimal(108), Decimal(110)]


def test_a_move_smaller_than_the_least_one_is_not_worth_an_intent():
    made = moves(long_100(atr=Decimal(1)), mark("105"), mark("110"), mark("110.1"), mark("110.107"))
    assert [price for _, price in made] == [Decimal("100.2"), Decimal(103), Decimal(108)]


def test_a_trailing_stop_is_never_beyond_the_mark():
    late_atr = fill("BUY", "0.1", "103", atr=Decimal("0.5"))
    made = moves(long_100(), mark("110"), mark("103"), late_atr)
    assert made == [("MOVE_SL_BE", Decimal("100.2"))]


def test_a_stop_beyond_break_even_needs_no_move_to_it_and_may_trail():
    # The add at 80 brings break-even down to 90.18, under the stop at 95 that is in place.
    entries = [fill("BUY", "1", "100", stop_loss=Decimal(95)), fill("BUY", "1", "80", atr=Decimal(1)), mark("99")]
    assert moves(*entries, mark("99")) == [("TRAIL_UPDATE", Decimal(98))]
