"""What one symbol's books should do, written once more from the rules alone: exact fractions, mutable state, no thrift.

Nothing of the code under test is imported. A `Symbol` says which books an entry reaches; a `Book` folds one entry and
then looks at what is due. Entries are dicts: a producer's own fields, or `{"internal": ...}` for what producers never
write (adopt, overdue, freeze, release, look). What a book does comes back as `Published`, `Held` and `Noted`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor
from typing import Any

ZERO = Fraction(0)
GRAIN = Fraction(1, 10**12)
DECIMALS = 60
"""More than any sum or product of values on the grid has."""
NUMERALS = frozenset({"qty", "price", "stop_loss", "atr", "fee", "amount", "tracked_qty", "entry", "stop"})
FUTURE_MS = 2_000
MINUTE_MS = 60_000
ATTEMPTS = 3
NEAREST_STOP = Fraction(1, 10_000)
RESIZE = Fraction(1, 10)
SIGNS = {"BUY": 1, "SELL": -1}
SIDES = {1: "BUY", -1: "SELL"}
LEGS = {"LONG": 1, "SHORT": -1}
FILLS = ("FILLED", "PARTIAL")

Fields = Mapping[str, Any]
Name = tuple[str, str]
"""What identifies an intent: its position id and its action."""


def grid(value: Fraction) -> Fraction:
    """`value` rounded half-even to 12 decimals."""
    return Fraction(round(value * 10**12), 10**12)


def text(value: Fraction) -> str:
    """A decimal fraction in plain digits."""
    scaled, rest = divmod(abs(value.numerator) * 10**DECIMALS, value.denominator)
    assert not rest, value
    digits = str(scaled).rjust(DECIMALS + 1, "0")
    whole, tail = digits[:-DECIMALS], digits[-DECIMALS:].rstrip("0")
    return ("-" if value < 0 else "") + whole + (f".{tail}" if tail else "")


@dataclass(frozen=True)
class Lot:
    """How the exchange deals in the instrument; None where it says nothing."""

    step: Fraction = GRAIN
    min_qty: Fraction = ZERO
    min_notional: Fraction = ZERO
    max_qty: Fraction | None = None
    tick: Fraction | None = None

    def accepts(self, qty: Fraction, mark: Fraction) -> bool:
        return qty > 0 and qty >= self.min_qty and qty * mark >= self.min_notional

    def down(self, qty: Fraction) -> Fraction:
        return floor(qty / self.step) * self.step

    def children(self, qty: Fraction) -> list[Fraction]:
        """As equal as the step allows, larger ones first; what is finer than the step goes with the last."""
        if self.max_qty is None:
            return [qty]
        n = ceil(qty / self.max_qty)
        steps = floor(qty / self.step)
        sizes = [(steps // n + (k < steps % n)) * self.step for k in range(n)]
        sizes[-1] += qty - steps * self.step
        return sizes

    def to_market(self, price: Fraction, sign: int) -> Fraction:
        if self.tick is None:
            return grid(price)
        return (ceil if sign > 0 else floor)(price / self.tick) * self.tick


@dataclass(frozen=True)
class Rules:
    """The desk's settings. `ladder` holds (level, fraction) in ascending order, `basis` is original or remaining."""

    ladder: Sequence[tuple[Fraction, Fraction]]
    basis: str
    set_be_at_r: Fraction
    trail_mult: Fraction
    eps: Fraction
    cost_bps: Fraction
    atr: Fraction | None
    lot: Lot
    max_children: int
    live: bool
    stop_dist: Fraction | None
    fallback: Fraction
    be_plus: Fraction = Fraction(2, 1000)


@dataclass
class World:
    """What is outside of every book: the clock, the kill switch, the sliding minute, and which intents are out."""

    now_ms: int
    per_minute: int
    fresh_ms: int = 30_000
    killed: bool = False
    sent_ms: list[int] = field(default_factory=list)
    out: set[Name] = field(default_factory=set)

    @property
    def budget(self) -> int:
        return self.per_minute - sum(at > self.now_ms - MINUTE_MS for at in self.sent_ms)


@dataclass
class Reservation:
    """`claims` are (rung, attempt, share)."""

    qty: Fraction
    claims: list[tuple[Fraction, int, Fraction]]
    placed_ms: int
    filled: Fraction = ZERO
    alarmed: bool = False


