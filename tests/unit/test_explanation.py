"""What an explanation says of a position agrees with what the kernel does to it."""

from dataclasses import replace
from decimal import Decimal

from builders import TERMS, fill, guards, intents, ladder, long_100, mark, outcome, rules, run, short_100
from hypothesis import given
from hypothesis import strategies as st

from harvest_tasks.operations.explanation import Explanation, RiskSource, RungState, explain_position, intents_due
from kernel.positions.entry import Entry
from kernel.positions.guards import Guards, Refusal
from kernel.positions.harvest import due_rungs
from kernel.positions.holding import RiskTerms
from kernel.positions.ladder import Rung
from kernel.positions.position import Position, apply
from kernel.positions.quantities import GRID
from kernel.positions.rules import Rules

RULES = rules()
PRICES = st.decimals("0.01", "100000", places=4)


def explained(
    position: Position, the_guards: Guards | None = None, the_rules: Rules = RULES, terms: RiskTerms = TERMS
) -> Explanation:
    found = explain_position(position, the_rules, the_guards or guards(), terms)
    assert found is not None
    return found


def opened(*entries: Entry, the_guards: Guards | None = None, the_rules: Rules = RULES) -> Position:
    return run(entries, the_rules, the_guards)[0]


@given(side=st.sampled_from(["BUY", "SELL"]), entry=PRICES, r=st.decimals("0.1", "20", places=2))
def test_a_rung_is_due_from_its_price_on_and_not_before(side: str, entry: Decimal, r: Decimal) -> None:
    one_rung = rules(ladder=replace(ladder(), rungs=(Rung(r, Decimal(1)),)))
    position = apply(Position("BTCUSDT"), fill(side, "1", str(entry)), TERMS)
    (rung,) = explained(position, the_rules=one_rung).rungs
    if rung.price is None:
        return
    there = position.mark._replace(price=rung.price)
    short_of_it = position.mark._replace(price=rung.price - position.holding.sign * GRID)
    assert due_rungs(position, there, one_rung)
    assert not due_rungs(position, short_of_it, one_rung)


def test_a_rung_below_zero_has_no_price() -> None:
    position = opened(fill("SELL", "1", "100", stop_loss=Decimal(190)))
    assert [rung.price for rung in explained(position).rungs] == [Decimal(55), Decimal(10), None]


def test_rungs_are_spent_due_or_armed() -> None:
    position = opened(long_100(), mark("105"))
    killed = guards(killed=True)
    position, _ = run([mark("111")], RULES, killed, position)
    assert [rung.state for rung in explained(position).rungs] == [RungState.SPENT, RungState.DUE, RungState.ARMED]


def test_what_is_due_and_was_refused_before_is_explained_again() -> None:
    killed = guards(killed=True)
    position = opened(long_100(), mark("111"), the_guards=killed)
    (decision,) = explained(position, killed).due
    assert (decision.action, decision.refusal) == ("partial:0.5+1:1", Refusal.KILLED)
    (decision,) = explained(position).due
    assert (decision.intents[0].qty, decision.refusal) == (Decimal("0.5"), None)


def test_explaining_decides_what_the_next_look_will_decide() -> None:
    held = opened(short_100(), mark("89"), the_guards=guards(killed=True))
    (promised,) = intents_due(held, RULES, guards())
    _, made = run([mark("89")], RULES, guards(), held)
    (published,) = intents(made)
    assert replace(promised, time_ms=0) == replace(published, time_ms=0)


def test_an_intent_that_is_out_already_is_a_duplicate() -> None:
    held = opened(long_100(), mark("105"), the_guards=guards(killed=True))
    (intent,) = intents_due(held, RULES, guards(budget=0))
    (decision,) = explained(held, guards(published=frozenset([intent.intent_id]))).due
    assert decision.refusal is Refusal.DUPLICATE


def test_the_next_intent_takes_along_what_is_due_by_then() -> None:
    held = opened(long_100(), mark("105"), the_guards=guards(killed=True))
    upcoming = explained(held).upcoming
    (intent,) = upcoming.intents
    assert (upcoming.price, intent.rungs, intent.qty) == (Decimal(110), ("0.5", "1"), Decimal("0.5"))


def test_the_next_intent_meets_the_guards_with_a_fresh_mark() -> None:
    position = opened(long_100())
    late = guards(position.mark.time_ms + 100_000, fresh_ms=30_000)
    assert Refusal.STALE in explained(position, late).refusals
    assert explained(position, late).upcoming.refusal is None
    assert explained(position, replace(late, killed=True)).upcoming.refusal is Refusal.KILLED


def test_nothing_is_next_when_every_rung_is_spent_or_due() -> None:
    assert explained(opened(long_100(), mark("120"))).upcoming is None


def test_guards_stand_whether_or_not_anything_is_due() -> None:
    frozen = opened(long_100())._replace(frozen="looked wrong")
    shut = guards(killed=True, budget=0)
    assert explained(frozen, shut).refusals == {Refusal.KILLED, Refusal.FROZEN, Refusal.RATE_LIMITED}


def test_nothing_is_left_when_all_is_reserved() -> None:
    live = rules(live=True, ladder=ladder("0.5:1"))
    position = opened(long_100(), mark("105"), the_rules=live)
    assert explained(position, the_rules=live).refusals == {Refusal.NOTHING_LEFT}


def test_failed_attempts_are_counted() -> None:
    live = rules(live=True)
    position, made = run([long_100(), mark("105")], live)
    (intent,) = intents(made)
    position = apply(position, outcome(intent.intent_id), TERMS)
    assert [rung.failures for rung in explained(position, the_rules=live).rungs] == [1, 0, 0]


def test_the_source_of_the_risk_is_what_it_agrees_with() -> None:
    assert explained(opened(long_100())).risk_source is RiskSource.OPENING_STOP
    assert explained(opened(fill("BUY", "1", "100"))).risk_source is RiskSource.FALLBACK
    terms = RiskTerms(Decimal("0.05"))
    published = apply(Position("BTCUSDT"), fill("BUY", "1", "100"), terms)
    assert explained(published, terms=terms).risk_source is RiskSource.PUBLISHED_DISTANCE
    assert explained(published).risk_source is RiskSource.EARLIER
    assert explained(published).implied_stop == Decimal(95)


def test_a_flat_book_has_nothing_to_explain() -> None:
    assert explain_position(Position("BTCUSDT"), RULES, guards(), TERMS) is None
    assert explain_position(opened(long_100(), fill("SELL", "1", "101")), RULES, guards(), TERMS) is None
