"""A journal of fills replayed over the real path, and one hash of all that came of it: positions, journal, intents.

Run as a program, `python -m laboratory.replays`, it takes courses as JSON on its input and answers with a line each: so
each has a hash seed of its own, and the order of a set would show.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from hashlib import sha256
from random import Random
from time import monotonic
from typing import Any, Final
from unittest.mock import patch

from harvest_tasks.fills import ledger, stream
from harvest_tasks.fills.brain import Brain
from harvest_tasks.fills.watcher import watch
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.position import LEDGER_FIELDS
from kernel.positions.intent import harvest_action, intent_id
from laboratory.scenarios import LIVE
from laboratory.steps import Command, Crashed, Wire, start_clock, stepped, stretched, tick

START_MS: Final = 1_700_000_000_000
BOOKS: Final = tuple(f"C{n}USDT" for n in range(8))
SIZES: Final = ("0.5", "1", "2", "0.333")
FEED: Final = 1_000
"""Entries in one round trip."""
WHOLE, BATCHES, CRASHES = "whole", "batches", "crashes"
"""How a journal is replayed: in batches as large as they get, in random ones, or with crashes as well."""
FULL: Final = 500
DYING: Final = 0.8
"""The chance that a process dies, if processes do at all: within so many round trips."""
TRIPS_LEFT: Final = 12
ONE_PASS_SEC: Final = 0.0005
"""A worker looks at the clock between passes, and none is as quick."""

Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Course:
    """A journal of `fills` fills by the chance `seed`, replayed in a `manner`; `way` is the chance of how."""

    seed: int
    fills: int
    manner: str
    way: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """`parts` are hashes of positions, journal, intents and the rest, `sha256` the hash of them all."""

    sha256: str
    parts: Mapping[str, str]
    fills: int
    entries: int
    intents: int
    crashes: int
    seconds: float


def entries(course: Course) -> Iterator[Fields]:
    """The journal: fills of both sides at prices near 100, some of them twice; prices; ends of intents; rubbish."""
    rng, fills = Random(f"journal {course.seed}"), 0  # noqa: S311 - to be repeated, not to be secret
    net = dict.fromkeys(BOOKS, Decimal(0))
    while fills < course.fills:
        book, chance = rng.choice(BOOKS), rng.random()
        price = Decimal(rng.randint(9_500, 10_500)) / 100
        if chance < 0.15:
            yield {"symbol": book, "status": "PRICE_UPDATE", "price": str(price)}
        elif chance < 0.2:
            ended = intent_id(f"{book}:{rng.randint(1, 1 + fills // 20)}", harvest_action(("0.5",), 1))
            yield {"symbol": book, "status": rng.choice(("REJECTED", "EXPIRED")), "intent_id": ended}
        elif chance < 0.201:
            yield {"symbol": book, "status": "PRICE_UPDATE", "price": "-1"}
        else:
            fills += 1
            fill = _fill(rng, book, price, net, fills)
            yield from (fill, fill) if chance > 0.97 else (fill,)


def _fill(rng: Random, book: str, price: Decimal, net: dict[str, Decimal], number: int) -> Fields:
    """One in four crosses zero."""
    sign, qty = rng.choice((1, -1)), Decimal(rng.choice(SIZES))
    if rng.random() < 0.25:
        sign, qty = (-1 if net[book] > 0 else 1), abs(net[book]) + qty
    net[book] += sign * qty
    return {
        "symbol": book,
        "status": "FILLED",
        "side": "BUY" if sign > 0 else "SELL",
        "qty": str(qty),
        "price": str(price),
        "stop_loss": str(price - 2 * sign),
        "trade_id": str(number),
        "fee": "0.01",
    }


class Mortal:
    """One process's way to the server, which ends after so many round trips (None: never), before or after the last."""

    def __init__(self, wire: Wire, left: int | None, sees_the_last: bool = False) -> None:
        self._wire, self._left, self._sends = wire, left, not sees_the_last

    def __call__(self, packed: Sequence[bytes], commands: Sequence[Command]) -> list[Any]:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                if self._sends:
                    self._wire.exchange(b"".join(packed), len(commands))
                raise Crashed
        tick(commands)
        return self._wire.exchange(b"".join(packed), len(commands))