@dataclass(frozen=True)
class Published:
    """`kind` is partial, sl_be, trail or resize."""

    position_id: str
    action: str
    kind: str
    side: str
    qty: Fraction
    rungs: tuple[str, ...] = ()
    stop_price: Fraction | None = None

    @property
    def name(self) -> Name:
        return self.position_id, self.action


@dataclass(frozen=True)
class Held:
    position_id: str
    action: str
    reason: str


@dataclass(frozen=True)
class Noted:
    """An event that is no decision but worth a line: clamped, exhausted, unanswered, adopted, frozen, and so on."""

    position_id: str
    what: str
    detail: str


Deed = Published | Held | Noted


@dataclass
class Due:
    """What would go out under the action `name`, or why nothing can; `carry` is left over once it is out."""

    name: str
    kind: str
    going_out: list[Published] = field(default_factory=list)
    impossible: str | None = None
    claims: list[tuple[Fraction, int, Fraction]] = field(default_factory=list)
    carry: Fraction = ZERO
    branches: list[str] = field(default_factory=list)


@dataclass
class LadderState:
    """What a lifecycle has led to so far. `reserved` is oldest first."""

    stop: Fraction | None = None
    stop_qty: Fraction | None = None
    break_even: bool = False
    atr: Fraction | None = None
    spent: set[Fraction] = field(default_factory=set)
    failures: dict[Fraction, int] = field(default_factory=dict)
    firings: dict[Fraction, int] = field(default_factory=dict)
    owed: dict[Fraction, Fraction] = field(default_factory=dict)
    carry: Fraction = ZERO
    reserved: dict[Name, Reservation] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)


@dataclass
class Holding:
    qty: Fraction = ZERO
    entry: Fraction = ZERO
    base: Fraction = ZERO
    risk: Fraction = ZERO
    realized: Fraction = ZERO
    fees: Fraction = ZERO
    funding: Fraction = ZERO
    other_fees: dict[str, Fraction] = field(default_factory=dict)
    origin: str = "fills"

    @property
    def net(self) -> Fraction:
        return self.realized - self.fees + self.funding

    @property
    def net_r(self) -> Fraction:
        """What the lifecycle made, in R; 0 when it never began."""
        return self.net / (self.risk * self.base) if self.base else ZERO

    def pay(self, asset: str, amount: Fraction) -> None:
        self.other_fees[asset] = self.other_fees.get(asset, ZERO) + amount


@dataclass
class MarkState:
    price: Fraction
    time_ms: int
    peak: Fraction
    trough: Fraction


