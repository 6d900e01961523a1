"""The numbered promises of the position kernel, over random histories, against a model written another way."""

from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from builders import START_MS, TERMS, fold, guards, intents, ladder, look, rules
from hypothesis import given
from hypothesis import strategies as st

from kernel.positions.entry import Entry, Fill, Mark, OrderEnded, OrderEndStatus, Side
from kernel.positions.instrument import Instrument
from kernel.positions.intent import Intent
from kernel.positions.ladder import Basis
from kernel.positions.position import Position, apply
from kernel.positions.quantities import exact

quantities = st.decimals("0.001", "50", places=3)
prices = st.decimals("50", "200", places=2)
stops = st.none() | prices


Step = tuple[int, str, Side, Decimal, Decimal, Decimal | None]
"""Its number, its kind, and the side, quantity, price and stop of a fill."""


@st.composite
def histories(draw: st.DrawFn, outcomes: bool = False) -> list[Step]:
    """Entries in stream order; an outcome names an intent by its number."""
    kinds = ["fill", "fill", "mark", "mark", "mark"] + (["outcome", "answer"] if outcomes else [])
    steps = draw(
        st.lists(st.tuples(st.sampled_from(kinds), st.sampled_from(Side), quantities, prices, stops), max_size=40)
    )
    return [(i, *step) for i, step in enumerate(steps)]


def entry_of(step: Step) -> Entry:
    i, kind, side, qty, price, stop = step
    source_id, time_ms = f"{START_MS + i}-0", START_MS + i
    if kind == "mark":
        return Mark(source_id, time_ms, price)
    return Fill(source_id, time_ms, side, qty, price, stop_loss=stop, atr=None if i % 3 else Decimal(1))


@dataclass
class Book:
    """A position in exact fractions: signed lots instead of a running mean."""

    qty: Fraction = Fraction(0)
    cost: Fraction = Fraction(0)
    base: Fraction = Fraction(0)
    realized: Fraction = Fraction(0)
    epoch: int = 0
    entries: list[Entry] = field(default_factory=list)

    def fill(self, side: Side, qty: Fraction, price: Fraction) -> None:
        signed = qty if side is Side.BUY else -qty
        if self.qty * signed >= 0:
            self._enter(signed, price)
            return
        closing = min(abs(signed), abs(self.qty)) * (1 if self.qty > 0 else -1)
        mean = self.cost / self.qty
        self.realized += closing * (price - mean)
        self.qty -= closing
        self.cost -= closing * mean
        if signed + closing:
            self._enter(signed + closing, price)

    def _enter(self, signed: Fraction, price: Fraction) -> None:
        if not self.qty:
            self.epoch, self.base, self.cost = self.epoch + 1, Fraction(0), Fraction(0)
        self.qty += signed
        self.cost += signed * price
        self.base += abs(signed)


@given(histories())
def test_a_folded_position_equals_the_model(history: list[Step]) -> None:
    book, position = Book(), Position("BTCUSDT")
    for step in history:
        entry = entry_of(step)
        position = apply(position, entry, TERMS)
        if isinstance(entry, Fill):
            book.fill(entry.side, Fraction(entry.qty), Fraction(entry.price))
    assert Fraction(position.holding.qty) == book.qty
    assert position.epoch == book.epoch
    if book.qty:
        assert Fraction(position.holding.base_qty) == book.base
        assert abs(Fraction(position.holding.avg_entry) - book.cost / book.qty) < Fraction(1, 10**9)
    total = position.banked_pnl + position.holding.realized_pnl
    assert abs(Fraction(total) - book.realized) < Fraction(1, 10**6)


@given(histories(), st.integers(0, 40))
def test_folding_in_one_go_or_in_parts_gives_the_same_position(history: list[Step], cut: int) -> None:
    entries = [entry_of(step) for step in history]
    whole = fold(Position("BTCUSDT"), entries, TERMS)
    assert fold(fold(Position("BTCUSDT"), entries[:cut], TERMS), entries[cut:], TERMS) == whole
    one_by_one = Position("BTCUSDT")
    for entry in entries:
        one_by_one = apply(one_by_one, entry, TERMS)
    assert one_by_one == whole


@given(histories(), st.data())
def test_repeating_any_entries_changes_nothing(history: list[Step], data: st.DataObject) -> None:
    entries = [entry_of(step) for step in history]
    doubled = [e for i, entry in enumerate(entries) for e in [entry, *entries[: data.draw(st.integers(0, i + 1))]]]
    assert fold(Position("BTCUSDT"), doubled, TERMS) == fold(Position("BTCUSDT"), entries, TERMS)


