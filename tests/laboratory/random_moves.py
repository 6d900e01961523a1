"""Random desks and random moves for them, drawn from bytes: zeros mean the plainest thing, so that what fails shrinks.

A move is resolved while it runs: which intents are out, where the next rung lies and what a book holds is looked up in
the model. What comes of a move is what would be fed (`Fed`), said to a book (`Told`), or done around them (`Done`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, TypeVar

from laboratory.model import LEGS, SIDES, Book, Lot, Name, Rules, Symbol, World, grid, text

T = TypeVar("T")

SYMBOL: Final = "BTCUSDT"
START_MS: Final = 1_700_000_000_000
SETUP_BYTES: Final = 16
MOVE_BYTES: Final = 16
MOVES: Final = 40

LADDERS: Final = (
    "0.5:0.25,1:0.25,1.5:0.25",
    "0.5:0.25,1:0.25,1.5:0.25,2:0.25",
    "1:0.5,2:0.5",
    "0.5:1",
    "0.5:0.3,0.75:0.3,1:0.4",
    "0.5:0.125,1:0.333",
)
Named = Mapping[str, str]

LISTED_LOTS: Final[Sequence[Named]] = (
    {},
    {"step": "1", "min_qty": "1", "min_notional": "0.01", "tick": "0.1"},
    {"step": "0.5", "min_qty": "1", "min_notional": "0.01", "tick": "0.5"},
    {"step": "0.5", "min_qty": "0.5", "min_notional": "100", "tick": "0.01"},
    {"step": "1", "min_qty": "1", "min_notional": "0.01", "max_qty": "1", "tick": "0.1"},
    {"step": "0.5", "min_qty": "0.5", "min_notional": "60", "max_qty": "1", "tick": "0.25"},
)
"""What a file of the exchange's can say; {} is a symbol that it does not list."""
LOTS: Final[Sequence[Named]] = (
    *LISTED_LOTS,
    {"step": "0.3"},
    {"step": "0.1", "min_qty": "0.1", "max_qty": "0.7"},
    {"step": "1", "max_qty": "2", "min_notional": "150"},
)


class Draw:
    """Choices read from bytes; when they run out, the plainest."""

    def __init__(self, drawn: bytes) -> None:
        self._bytes = iter(drawn)

    def pick(self, options: Sequence[T]) -> T:
        return options[next(self._bytes, 0) % len(options)]

    def chance(self, of: int) -> bool:
        """True once in `of` times."""
        return next(self._bytes, 0) % of == of - 1


@dataclass(frozen=True)
class Setup:
    """One desk, in the words of its settings."""

    hedge: bool
    live: bool
    ladder: str
    basis: str
    lot: Named
    cost_bps: str
    set_be_at_r: str
    trail_mult: str
    atr: str | None
    eps: str
    stop_dist: str | None
    per_minute: int
    fallback: str = "0.04"

    def rules(self) -> Rules:
        """For the model."""
        pairs = [item.split(":") for item in self.ladder.split(",")]
        return Rules(
            ladder=[(Fraction(level), Fraction(share)) for level, share in pairs],
            basis=self.basis,
            set_be_at_r=Fraction(self.set_be_at_r),
            trail_mult=Fraction(self.trail_mult),
            eps=Fraction(self.eps),
            cost_bps=Fraction(self.cost_bps),
            atr=_maybe(self.atr),
            lot=Lot(**{name: Fraction(value) for name, value in self.lot.items()}),
            max_children=self.per_minute,
            live=self.live,
            stop_dist=_maybe(self.stop_dist),
            fallback=Fraction(self.fallback),
        )


def drawn_setup(drawn: bytes, lots: Sequence[Named] = LOTS) -> Setup:
    draw = Draw(drawn)
    return Setup(
        hedge=draw.chance(3),
        live=not draw.chance(5),
        ladder=draw.pick(LADDERS),
        basis=draw.pick(("original", "original", "remaining")),
        lot=draw.pick(lots),
        cost_bps=draw.pick(("0", "0", "10", "50")),
        set_be_at_r=draw.pick(("0.5", "0.5", "1", "0.02", "100")),
        trail_mult=draw.pick(("2", "1")),
        atr=draw.pick((None, None, "1", "2.5")),
        eps=draw.pick(("0.001", "0.001", "0", "0.1")),
        stop_dist=draw.pick((None, "0.05")),
        per_minute=draw.pick((30, 30, 30, 30, 4, 2)),
    )


@dataclass(frozen=True)
class Fed:
    """An entry of the input stream."""

    fields: Mapping[str, str]


