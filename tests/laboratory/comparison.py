"""A random life: moves made at a model and at the code under test, compared whenever the code took what waits."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from harvest_tasks.fills.plan import Delivered, make_plan
from harvest_tasks.wire.execution_result import Routed, parse
from kernel.positions.entry import Adopt, Entry, Freeze, Overdue, Release
from kernel.positions.guards import Guards
from kernel.positions.holding import RiskTerms
from kernel.positions.instrument import Instrument
from kernel.positions.intent import intent_id
from kernel.positions.ladder import Basis, Ladder, Rung
from kernel.positions.position import Position
from kernel.positions.quantities import plain
from kernel.positions.rules import Rules
from laboratory.differences import contrast, differing, said_by_journal, said_by_model
from laboratory.model import Book, Deed, Published, Symbol, World, text
from laboratory.random_moves import START_MS, SYMBOL, Act, Done, Fed, Player, Setup, Told

KINDS = {"partial": "HARVEST", "sl_be": "MOVE_SL_BE", "trail": "TRAIL_UPDATE", "resize": "TRAIL_UPDATE"}

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Asked:
    """An intent as it was published."""

    intent_id: str
    kind: str
    side: str
    qty: Decimal
    rungs: tuple[str, ...]
    stop_price: Decimal | None


@dataclass(frozen=True)
class Taken:
    """What became of a book: its position, and what was journaled and published on the way."""

    position: Position
    journal: Sequence[Mapping[str, str]]
    intents: Sequence[Asked]


class Path(Protocol):
    """The code under test."""

    can_repeat: bool
    """Whether an entry of the input can reach a book twice."""

    def feed(self, fields: Fields, source_id: str, reached: Sequence[tuple[str, Fields]]) -> None:
        """An entry of the input, and which books are to get what of it."""

    def tell(self, book: str, fields: Fields, now_ms: int) -> None:
        """What does not come from the input."""

    def process(self, book: str, world: World) -> Taken:
        """Take what waits for `book`, or look at it again."""

    def turn(self, killed: bool) -> None:
        """The kill switch."""

    def presume(self, position_id: str, action: str) -> None:
        """The intent's dedup key exists."""

    def forget(self) -> None:
        """No dedup key exists."""


class Life:
    """One run of moves at a desk. Fails at the first difference, and tells what led to it."""

    def __init__(self, setup: Setup, path: Path, branches: Counter[str], patience: int) -> None:
        self.setup = setup
        self.path = path
        self.world = World(START_MS, setup.per_minute)
        self.symbol = Symbol(SYMBOL, setup.rules(), branches)
        self.player = Player(self.symbol, setup, self.world, patience)
        self.waiting: dict[str, list[tuple[Fields, str]]] = {}
        self.newest: tuple[Fields, str, Sequence[tuple[Book, Fields]]] | None = None
        self.story: list[tuple[int, Act]] = []

    def run(self, moves: Sequence[bytes]) -> None:
        for move in moves:
            for act in self.player.acts(move):
                self.do(act)
        self.do(Done("process"))

    def do(self, act: Act) -> None:
        self.story.append((self.world.now_ms, act))
        match act:
            case Fed(fields):
                source_id = f"{self.world.now_ms}-{len(self.story)}"
                self.newest = fields, source_id, self.symbol.reached(fields)
                self._feed(*self.newest)
            case Told({"internal": "look", "book": name}):
                self._process_all()
                self._process(self.symbol.book(name), [({"internal": "look"}, "")])
            case Told(fields):
                self.path.tell(fields["book"], fields, self.world.now_ms)
                self._wait(self.symbol.reached(fields), "")
            case Done("repeat") if self.newest and self.path.can_repeat:
                self._feed(*self.newest)
            case Done("process"):
                self._process_all()
            case Done("kill"):
                self.world.killed = not self.world.killed
                self.path.turn(self.world.killed)
            case Done("presume", (position_id, action)):
                self.world.out.add((position_id, action))
                self.path.presume(position_id, action)
            case Done("forget"):
                self.world.out.clear()
                self.path.forget()

    def _feed(self, fields: Fields, source_id: str, reached: Sequence[tuple[Book, Fields]]) -> None:
        self.path.feed(fields, source_id, [(book.name, read) for book, read in reached])
        self._wait(reached, source_id)

    def _wait(self, reached: Sequence[tuple[Book, Fields]], source_id: str) -> None:
        for book, read in reached:
            self.waiting.setdefault(book.name, []).append((read, source_id))

    def _process_all(self) -> None:
        waiting, self.waiting = self.waiting, {}
        for name in sorted(waiting):
            self._process(self.symbol.book(name), waiting[name])

    def _process(self, book: Book, entries: Sequence[tuple[Fields, str]]) -> None:
        taken = self.path.process(book.name, self.world)
        deeds = [deed for fields, source_id in entries for deed in book.take(fields, source_id, self.world)]
        wrong = list(self._differences(book, deeds, taken))
        if wrong:
            raise AssertionError(self._told(book, wrong))

    def _differences(self, book: Book, deeds: Sequence[Deed], taken: Taken) -> Iterator[str]:
        names, expected = self.symbol.names, [d for d in deeds if isinstance(d, Published)]
        for published in expected:
            named = intent_id(*published.name)
            if named in names:
                yield f"the model publishes {published.action} of {published.position_id} twice"
            names[named] = published.name
        for twice, n in Counter(asked.intent_id for asked in taken.intents).items():
            if n > 1:
                yield f"{names.get(twice)} is published twice"
        yield from differing(book, taken.position, names)
        yield from contrast(said_by_model(deeds), said_by_journal(taken.journal, names))
        yield from contrast([_asked(published) for published in expected], [_line(asked) for asked in taken.intents])

    def _told(self, book: Book, wrong: Sequence[str]) -> str:
        """The desk, all that was done at it, and what differs."""
        lines = [str(self.setup), *(f"{at - START_MS:>8} ms  {_shown(act)}" for at, act in self.story)]
        return "\n".join(["", *lines, f"and {book.name} differs:", *(f"  {line}" for line in wrong)])