class Book:
    """One book. `leg` is 0 for a netting book, else the sign of its leg."""

    def __init__(self, name: str, rules: Rules, names: Mapping[str, Name], branches: Counter[str]) -> None:
        self.name = name
        self.rules = rules
        self.names = names
        self.branches = branches
        self.leg = LEGS.get(name.partition(":")[2], 0)
        self.epoch = 0
        self.holding = Holding()
        self.ladder_state = LadderState()
        self.mark: MarkState | None = None
        self.banked = ZERO
        self.frozen = ""
        self.trades: dict[str, tuple[Any, ...]] = {}
        self.applied = (0, 0)
        self.deeds: list[Deed] = []

    # What the book is.

    @property
    def position_id(self) -> str:
        return f"{self.name}:{self.epoch}"

    @property
    def sign(self) -> int:
        signed = self.holding.qty.numerator
        return (signed > 0) - (signed < 0)

    @property
    def reserved(self) -> Fraction:
        return sum((r.qty for r in self.ladder_state.reserved.values()), ZERO)

    @property
    def available(self) -> Fraction:
        return abs(self.holding.qty) - self.reserved

    @property
    def cost(self) -> Fraction:
        return self.holding.entry * self.rules.cost_bps / 10_000

    @property
    def r(self) -> Fraction:
        assert self.mark is not None
        return (self.sign * (self.mark.price - self.holding.entry) - self.cost) / self.holding.risk

    def price_at(self, r: Fraction) -> Fraction:
        """The mark that makes R exactly `r`."""
        return self.holding.entry + self.sign * (r * self.holding.risk + self.cost)

    # One entry: fold, then look.

    def take(self, entry: Fields, entry_id: str, world: World) -> list[Deed]:
        """`entry_id` is its id in the input stream, empty for what does not come from there."""
        self.deeds = []
        said = {name: Fraction(value) if name in NUMERALS else value for name, value in entry.items()}
        if self._fold(said, entry_id):
            self._look(world)
        return self.deeds

    def _fold(self, said: Fields, entry_id: str) -> bool:
        """Whether there is a reason to look: a repetition gives none."""
        if entry_id and _pair(entry_id) <= self.applied:
            self._count("repeated")
            return False
        kind = said.get("internal") or said["status"]
        if kind in FILLS and self._is_known_trade(said):
            return False
        self.applied = _pair(entry_id) if entry_id else self.applied
        if kind in FILLS and said.get("trade_id") in self.trades:
            self._freeze({"reason": "trade_id_reused"})
        elif kind in FILLS:
            self._fill(said, entry_id)
        elif kind == "PRICE_UPDATE":
            self._see(said, entry_id)
            self._count("mark")
        elif kind in ("REJECTED", "CANCELED", "EXPIRED"):
            self._outcome(kind, self._named(said))
        elif kind == "FUNDING":
            self._funding(said["amount"], self._other_asset(said.get("asset")))
        else:
            {"adopt": self._adopt, "overdue": self._overdue, "freeze": self._freeze, "release": self._release}.get(
                kind, self._nothing
            )(said)
        return True

    def _is_known_trade(self, said: Fields) -> bool:
        trade = said.get("trade_id")
        if trade is None or trade not in self.trades:
            return False
        same = self.trades[trade] == _content(said)
        self._count("duplicate_trade" if same else "trade_id_reused")
        return same

    def _named(self, said: Fields) -> Name | None:
        """The intent that an entry names, if it is ours."""
        return self.names.get(said.get("intent_id", ""))

    # Fills.

    def _fill(self, said: Fields, entry_id: str) -> None:
        if "trade_id" in said:
            self.trades[said["trade_id"]] = _content(said)
        self._see(said, entry_id)
        sign = SIGNS[said["side"]]
        if self.sign == 0:
            self._from_flat(said, sign)
        elif sign == self.sign:
            self._add(said)
        else:
            self._oppose(said)
        self._fee(said)

    def _from_flat(self, said: Fields, sign: int) -> None:
        if self.leg and sign != self.leg:
            self._note("clamped", text(said["qty"]))
            self._count("excess_of_a_flat_leg")
            return
        self._open(sign * said["qty"], said["price"], said.get("stop_loss"), "fills")
        self.ladder_state.atr = said.get("atr")
        self._count("open")

    def _open(self, qty: Fraction, price: Fraction, stop: Fraction | None, origin: str) -> None:
        """A new lifecycle."""
        self.banked += self.holding.net
        self.epoch += 1
        stop = self._usable(stop, price, 1 if qty > 0 else -1)
        self.holding = Holding(qty, price, abs(qty), self._risk(price, stop), origin=origin)
        self.ladder_state = LadderState(stop=stop)
        if self.mark is not None:
            self.mark = MarkState(self.mark.price, self.mark.time_ms, self.mark.price, self.mark.price)

    def _risk(self, price: Fraction, stop: Fraction | None) -> Fraction:
        if stop is not None:
            self._count("risk_of_stop")
            return abs(price - stop)
        published = self.rules.stop_dist
        self._count("risk_of_fallback" if published is None else "risk_of_distance")
        return max(grid(price * (self.rules.fallback if published is None else published)), GRAIN)

    def _usable(self, stop: Fraction | None, price: Fraction, sign: int) -> Fraction | None:
        if stop is None:
            return None
        distance = (price - stop) * sign
        if NEAREST_STOP * price <= distance < price:
            return stop
        self._count("stop_unusable")
        return None

    def _add(self, said: Fields) -> None:
        held, qty = self.holding, said["qty"]
        held.entry = grid((abs(held.qty) * held.entry + qty * said["price"]) / (abs(held.qty) + qty))
        held.qty += self.sign * qty
        held.base += qty
        self._atr(said)
        self._count("add")

    def _oppose(self, said: Fields) -> None:
        sign, closing = self.sign, min(said["qty"], abs(self.holding.qty))
        self.holding.realized += (said["price"] - self.holding.entry) * closing * sign
        self.holding.qty -= sign * closing
        if self.holding.qty:
            self._answer(self._named(said), closing)
            self._clamp()
            self._atr(said)
            self._count("reduce")
        else:
            self.ladder_state = LadderState()
            self._beyond(said, -sign, said["qty"] - closing)

    def _beyond(self, said: Fields, sign: int, rest: Fraction) -> None:
        """`rest` of a fill after it closed all that was held."""
        self._count("close")
        if rest and self.leg:
            self._note("clamped", text(rest))
            self._count("excess_of_a_leg")
        elif rest:
            self._open(sign * rest, said["price"], said.get("stop_loss"), "fills")
            self.ladder_state.atr = said.get("atr")
            self._count("flip")

    def _atr(self, said: Fields) -> None:
        if "atr" in said:
            self.ladder_state.atr = said["atr"]
            self._count("atr_replaced")

    def _answer(self, name: Name | None, closing: Fraction) -> None:
        """A fill executes an intent."""
        if name is None or name not in self.ladder_state.reserved:
            return
        reservation = self.ladder_state.reserved[name]
        taken = min(closing, reservation.qty)
        reservation.filled += taken
        reservation.qty -= taken
        self._count("answered_in_part" if reservation.qty else "answered_in_full")
        self._drop_empty()

    def _clamp(self) -> None:
        """What is reserved may not exceed what is held: the newest gives way first."""
        for reservation in reversed(self.ladder_state.reserved.values()):
            over = self.reserved - abs(self.holding.qty)
            if over > 0:
                reservation.qty -= min(over, reservation.qty)
                self._count("clamp")
        self._drop_empty()

    def _drop_empty(self) -> None:
        for name in [name for name, reservation in self.ladder_state.reserved.items() if not reservation.qty]:
            del self.ladder_state.reserved[name]

    def _fee(self, said: Fields) -> None:
        """It counts in the lifecycle that the position is in after the fill."""
        asset = self._other_asset(said.get("fee_asset"))
        if "fee" in said and asset:
            self.holding.pay(asset, said["fee"])
            self._count("fee_in_another_asset")
        elif "fee" in said:
            self.holding.fees += said["fee"]
            self._count("fee_in_quote")

    def _other_asset(self, asset: str | None) -> str | None:
        """None is the quote currency: what a symbol's name ends with."""
        return None if asset is None or self.name.partition(":")[0].endswith(asset) else asset

    # Everything else that is folded.

    def _see(self, said: Fields, entry_id: str) -> None:
        """The newest event time wins, unless it was claimed for the future."""
        arrived_ms, price = _pair(entry_id)[0], said["price"]
        time_ms = int(said.get("ts", arrived_ms))
        mark = self.mark
        if mark is None:
            self.mark = MarkState(price, time_ms, price, price)
            return
        if time_ms < mark.time_ms:
            is_from_the_future = mark.time_ms > arrived_ms + FUTURE_MS
            self._count("future_price_loses" if is_from_the_future else "old_price")
            if not is_from_the_future:
                return
        if time_ms > arrived_ms + FUTURE_MS:
            self._count("future_price_is_no_peak")
            self.mark = MarkState(price, time_ms, mark.peak, mark.trough)
            return
        self.mark = MarkState(price, time_ms, max(mark.peak, price), min(mark.trough, price))

    def _outcome(self, status: str, name: Name | None) -> None:
        reservation = self.ladder_state.reserved.pop(name, None) if name else None
        if reservation is None:
            self._count("outcome_of_a_stranger" if name is None else "outcome_of_no_reservation")
            return
        self._count(f"outcome_{status.lower()}")
        verdicts = [(rung, share, self._failed(rung, attempt)) for rung, attempt, share in reservation.claims]
        again = [(rung, share) for rung, share, may_ask_again in verdicts if may_ask_again]
        left = reservation.qty
        for rung, share in again:
            part = left if rung == again[-1][0] else min(share, left)
            left -= part
            self._arm_again(rung, part)

    def _failed(self, rung: Fraction, attempt: int) -> bool:
        """Count a failure of `rung`; whether it may be asked again."""
        before = self.ladder_state.failures.get(rung, 0)
        failures = self.ladder_state.failures[rung] = max(before, attempt)
        if before < ATTEMPTS <= failures:
            self._note("exhausted", text(rung))
            self._count("exhausted" if rung in self.ladder_state.spent else "exhausted_while_armed")
            self.ladder_state.spent.add(rung)
            self.ladder_state.owed.pop(rung, None)
        return failures < ATTEMPTS

    def _arm_again(self, rung: Fraction, part: Fraction) -> None:
        """It asks next for what its intents left, and no more."""
        state = self.ladder_state
        self._count("rearm" if rung in state.spent else "rearm_of_another_part")
        state.spent.discard(rung)
        state.owed[rung] = state.owed.get(rung, ZERO) + part

    def _funding(self, amount: Fraction, asset: str | None) -> None:
        if asset is None:
            self.holding.funding += amount
            self._count("funding_in_quote")
        else:
            self.holding.pay(asset, -amount)
            self._count("funding_in_another_asset")

    def _adopt(self, said: Fields) -> None:
        qty = said["qty"]
        if self.holding.qty != said["tracked_qty"]:
            self._note("adoption_refused", text(qty))
            self._count("adopt_refused")
            return
        self._note("adopted", text(qty))
        if qty == self.holding.qty and (qty == 0 or said["entry"] == self.holding.entry):
            self._count("adopt_nothing_new")
        elif qty == 0:
            self.holding.qty, self.holding.origin = ZERO, "adopted"
            self.ladder_state = LadderState()
            self._count("adopt_flat")
        elif qty * self.holding.qty > 0:
            self._adopt_same(qty, said["entry"])
        else:
            self._count("adopt_other_side" if self.holding.qty else "adopt_new")
            self._open(qty, said["entry"], said.get("stop"), "adopted")

    def _adopt_same(self, qty: Fraction, entry: Fraction) -> None:
        held = self.holding
        self._count("adopt_more" if abs(qty) > abs(held.qty) else "adopt_less")
        held.base += max(ZERO, abs(qty) - abs(held.qty))
        held.qty, held.entry, held.origin = qty, entry, "adopted"
        self._clamp()

    def _overdue(self, said: Fields) -> None:
        for name, reservation in self.ladder_state.reserved.items():
            if reservation.placed_ms <= said["placed_before_ms"] and not reservation.alarmed:
                reservation.alarmed = True
                self._note("unanswered", name[1])
                self._count("overdue")

    def _freeze(self, said: Fields) -> None:
        """The first reason stays."""
        self.frozen = self.frozen or said["reason"]
        self._note("frozen", said["reason"])
        self._count(f"frozen_{said['reason']}")

    def _release(self, _said: Fields) -> None:
        self._count("release" if self.frozen else "release_of_a_free_book")
        self.frozen = ""
        self._note("released", "")

    def _nothing(self, _said: Fields) -> None:
        self._count("look_again")

    # Looking at what is due.

    def _look(self, world: World) -> None:
        """A harvest, a stop move, and one more: a break-even may make a trailing due."""
        if not self.holding.qty or self.mark is None:
            return
        for owed in (self._harvest, self._stop_move, self._stop_move):
            due = owed()
            if due is not None:
                self._settle(due, world)

    def _settle(self, due: Due, world: World) -> None:
        reason = due.impossible or self._guard(due.going_out, world)
        if reason is not None:
            self._hold(due.name, reason)
            return
        self.ladder_state.held.pop(due.name, None)
        for published in due.going_out:
            world.sent_ms.append(world.now_ms)
            world.out.add(published.name)
            self.deeds.append(published)
        self._went_out(due)

    def _guard(self, going_out: Sequence[Published], world: World) -> str | None:
        assert self.mark is not None
        if world.killed:
            return "killed"
        if self.frozen:
            return "frozen"
        if not -FUTURE_MS <= world.now_ms - self.mark.time_ms < world.fresh_ms:
            return "stale"
        if world.budget < len(going_out):
            return "rate_limited"
        return "duplicate" if any(published.name in world.out for published in going_out) else None

    def _hold(self, action: str, reason: str) -> None:
        """Recorded when it differs from the last refusal of that action."""
        if self.ladder_state.held.get(action) != reason:
            self.ladder_state.held[action] = reason
            self.deeds.append(Held(self.position_id, action, reason))
            self._count(f"held_{reason}")

    def _went_out(self, due: Due) -> None:
        state = self.ladder_state
        for branch in due.branches:
            self._count(branch)
        if due.kind != "partial":
            state.stop = due.going_out[0].stop_price
            state.stop_qty = due.going_out[0].qty
            state.break_even = True
            return
        number = int(due.name.rpartition(":")[2])
        for rung, _, _ in due.claims:
            state.spent.add(rung)
            state.firings[rung] = number
            state.owed.pop(rung, None)
        state.held = {name: why for name, why in state.held.items() if not name.startswith("partial:")}
        state.carry = due.carry
        if self.rules.live:
            assert self.mark is not None
            for child in due.going_out:
                state.reserved[child.name] = Reservation(child.qty, list(due.claims), self.mark.time_ms)

    # Harvests.

    def _harvest(self) -> Due | None:
        claims = self._claims()
        if not claims:
            return None
        number = 1 + max(self.ladder_state.firings.get(rung, 0) for rung, _, _ in claims)
        due = Due(f"partial:{'+'.join(text(rung) for rung, _, _ in claims)}:{number}", "partial", claims=claims)
        assert self.mark is not None
        if self.available <= 0:
            due.impossible = "nothing_left"
            return due
        qty = self._wanted(due)
        if not self.rules.lot.accepts(qty, self.mark.price):
            due.impossible = "below_minimum"
            return due
        self._divide(due, self._with_rest(due, qty))
        self._describe(due)
        return due

    def _claims(self) -> list[tuple[Fraction, int, Fraction]]:
        """Of every rung that is due."""
        of = self.holding.base if self.rules.basis == "original" else self.available
        r, state = self.r, self.ladder_state
        return [
            (level, state.failures.get(level, 0) + 1, state.owed.get(level, fraction * of))
            for level, fraction in self.rules.ladder
            if r >= level and level not in state.spent
        ]

    def _wanted(self, due: Due) -> Fraction:
        """What to ask for; what stays over is carried on, with what was above the most that can go out."""
        wanted = self.ladder_state.carry + sum(share for _, _, share in due.claims)
        rounded, most = self.rules.lot.down(max(wanted, ZERO)), self._most()
        possible = min(self.available, rounded)
        due.carry = wanted - rounded
        if self.ladder_state.carry > 0:
            due.branches.append("carry_used")
        if most is not None and possible > most:
            due.carry += possible - most
            due.branches.append("cut_to_the_most")
            return most
        return possible

    def _most(self) -> Fraction | None:
        most = self.rules.lot.max_qty
        return None if most is None else self.rules.lot.down(most) * self.rules.max_children

    def _with_rest(self, due: Due, qty: Fraction) -> Fraction:
        """A remainder that could never be closed goes along."""
        assert self.mark is not None
        rest, most = self.available - qty, self._most()
        if rest > 0 and not self.rules.lot.accepts(rest, self.mark.price) and (most is None or self.available <= most):
            due.branches.append("rest_taken_along")
            return self.available
        return qty

    def _divide(self, due: Due, qty: Fraction) -> None:
        sizes = self.rules.lot.children(qty)
        n, side = len(sizes), SIDES[-self.sign]
        rungs = tuple(text(rung) for rung, _, _ in due.claims)
        for k, size in enumerate(sizes, start=1):
            action = due.name if n == 1 else f"{due.name}:{k}of{n}"
            due.going_out.append(Published(self.position_id, action, "partial", side, size, rungs))

    def _describe(self, due: Due) -> None:
        due.branches += [
            "published_rungs_together" if len(due.claims) > 1 else "published_one_rung",
            "published_again" if any(attempt > 1 for _, attempt, _ in due.claims) else "published_first",
            "published_parts" if len(due.going_out) > 1 else "published_whole",
            "published_live" if self.rules.live else "published_shadow",
        ]

    # Stops.

    def _stop_move(self) -> Due | None:
        self._heed_break_even()
        if not self.ladder_state.break_even:
            return self._break_even()
        return self._trail() or self._resize()

    def _heed_break_even(self) -> None:
        """A stop that protects as much already has break-even behind it."""
        if self.ladder_state.break_even or self.r < self.rules.set_be_at_r:
            return
        if not self._is_tighter(self._break_even_price()):
            self.ladder_state.break_even = True
            self._count("break_even_was_behind")

    def _break_even_price(self) -> Fraction:
        return self.rules.lot.to_market(self.holding.entry * (1 + self.sign * self.rules.be_plus), self.sign)

    def _break_even(self) -> Due | None:
        if self.r < self.rules.set_be_at_r:
            return None
        price = self._break_even_price()
        return self._move("sl_be", "sl_be", price) if self._is_protecting(price) else None

    def _trail(self) -> Due | None:
        atr = self.rules.atr if self.ladder_state.atr is None else self.ladder_state.atr
        stop, mark = self.ladder_state.stop, self.mark
        if atr is None or stop is None or mark is None:
            return None
        extreme = mark.peak if self.sign > 0 else mark.trough
        price = self.rules.lot.to_market(extreme - self.sign * self.rules.trail_mult * atr, self.sign)
        if not self._is_tighter(price) or not self._is_protecting(price) or abs(price - stop) < self.rules.eps * stop:
            return None
        return self._move("trail", f"trail:{text(price)}", price)

    def _resize(self) -> Due | None:
        stop, of, qty = self.ladder_state.stop, self.ladder_state.stop_qty, abs(self.holding.qty)
        if stop is None or of is None or self.reserved or not self._is_protecting(stop):
            return None
        if abs(qty - of) < RESIZE * of:
            return None
        return self._move("resize", f"resize:{text(stop)}:{text(self.holding.base)}:{text(qty)}", stop)

    def _move(self, name: str, action: str, price: Fraction) -> Due:
        moved = Published(self.position_id, action, name, SIDES[-self.sign], abs(self.holding.qty), (), price)
        return Due(name, name, [moved], branches=[f"published_{name}"])

    def _is_tighter(self, price: Fraction) -> bool:
        return self.ladder_state.stop is None or (price - self.ladder_state.stop) * self.sign > 0

    def _is_protecting(self, price: Fraction) -> bool:
        assert self.mark is not None
        return (self.mark.price - price) * self.sign > 0

    # Telling.

    def _note(self, what: str, detail: str) -> None:
        self.deeds.append(Noted(self.position_id, what, detail))

    def _count(self, branch: str) -> None:
        self.branches[branch] += 1