@dataclass(frozen=True)
class Told:
    """Something that reaches a book without the input stream: `{"internal": kind, "book": name, ...}`."""

    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Done:
    """Something that happens around the books: process (what waits for them is taken), kill (the switch is turned),
    presume (an intent's dedup key exists), forget (all dedup keys are gone) or repeat (the newest entry of the input
    reaches its book once more).
    """

    what: str
    name: Name | None = None


Act = Fed | Told | Done


@dataclass
class Player:
    """Resolves moves at one desk. Once in `patience` times what a move brings waits for the next one."""

    symbol: Symbol
    setup: Setup
    world: World
    patience: int
    trade_count: int = 0
    last_trade: Mapping[str, str] | None = None

    def acts(self, drawn: bytes) -> Iterator[Act]:
        """What one move comes to; the clock has moved on before it. Mostly what waits is processed after it."""
        draw = Draw(drawn)
        move = draw.pick(_KINDS)
        if move is not None:
            waits = draw.chance(self.patience)
            self.world.now_ms += draw.pick((10, 10, 10, 10, 10, 10, 10, 300, 2_000, 12_000, 31_000, 61_000))
            yield from move(self, draw)
            if not waits:
                yield Done("process")

    # Moves.

    def _mark(self, draw: Draw) -> Iterator[Act]:
        fields = {"symbol": SYMBOL, "status": "PRICE_UPDATE", "price": self._price(self._some_book(draw), draw)}
        yield Fed(fields | self._ts(draw))

    def _enter(self, draw: Draw) -> Iterator[Act]:
        book = self._some_book(draw)
        sign = book.sign or book.leg or draw.pick((1, -1))
        yield self._fill(book, sign, draw.pick(("4", "2", "8", "1", "2.5", "0.3", "3")), draw)

    def _exit(self, draw: Draw) -> Iterator[Act]:
        """A part of what is held, all, or more."""
        book = self._some_book(draw)
        sign = -(book.sign or book.leg or draw.pick((1, -1)))
        held = abs(book.holding.qty) or Fraction(1)
        part = draw.pick((Fraction(1, 2), Fraction(1), Fraction(1, 4), Fraction(3, 2), Fraction(3, 4), Fraction(2)))
        yield self._fill(book, sign, text(grid(held * part)), draw)

    def _answer(self, draw: Draw) -> Iterator[Act]:
        """A fill that names an intent."""
        book, intent_id = self._some_intent(draw)
        if intent_id is None:
            yield from self._mark(draw)
            return
        reservation = book.ladder_state.reserved.get(self.symbol.names[intent_id])
        asked = Fraction(1) if reservation is None else reservation.qty
        qty = asked * draw.pick((Fraction(1), Fraction(1), Fraction(1), Fraction(1, 2), Fraction(1, 4), Fraction(3, 2)))
        fill = self._fill(book, -(book.sign or book.leg or 1), text(max(grid(qty), Fraction(1, 10**12))), draw)
        yield Fed({**fill.fields, "intent_id": intent_id})

    def _outcome(self, draw: Draw) -> Iterator[Act]:
        book, intent_id = self._some_intent(draw)
        if intent_id is None:
            yield from self._mark(draw)
            return
        status = draw.pick(("REJECTED", "CANCELED", "EXPIRED"))
        named = "a-stranger" if draw.chance(12) else intent_id
        fields = {"symbol": SYMBOL, "status": status, "intent_id": named}
        if book.leg and draw.chance(2):
            fields["position_side"] = book.name.partition(":")[2]
        yield Fed(fields)

    def _outcomes(self, draw: Draw) -> Iterator[Act]:
        """Every intent of a book ends; sometimes one first, and the others once the price is back at the entry."""
        book = self._some_book(draw)
        if book.sign and draw.chance(2):
            yield from self._ends(list(book.ladder_state.reserved)[:1])
            yield Done("process")
            yield Fed({"symbol": SYMBOL, "status": "PRICE_UPDATE", "price": text(book.holding.entry)})
        yield from self._ends(list(book.ladder_state.reserved))

    def _ends(self, names: Sequence[Name]) -> Iterator[Act]:
        ids = {name: intent_id for intent_id, name in self.symbol.names.items()}
        for name in names:
            yield Fed({"symbol": SYMBOL, "status": "REJECTED", "intent_id": ids[name]})

    def _funding(self, draw: Draw) -> Iterator[Act]:
        amount, asset = draw.pick(("0.5", "-0.25", "-1")), draw.pick((None, "USDT", "BNB"))
        fields = {"symbol": SYMBOL, "status": "FUNDING", "amount": amount}
        side = self._side_of(self._some_book(draw), other_mode=draw.chance(8))
        yield Fed(fields | ({} if asset is None else {"asset": asset}) | side)

    def _other_mode(self, draw: Draw) -> Iterator[Act]:
        if not self.symbol.books or not draw.chance(3):
            yield from self._mark(draw)
            return
        book = self._some_book(draw)
        fill = self._fill(book, 1, "1", draw)
        fields = {name: value for name, value in fill.fields.items() if name != "position_side"}
        yield Fed(fields | self._side_of(book, other_mode=True))

    def _again(self, draw: Draw) -> Iterator[Act]:
        """The trade before once more, sometimes with another content."""
        if self.last_trade is None:
            yield from self._enter(draw)
        elif draw.chance(4):
            yield Fed({**self.last_trade, "price": "77"})
        else:
            yield Fed({**self.last_trade, "fee": "3"})

    def _refused(self, draw: Draw) -> Iterator[Act]:
        if not draw.chance(3):
            yield from self._enter(draw)
            return
        fill = self._fill(self._some_book(draw), 1, "-1", draw)
        yield Fed({name: value for name, value in fill.fields.items() if name != "trade_id"})

    def _adopt(self, draw: Draw) -> Iterator[Act]:
        """Mostly another quantity than is tracked, sometimes another entry alone, or nothing new."""
        book = self._some_book(draw)
        held, sign = book.holding.qty, book.sign or book.leg or draw.pick((1, -1))
        qty = draw.pick((held * 2, held / 2, Fraction(0), held + sign, -held, held))
        if book.leg * qty < 0 or (not held and not draw.chance(8)):
            qty = held + sign
        seen = held + 1 if draw.chance(5) else held
        beyond = Fraction(80) if sign > 0 else Fraction(125)
        entry = draw.pick((Fraction(100), book.holding.entry or Fraction(100), beyond))
        stop = draw.pick((None, entry * Fraction(9, 10), entry * Fraction(11, 10)))
        said = {"tracked_qty": seen, "qty": grid(qty), "entry": grid(entry)} | (
            {} if stop is None else {"stop": grid(stop)}
        )
        yield Told({"internal": "adopt", "book": book.name} | {name: text(value) for name, value in said.items()})

    def _overdue(self, draw: Draw) -> Iterator[Act]:
        """Some time ago, or just when the newest intent was published, or just before."""
        for name, book in self.symbol.books.items():
            placed = [reservation.placed_ms for reservation in book.ladder_state.reserved.values()]
            newest = placed[-1] if placed else self.world.now_ms
            before = draw.pick((newest, newest - 1, self.world.now_ms - 1_000, self.world.now_ms - 30_000))
            yield Told({"internal": "overdue", "book": name, "placed_before_ms": before})

    def _release(self, draw: Draw) -> Iterator[Act]:
        frozen = [name for name, book in self.symbol.books.items() if book.frozen]
        if not frozen and not draw.chance(6):
            yield from self._mark(draw)
            return
        for name in frozen or self.symbol.books:
            yield Told({"internal": "release", "book": name})

    def _look(self, draw: Draw) -> Iterator[Act]:
        book = self._some_book(draw)
        if book.name in self.symbol.books:
            yield Told({"internal": "look", "book": book.name})

    def _kill(self, draw: Draw) -> Iterator[Act]:
        if self.world.killed or draw.chance(2):
            yield Done("kill")
        else:
            yield from self._mark(draw)

    def _presume(self, draw: Draw) -> Iterator[Act]:
        """The dedup key of what is due next exists, as after a commit whose reply was lost."""
        book = self._some_book(draw)
        armed = [level for level, _ in self.symbol.rules.ladder if level not in book.ladder_state.spent]
        if not armed or not book.sign:
            yield from self._mark(draw)
            return
        attempt = 1 + book.ladder_state.failures.get(armed[0], 0)
        action = "sl_be" if draw.chance(3) else f"partial:{text(armed[0])}:{attempt}"
        yield Done("presume", (book.position_id, action))

    def _forget(self, draw: Draw) -> Iterator[Act]:
        if draw.chance(2):
            yield Done("forget")
        else:
            yield from self._mark(draw)

    def _repeat(self, _draw: Draw) -> Iterator[Act]:
        yield Done("repeat")

    # What moves are made of.

    def _books(self) -> list[Book]:
        """Those of the desk's mode, seen or not."""
        names = [f"{SYMBOL}:{leg}" for leg in LEGS] if self.setup.hedge else [SYMBOL]
        return [
            self.symbol.books.get(name) or Book(name, self.symbol.rules, {}, self.symbol.branches) for name in names
        ]

    def _some_book(self, draw: Draw) -> Book:
        return draw.pick(self._books())

    def _some_intent(self, draw: Draw) -> tuple[Book, str | None]:
        """One that waits for its answer; sometimes any that was published."""
        book = self._some_book(draw)
        ids = {name: intent_id for intent_id, name in self.symbol.names.items()}
        known = list(ids.values())[-6:] if draw.chance(6) else [ids[name] for name in book.ladder_state.reserved]
        return book, draw.pick(known) if known else None

    def _fill(self, book: Book, sign: int, qty: str, draw: Draw) -> Fed:
        price = self._price(book, draw)
        status = draw.pick(("FILLED", "PARTIAL"))
        fields = {"symbol": SYMBOL, "status": status, "side": SIDES[sign], "qty": qty, "price": price}
        fields |= self._side_of(book) | self._stop_loss(Fraction(price), sign, draw) | self._ts(draw)
        atr, fee, asset = (draw.pick(options) for options in _EXTRAS)
        fields |= {name: value for name, value in (("atr", atr), ("fee", fee)) if value is not None}
        fields |= {"fee_asset": asset} if fee is not None and asset is not None else {}
        if draw.chance(2):
            self.trade_count += 1
            fields["trade_id"] = f"t{self.trade_count}"
            self.last_trade = fields
        return Fed(fields)

    def _side_of(self, book: Book, other_mode: bool = False) -> dict[str, str]:
        hedge = bool(book.leg) is not other_mode
        return {"position_side": "LONG" if book.leg >= 0 else "SHORT"} if hedge else {}

    def _price(self, book: Book, draw: Draw) -> str:
        """Of an open book, near a level of R; else near 100."""
        off = draw.pick((Fraction(0), Fraction(0), Fraction(1, 100), Fraction(-1, 100), Fraction(1, 2)))
        if not book.sign:
            return text(draw.pick((Fraction(100), Fraction(101), Fraction(99))) + off)
        levels = [level for level, _ in self.symbol.rules.ladder]
        near = [*levels, *levels, self.symbol.rules.set_be_at_r, levels[-1] + 1, Fraction(1, 10), Fraction(-1, 2)]
        return text(max(grid(book.price_at(draw.pick(near))) + off, Fraction(1, 100)))

    def _stop_loss(self, price: Fraction, sign: int, draw: Draw) -> dict[str, str]:
        distance = draw.pick(_DISTANCES)
        if distance is None:
            return {}
        return {"stop_loss": text(max(grid(price * (1 - sign * distance)), Fraction(1, 100)))}

    def _ts(self, draw: Draw) -> dict[str, str]:
        """Its own time: mostly none, sometimes long ago, sometimes ahead."""
        ahead = draw.pick((None, None, None, None, None, None, None, -1_000, -40_000, 1_500, 5_000))
        return {} if ahead is None else {"ts": str(self.world.now_ms + ahead)}