class Kernel:
    """Books in one process: positions, what waits for them, the trades they know, and ids that have a dedup key."""

    can_repeat = True

    def __init__(self, setup: Setup) -> None:
        self._rules = kernel_rules(setup)
        self._terms = RiskTerms(_decimal(setup.stop_dist), Decimal(setup.fallback))
        self._positions: dict[str, Position] = {}
        self._inboxes: dict[str, list[Delivered]] = {}
        self._trades: dict[str, dict[str, str]] = {}
        self._out: set[str] = set()
        self._killed = False

    def feed(self, fields: Fields, source_id: str, reached: Sequence[tuple[str, Fields]]) -> None:
        for book, read in reached:
            self._deliver(book, kernel_entry(read, source_id, int(source_id.partition("-")[0])))

    def tell(self, book: str, fields: Fields, now_ms: int) -> None:
        self._deliver(book, kernel_entry(fields, "", now_ms))

    def _deliver(self, book: str, entry: Entry) -> None:
        inbox = self._inboxes.setdefault(book, [])
        inbox.append(Delivered(f"{len(inbox) + 1}-0", entry))

    def process(self, book: str, world: World) -> Taken:
        guards = Guards(world.now_ms, world.fresh_ms, self._killed, world.budget, frozenset(self._out))
        position, trades = self._positions.get(book) or Position(book), self._trades.setdefault(book, {})
        made = make_plan(position, self._inboxes.pop(book, []), self._rules, guards, self._terms, trades)
        self._positions[book] = made.position
        trades.update(made.trades)
        self._out.update(intent.intent_id for intent, _ in made.intents)
        intents = [
            Asked(i.intent_id, i.kind.value, i.side.value, i.qty, i.rungs, i.stop_price) for i, _ in made.intents
        ]
        return Taken(made.position, made.journal, intents)

    def turn(self, killed: bool) -> None:
        self._killed = killed

    def presume(self, position_id: str, action: str) -> None:
        self._out.add(intent_id(position_id, action))

    def forget(self) -> None:
        self._out.clear()


def kernel_rules(setup: Setup) -> Rules:
    pairs = [item.split(":") for item in setup.ladder.split(",")]
    return Rules(
        ladder=Ladder(tuple(Rung(Decimal(r), Decimal(share)) for r, share in pairs), Basis(setup.basis)),
        set_be_at_r=Decimal(setup.set_be_at_r),
        trail_atr_mult=Decimal(setup.trail_mult),
        min_stop_move_pct=Decimal(setup.eps),
        atr=_decimal(setup.atr),
        cost_bps=Decimal(setup.cost_bps),
        instrument=Instrument(**{name: Decimal(value) for name, value in setup.lot.items()}),
        max_parts=setup.per_minute,
        live=setup.live,
    )


def kernel_entry(fields: Fields, source_id: str, now_ms: int) -> Entry:
    """What a book gets: an entry of the input through the door, anything else as it is written for it."""
    match fields.get("internal"):
        case "adopt":
            seen, qty, entry = (Decimal(fields[name]) for name in ("tracked_qty", "qty", "entry"))
            return Adopt("", now_ms, seen, qty, entry, _decimal(fields.get("stop")))
        case "overdue":
            return Overdue("", now_ms, fields["placed_before_ms"])
        case "freeze":
            return Freeze(source_id, now_ms, fields["reason"])
        case "release":
            return Release("", now_ms)
    routed = parse(source_id, fields)
    assert isinstance(routed, Routed), routed
    return routed.entry


def _asked(published: Published) -> tuple[str, ...]:
    stop = "" if published.stop_price is None else text(published.stop_price)
    named, kind = intent_id(*published.name), KINDS[published.kind]
    return named, kind, published.side, text(published.qty), stop, *published.rungs


def _line(asked: Asked) -> tuple[str, ...]:
    stop = "" if asked.stop_price is None else plain(asked.stop_price)
    return asked.intent_id, asked.kind, asked.side, plain(asked.qty), stop, *asked.rungs


def _shown(act: Act) -> str:
    """What is fed as it would be fed."""
    return str(act.fields) if isinstance(act, Fed | Told) else f"{act.what} {act.name or ''}"


def _decimal(value: Any) -> Decimal | None:
    return None if value is None else Decimal(value)