class Replay:
    """One course on the server behind `wire`, which is emptied."""

    def __init__(self, wire: Wire, course: Course) -> None:
        self._wire, self._course = wire, course
        self._rng = Random(f"way {course.seed} {course.way}")  # noqa: S311 - to be repeated, not to be secret
        self._client = stepped(Mortal(wire, None))
        self._settings = Settings.from_env(
            {
                **LIVE,
                "HARVEST_REQUIRE_FRESH_SNAPSHOT_SEC": "3600",
                "HARVEST_MAX_ACTIONS_PER_MIN": "10000",
                "HARVEST_LOCK_TTL_SEC": "300",
            }
        )
        self._journal = {book: sha256() for book in BOOKS}
        self._sent: dict[str, str] = {}
        self._intents = self._crashes = 0
        self._now_ms = START_MS

    def run(self) -> Outcome:
        began = monotonic()
        self._client.flushall()
        fed, fills = self._feed()
        while self._moves():
            self._step()
        counts = self._client.hgetall(keys.COUNTS)
        parts = {
            "positions": _digest({book: self._position(book) for book in BOOKS}),
            "journal": _digest({book: each.hexdigest() for book, each in self._journal.items()}),
            "intents": _digest(self._sent),
            "history": _digest([self._client.lrange(name(book), 0, -1) for book in BOOKS for name in HISTORIES]),
            "letters": _digest(sorted(fields["source_id"] for _, fields in self._client.xrange(keys.DEADLETTER))),
            "counts": _digest(counts),
        }
        seconds = monotonic() - began
        return Outcome(_digest(parts), parts, fills, fed, self._intents, self._crashes, seconds)

    def _feed(self) -> tuple[int, int]:
        """The whole journal, at a millisecond each; how many entries and fills that is."""
        fed = fills = 0
        pipe = self._client.pipeline(transaction=False)
        for fields in entries(self._course):
            fed += 1
            fills += fields["status"] == "FILLED"
            content: dict[Any, Any] = dict(fields)
            pipe.xadd(self._settings.stream_execution_result, content, id=f"{START_MS + fed}-0")
            if len(pipe) >= FEED:
                pipe.execute()
        pipe.execute()
        self._now_ms = START_MS + fed
        return fed, fills

    def _moves(self) -> bool:
        """Whether anything is left to do."""
        source = self._settings.stream_execution_result
        if self._client.scard(keys.WAITING) or not self._client.exists(keys.CURSOR):
            return True
        group = self._client.xinfo_groups(source)[0]
        return bool(group["pending"]) or group["lag"] != 0

    def _step(self) -> None:
        """A watcher's slice, or a worker's bell; then what it put out is put aside."""
        whole = self._course.manner == WHOLE
        size = FULL if whole else self._rng.randint(1, FULL)
        start_clock()
        with patch.object(stream, "READ_BATCH", size), patch.object(ledger, "BATCH", size):
            try:
                self._watch(whole) if self._rng.random() < 0.5 else self._work(whole)
            except Crashed:
                self._crashes += 1
        self._put_aside()

    def _watch(self, whole: bool) -> None:
        watch(self._process(), self._settings, 8.0 if whole else self._rng.randint(1, 8), _no_bell)

    def _work(self, whole: bool) -> None:
        books = sorted(self._client.smembers(keys.WAITING))
        if not whole:
            books = self._rng.sample(books, self._rng.randint(0, len(books)))
        Brain(self._process(), self._settings, self._now_ms).process(books, monotonic() + ONE_PASS_SEC)

    def _process(self) -> Client:
        """A client of a process of its own, which may die."""
        dies = self._course.manner == CRASHES and self._rng.random() < DYING
        return stepped(Mortal(self._wire, self._rng.randrange(TRIPS_LEFT) if dies else None, self._rng.random() < 0.5))

    def _put_aside(self) -> None:
        """Read and drop what was journaled and published, and let pass the time of locks, lease and minute."""
        outs = keys.DECISIONS, self._settings.stream_harvest_suggestions, self._settings.stream_trade_intent
        locks = [keys.lock(book) for book in BOOKS]
        with self._client.pipeline(transaction=True) as pipe:
            for stream in outs:
                pipe.xrange(stream)
            pipe.delete(*outs, *locks, keys.LEASE, keys.WINDOW)
            journal, *sent, _ = pipe.execute()
        for _, fields in journal:
            self._journal[fields["book"]].update(_canonical(fields))
        for stream, rows in zip(outs[1:], sent, strict=True):
            for _, fields in rows:
                assert fields["intent_id"] not in self._sent, f"{fields} is out twice"
                self._sent[fields["intent_id"]] = f"{stream} {fields['payload']}"
                self._intents += 1

    def _position(self, book: str) -> Fields:
        fields = self._client.hgetall(keys.position(book))
        return {name: value for name, value in fields.items() if name not in LEDGER_FIELDS}


HISTORIES: Final = (keys.history, keys.lifecycles)


def main() -> None:
    """Courses by the line, a server's socket as the first argument."""
    wire = Wire(sys.argv[1])
    with stretched():
        for line in sys.stdin:
            outcome = Replay(wire, Course(**json.loads(line))).run()
            sys.stdout.write(json.dumps(asdict(outcome)) + "\n")
    wire.close()


def _canonical(content: object) -> bytes:
    return json.dumps(content, sort_keys=True).encode()


def _digest(content: object) -> str:
    return sha256(_canonical(content)).hexdigest()


def _no_bell(_: Sequence[str]) -> None:
    """Who waits is asked for."""


if __name__ == "__main__":
    main()