@given(
    histories(outcomes=True),
    st.booleans(),
    st.sampled_from(Basis),
    st.sampled_from(["0.001", "0.1", "1"]),
    st.booleans(),
)
def test_every_promise_about_intents_holds_at_every_step(
    history: list[Step], live: bool, basis: Basis, step_size: str, with_minimum: bool
) -> None:
    """Reservations fit; rungs once per attempt; exits oppose, are positive, on the step, and fit; stops tighten.

    And a second look at the same entries decides nothing that the first did not.
    """
    the_rules = rules(
        live=live,
        ladder=ladder(basis=basis),
        set_be_at_r=Decimal("0.5"),
        instrument=Instrument(Decimal(step_size), min_notional=Decimal(100 if with_minimum else 0)),
    )
    position, seen_actions = Position("BTCUSDT"), set()
    sent: list[Intent] = []
    for step in history:
        position = apply(position, answered(step, sent), TERMS)
        before = position
        position, decisions = look(position, the_rules, guards())
        for intent in intents(decisions):
            assert (intent.position_id, intent.action) not in seen_actions
            seen_actions.add((intent.position_id, intent.action))
            assert intent.side.sign == -before.holding.sign
            assert 0 < intent.qty <= abs(before.holding.qty)
            if intent.rungs:
                assert intent.qty <= before.available
                assert intent.qty % Decimal(step_size) == 0 or intent.qty == before.available
                sent.append(intent)
            else:
                assert intent.stop_price is not None
                resized = intent.action.startswith("resize:")
                assert resized == (intent.stop_price == before.ladder_state.stop)
                assert resized or is_tighter(before.ladder_state.stop, intent.stop_price, before.holding.sign)
                assert intent.qty == abs(before.holding.qty)
                assert (before.mark.price - intent.stop_price) * before.holding.sign > 0
        assert 0 <= position.ladder_state.reserved <= abs(position.holding.qty)
        assert look(position, the_rules, guards()) == (position, [])  # an extra wake-up publishes nothing


def answered(step: Step, sent: list[Intent]) -> Entry:
    """Steps of kind `outcome` end the newest intent, `answer` fills half of it."""
    i, kind, _, _, price, _ = step
    if kind not in ("outcome", "answer"):
        return entry_of(step)
    source_id, time_ms = f"{START_MS + i}-0", START_MS + i
    if not sent:
        return Mark(source_id, time_ms, price)
    newest = sent[-1]
    if kind == "outcome":
        return OrderEnded(source_id, time_ms, OrderEndStatus.CANCELED, newest.intent_id)
    half = (newest.qty / 2).quantize(Decimal("1e-12"))
    return Fill(source_id, time_ms, newest.side, half or newest.qty, price, intent_id=newest.intent_id)


def is_tighter(stop: Decimal | None, moved: Decimal, sign: int) -> bool:
    return stop is None or (moved - stop) * sign > 0


@given(st.lists(prices, min_size=1, max_size=30), quantities)
def test_harvests_of_one_lifecycle_sum_to_at_most_the_ladders_share_of_the_base(
    marks: list[Decimal], qty: Decimal
) -> None:
    position = apply(Position("BTCUSDT"), Fill("1-0", 1, Side.BUY, qty, Decimal(100), stop_loss=Decimal(95)), TERMS)
    taken = Decimal(0)
    for i, price in enumerate(marks):
        position = apply(position, Mark(f"{2 + i}-0", 2 + i, price), TERMS)
        position, decisions = look(position, rules(live=True), guards())
        taken += sum(intent.qty for intent in intents(decisions))
    assert taken <= qty * Decimal("0.75")


@given(st.lists(prices, min_size=1, max_size=20), quantities, st.decimals("0.1", "9", places=1))
def test_which_rungs_fire_does_not_depend_on_the_quantity(marks: list[Decimal], qty: Decimal, factor: Decimal) -> None:
    def rungs_of(size: Decimal) -> list[object]:
        position = apply(Position("B2"), Fill("1-0", 1, Side.BUY, size, Decimal(100), stop_loss=Decimal(95)), TERMS)
        fired: list[object] = []
        for i, price in enumerate(marks):
            position = apply(position, Mark(f"{2 + i}-0", 2 + i, price), TERMS)
            position, decisions = look(position, rules(), guards())
            fired += [(i, intent.rungs, intent.reason) for intent in intents(decisions)]
        return fired

    assert rungs_of(qty) == rungs_of(qty * factor)


@given(st.lists(st.decimals("51", "149", places=2), min_size=1, max_size=20), quantities)
def test_a_short_mirrors_a_long(marks: list[Decimal], qty: Decimal) -> None:
    """Reflecting every price at the entry turns a long's harvests into a short's, to the quantity."""
    the_rules = rules(live=True, set_be_at_r=Decimal("0.5"))

    def harvests(side: Side, reflect: int) -> list[tuple[object, ...]]:
        stop = Decimal(100) - reflect * Decimal(5)
        position = apply(Position("B2"), Fill("1-0", 1, side, qty, Decimal(100), stop_loss=stop, atr=Decimal(2)), TERMS)
        made: list[tuple[object, ...]] = []
        for i, price in enumerate(marks):
            reflected = Decimal(100) + reflect * (price - 100)
            position = apply(position, Mark(f"{2 + i}-0", 2 + i, reflected), TERMS)
            position, decisions = look(position, the_rules, guards())
            made += [(i, it.kind, it.qty, it.rungs, mirrored_stop(it, reflect)) for it in intents(decisions)]
        return [m for m in made if m[1] != "TRAIL_UPDATE"]

    assert harvests(Side.BUY, 1) == harvests(Side.SELL, -1)


@exact
def mirrored_stop(intent: Intent, reflect: int) -> Decimal | None:
    return None if intent.stop_price is None else reflect * (intent.stop_price - 100)