class Symbol:
    """One symbol: its books, and which of them an entry reaches.

    `names` says which intent id stands for which intent; whoever sees one published writes it down.
    """

    def __init__(self, name: str, rules: Rules, branches: Counter[str]) -> None:
        self.name = name
        self.rules = rules
        self.branches = branches
        self.names: dict[str, Name] = {}
        self.books: dict[str, Book] = {}

    def book(self, name: str) -> Book:
        """The book of that name, made when it is new."""
        if name not in self.books:
            self.books[name] = Book(name, self.rules, self.names, self.branches)
        return self.books[name]

    def reached(self, entry: Fields) -> list[tuple[Book, Fields]]:
        """The books that `entry` reaches, each with what it gets to read."""
        if "internal" in entry:
            return [(self.book(entry["book"]), entry)]
        status, side = entry["status"], entry.get("position_side")
        named = f"{self.name}:{side}" if side in LEGS else self.name
        if status in FILLS:
            return self._fill(named, entry)
        if status == "FUNDING":
            return self._funding(named, entry)
        if status != "PRICE_UPDATE" and side is not None:
            return [(self.books[named], entry)] if named in self.books else []
        return [(book, entry) for book in self.books.values()]

    def _is_in_the_other_mode(self, named: str) -> bool:
        return any((":" in known) != (":" in named) for known in self.books)

    def _fill(self, named: str, entry: Fields) -> list[tuple[Book, Fields]]:
        if self._is_in_the_other_mode(named):
            return [(book, {"internal": "freeze", "reason": "position_mode"}) for book in self.books.values()]
        if entry["qty"].startswith("-"):
            return [(self.book(named), {"internal": "freeze", "reason": "refused"})]
        return [(self.book(named), entry)]

    def _funding(self, named: str, entry: Fields) -> list[tuple[Book, Fields]]:
        if named in self.books:
            return [(self.books[named], entry)]
        self.branches["funding_of_the_other_mode" if self._is_in_the_other_mode(named) else "funding_unseen"] += 1
        return []


def _pair(entry_id: str) -> tuple[int, int]:
    ms, _, seq = entry_id.partition("-")
    return int(ms), int(seq)


def _content(said: Fields) -> tuple[Any, ...]:
    """What makes two fills the same trade."""
    return said["side"], said["qty"], said["price"]