_DISTANCES: Final = (
    *(Fraction(1, 10), None, Fraction(1, 20), Fraction(1, 10), Fraction(1, 20), Fraction(1, 10)),
    *(Fraction(-1, 10), Fraction(0), Fraction(1, 10_000), Fraction(9, 100_000), Fraction(1)),
)
"""Of a stop from the price it comes with, as a share of it; below 0 it is on the winning side."""
_EXTRAS: Final = (
    (None, "1", None, "3"),
    (None, "0.04", "-0.01"),
    (None, "USDT", "BNB"),
)
_WEIGHTS: Final[Mapping[Callable[[Player, Draw], Iterator[Act]], int]] = {
    Player._enter: 8,
    Player._mark: 20,
    Player._answer: 8,
    Player._outcome: 10,
    Player._outcomes: 4,
    Player._exit: 4,
    Player._look: 4,
    Player._release: 4,
    Player._adopt: 3,
    Player._again: 2,
    Player._kill: 3,
    Player._overdue: 2,
    Player._funding: 2,
    Player._presume: 2,
    Player._forget: 1,
    Player._refused: 1,
    Player._repeat: 1,
    Player._other_mode: 1,
}
_KINDS: Final[Sequence[Callable[[Player, Draw], Iterator[Act]] | None]] = (
    None,
    *(move for move, weight in _WEIGHTS.items() for _ in range(weight)),
)
"""What the first byte of a move selects; 0 is no move."""


def _maybe(value: str | None) -> Fraction | None:
    return None if value is None else Fraction(value)
