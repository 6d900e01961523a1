"""A short run of the path, played once undisturbed: so it is known what must come of it however it is disturbed."""

import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, Final
from unittest.mock import patch

from redis.exceptions import RedisError

from harvest_tasks.fills import watcher
from harvest_tasks.fills.brain import Brain
from harvest_tasks.fills.sweep import held_books, waiting_books
from harvest_tasks.fills.watcher import watch
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings
from kernel.positions.intent import intent_id
from laboratory import invariants
from laboratory.accounting import OUTCOMES, Account, Wrong, rules
from laboratory.fleet import SETTINGS
from laboratory.invariants import Fields, Seen, Violation
from laboratory.lane import LIVE
from laboratory.model import Book, Published, Symbol, World
from laboratory.producer import Producer
from laboratory.round_trips import Act, Trips
from laboratory.steps import start_clock, stretched
from laboratory.traffic import WIDE_SPREAD

BOOKS: Final = ("BTCUSDT", "ETHUSDT")
ENTRIES: Final = 6
SLICE: Final = 2.0
"""A watcher's, in reads."""
OFTEN: Final = ("--hz", "500")
"""For a server: to end waits when they are over, not up to 100 ms later."""
PATIENCE_SEC: Final = 60.0
ROUNDS: Final = 40


class Rehearsed:
    """Entries of two books, answers among them, on a server that `director` empties; whoever works goes by `trips`.

    `trips_needed` is how many round trips it takes, `expected` what comes of it. `failed` is what ended tasks as
    Redis's errors may, `unexpected` what no task may end with.
    """

    def __init__(self, director: Client, trips: Trips, rng: random.Random, entries: int = ENTRIES) -> None:
        self.settings = Settings.from_env({**SETTINGS, **LIVE, "HARVEST_LOCK_TTL_SEC": "300"})
        self.director, self.trips = director, trips
        self.failed: list[RedisError] = []
        self.unexpected: list[Violation] = []
        self._producer = Producer(director, self.settings, rng, BOOKS, spread=WIDE_SPREAD)
        self._told: list[tuple[str, Fields]] = []
        self._stage(entries)
        self.expected = invariants.read(director, self.settings)
        self.ended = {fields["intent_id"] for _, fields in self._told if fields["status"] in OUTCOMES}

    @property
    def fills(self) -> int:
        return sum(fields["status"] == "FILLED" for _, fields in self._told)

    @property
    def rows(self) -> list[tuple[str, Fields]]:
        """All entries, with their ids."""
        return list(self._told)

    def begin(self, acts: dict[int, Act]) -> None:
        """All as it was before, and `acts` to come before round trips by their number."""
        self.director.flushdb()
        self.failed, self.unexpected = [], []
        self._feed(self._told)
        self.trips.begin(acts)

    def look(self) -> None:
        """A watcher and a worker as a bell has them come; what Redis says goes wrong ends a task, and no more."""
        for task in (self._watch, self._work):
            try:
                task()
            except RedisError as error:
                self.failed.append(error)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
                self.unexpected.append(Violation("I13", "other", f"{task.__name__} ended with {error!r}"))

    def go_on(self) -> None:
        """Until the run would be over, or all its disturbances are past; then those that are left."""
        for _ in range(ROUNDS):
            if self.trips.count > self.trips_needed:
                break
            self.look()
        self.trips.catch_up()

    def settle(self) -> list[Violation]:
        """Time passes, so that what has a time to live is gone; fresh ones come, until nothing is left to do."""
        self.director.delete(keys.LEASE, *(keys.lock(book) for book in BOOKS))
        account, before = Account(self.director, self.settings), len(self.failed)
        for _ in range(ROUNDS):
            self.look()
            try:
                if account.check().is_quiet:
                    return []
            except Wrong as wrong:
                return [Violation("I4", kind, str(wrong)) for kind in wrong.kinds]
        return [Violation("I9", "lost", f"entries wait: {account.check()}; {self.failed[before:][:2]}")]

    def calm(self) -> list[Violation]:
        """The same where input was lost, so that what came in is not what was read."""
        self.director.delete(keys.LEASE, *(keys.lock(book) for book in BOOKS))
        for _ in range(ROUNDS):
            self.look()
            left = invariants.at_rest(invariants.read(self.director, self.settings))
            if not left:
                return []
        return left

    def same(self) -> list[Violation]:
        """What of all there is should not be, though not all entries can still be read."""
        left = self.calm()
        seen = invariants.read(self.director, self.settings)
        found = [*self.unexpected, *left, *invariants.always(seen, self.ended)]
        return found + invariants.same_effects(seen, self.expected)

    def verdict(self) -> tuple[Seen, list[Violation]]:
        """What there is in the end, and what of it should not be, if all entries can still be read."""
        left = self.settle()
        seen = invariants.read(self.director, self.settings)
        found = [*self.unexpected, *left, *invariants.always(seen, self.ended), *invariants.at_rest(seen)]
        found += invariants.same_effects(seen, self.expected)
        return seen, found + Account(self.director, self.settings).judge(len(self._told))

    def _stage(self, entries: int) -> None:
        """Draw entries, have them worked on, and let an executor answer; count the round trips of it all, alone."""
        self.director.flushdb()
        seconds, _ = self.director.time()
        first, drawn = (seconds - 1) * 1000, self._producer.drawn(entries)
        drawn += self._due()
        self._add(first, drawn)
        self.begin({})
        self.trips_needed = ROUNDS * ROUNDS
        self.settle()
        self._add(first, [answer for answer in self._answers() if answer])
        self.begin({})
        wrong = self.settle()
        if wrong or self.failed:
            raise AssertionError(f"undisturbed: {wrong} {self.failed}")
        self.trips_needed = self.trips.count

    def _due(self) -> list[Fields]:
        """A fill and a price over a rung of it, so that something is published."""
        opened = {"status": "FILLED", "side": "BUY", "qty": "1", "price": "100", "stop_loss": "98"}
        return [
            {"symbol": book, **fields}
            for book in BOOKS
            for fields in ({**opened, "qty": "50", "trade_id": "due"}, {"status": "PRICE_UPDATE", "price": "130"})
        ]

    def _answers(self) -> Iterator[Fields]:
        for _, values in self.director.xrange(self.settings.stream_trade_intent):
            yield from self._producer._answers(json.loads(values["payload"]))

    def _add(self, first_ms: int, entries: Sequence[Fields]) -> None:
        begun = len(self._told)
        self._told += [(f"{first_ms + begun + n}-0", entry) for n, entry in enumerate(entries)]

    def _feed(self, told: Sequence[tuple[str, Fields]]) -> None:
        with self.director.pipeline(transaction=False) as pipe:
            for entry_id, fields in told:
                pipe.xadd(self.settings.stream_execution_result, dict[Any, Any](fields), id=entry_id)
            pipe.execute()

    def _watch(self) -> None:
        start_clock()
        watch(self.trips.client, self.settings, SLICE, _no_bell)

    def _work(self) -> None:
        client = self.trips.client
        books = sorted(waiting_books(client) | held_books(client))
        Brain(client, self.settings).process(books, monotonic() + PATIENCE_SEC)


def folded(rows: Iterable[tuple[str, Fields]], settings: Settings) -> list[Book]:
    """What the reference model makes of these entries, each under its id."""
    world, symbols = World(0, 10**9, fresh_ms=10**12), dict[str, Symbol]()
    for entry_id, fields in rows:
        symbol = symbols.setdefault(fields["symbol"], Symbol(fields["symbol"], rules(settings), Counter()))
        world.now_ms = int(entry_id.partition("-")[0])
        world.sent_ms.clear()
        for book, said in symbol.reached(fields):
            deeds = book.take(said, entry_id, world)
            symbol.names |= {intent_id(*deed.name): deed.name for deed in deeds if isinstance(deed, Published)}
    return [book for symbol in symbols.values() for book in symbol.books.values()]


def _no_bell(_: Sequence[str]) -> None:
    """The books that wait are looked for."""


@contextmanager
def at_once() -> Iterator[None]:
    """While it lasts, watchers count reads instead of seconds, and wait for nobody."""
    with stretched(), patch.object(watcher, "BLOCK_MS", 1):
        yield
