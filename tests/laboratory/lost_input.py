"""F11: input is trimmed, deleted or destroyed under unread and pending entries, or keys become of another type.

What was lost must freeze every book before an entry behind it is looked at, and be told; what was not lost must change
nothing. Then the documented ways back, `harvest release --all` and `harvest reconcile --adopt`, lead back. A key of
another type stops what needs it, with a reason that names it; once it is mended all goes on as if nothing had been.
"""

import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import Any, Final
from unittest.mock import patch

from harvest_tasks.fills import inbox
from harvest_tasks.operations.dead_letters import Retried, retry_dead_letters
from harvest_tasks.reconciling import settlement
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings
from kernel.positions.position import parse_id
from laboratory import invariants
from laboratory.arena import Arena
from laboratory.arena_pool import blame, gather, note
from laboratory.invariants import HOLDING, Fields, Seen, Violation
from laboratory.model import Book
from laboratory.rehearsed_run import BOOKS, OFTEN, Rehearsed, at_once, folded
from laboratory.report import Result
from laboratory.round_trips import Trips

ID: Final = "F11"
TITLE: Final = "input lost, keys of other types"

LOSSES_EACH: Final = 3
DEAD: Final = "a watcher that died"
FROZEN: Final = "lost_input"
APPLIED_ALONE: Final = HOLDING - {"frozen", "applied"}
BOOK: Final = BOOKS[0]
OTHER_TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "string": ("SET", "{}", "1"),
    "hash": ("HSET", "{}", "a", "1"),
    "list": ("RPUSH", "{}", "1"),
    "set": ("SADD", "{}", "1"),
    "zset": ("ZADD", "{}", "1", "a"),
    "stream": ("XADD", "{}", "*", "a", "1"),
}
LOOKS: Final = 3
"""While a key is of another type."""


@dataclass(slots=True)
class Destroyed:
    """What became of the input: the ids of entries that were `gone` before they were moved, the one that a watcher may
    have `in_hand`, whether the server counts what is gone, and the rows that came instead (`successors`).
    """

    gone: list[str] = field(default_factory=list)
    must_freeze: bool = False
    is_counted: bool = True
    in_hand: str = ""
    successors: list[tuple[str, Fields]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Standing:
    """Ids of the input by where they stand."""

    moved: Sequence[str]
    pending: Sequence[str]
    unread: Sequence[str]


def run(arena: Arena) -> Result:
    result = Result(ID, TITLE)
    losses = [(_lose, kind) for kind in LOSSES for _ in range(LOSSES_EACH)]
    types = [(_mistype, name) for name in _keys(Settings())]
    cases = [*losses, *types]
    chosen = arena.chance("cases").sample(range(len(cases)), min(len(cases), arena.count(len(cases))))
    numbered = [(number, *cases[number]) for number in sorted(chosen)]
    jobs = min(arena.jobs, len(numbered))
    gather(arena, result, _play, [numbered[n::jobs] for n in range(jobs)])
    return result


Case = tuple[int, Callable[..., Sequence[Violation]], str]


def _play(arena: Arena, cases: Sequence[Case]) -> Result:
    result, server = Result(ID, TITLE), arena.server(durable=False, options=OFTEN)
    director, trips = arena.client(server), Trips(server.url())
    with at_once():
        for number, play, kind in cases:
            rehearsed = Rehearsed(director, trips, arena.chance(f"entries {number}"))
            wrong = play(rehearsed, arena.chance(number), kind, result)
            blame(arena, result, wrong, f"case {number}: {kind}")
            result.cases += 1
            result.fills += rehearsed.fills
            result.intents += director.xlen(rehearsed.settings.stream_trade_intent)
    trips.close()
    return result


# Losses.


def _lose(rehearsed: Rehearsed, rng: random.Random, kind: str, result: Result) -> list[Violation]:
    """With some entries pending of a watcher that died, at a random round trip."""
    done: list[Destroyed] = []
    director, source = rehearsed.director, rehearsed.settings.stream_execution_result

    def destroy() -> None:
        standing = _standing(rehearsed)
        if standing.moved:
            done.append(LOSSES[kind](director, source, standing, rng))
        else:
            # Before the first entry was ever moved there is nothing to know a loss by.
            rehearsed.trips.after(1, destroy)

    rehearsed.begin({rng.randrange(4, rehearsed.trips_needed * 2 // 3): destroy})
    director.xgroup_create(source, keys.GROUP, id="0-0")
    director.xreadgroup(keys.GROUP, DEAD, {source: ">"}, count=rng.randrange(1, 6))
    rehearsed.go_on()
    (destroyed,) = done
    wrong = rehearsed.calm()
    _spare_what_was_in_hand(director, destroyed)
    if not destroyed.must_freeze:
        note(result, "cases that need not freeze", **{kind: 1})
        return wrong + rehearsed.same()
    note(result, "entries", lost=len(destroyed.gone))
    note(result, "cases that froze", **{kind: 1})
    seen = invariants.read(director, rehearsed.settings)
    wrong += [*rehearsed.unexpected, *_frozen(director, seen, destroyed), *_only_applied(rehearsed, seen, destroyed)]
    return wrong + _come_back(rehearsed, rng, destroyed)


def _spare_what_was_in_hand(director: Client, destroyed: Destroyed) -> None:
    """The entry that a watcher had read and not moved yet is moved from its memory: it is not lost."""
    told = int(director.hget(keys.LOST, "entries") or "0")
    if destroyed.is_counted and destroyed.in_hand in destroyed.gone and told == len(destroyed.gone) - 1:
        destroyed.gone.remove(destroyed.in_hand)
        destroyed.must_freeze = bool(destroyed.gone)


def _standing(rehearsed: Rehearsed) -> Standing:
    director, source = rehearsed.director, rehearsed.settings.stream_execution_result
    there = [entry_id for entry_id, _ in rehearsed.rows]
    delivered = parse_id(director.xinfo_groups(source)[0]["last-delivered-id"])
    pending = {each["message_id"] for each in director.xpending_range(source, keys.GROUP, "-", "+", 10_000)}
    read = [entry_id for entry_id in there if parse_id(entry_id) <= delivered]
    return Standing(
        [entry_id for entry_id in read if entry_id not in pending],
        [entry_id for entry_id in read if entry_id in pending],
        [entry_id for entry_id in there if parse_id(entry_id) > delivered],
    )


def _trim_to(director: Client, source: str, first: str) -> set[str]:
    """Entries older than `first` go; their ids."""
    before = [entry_id for entry_id, _ in director.xrange(source)]
    director.xtrim(source, minid=first, approximate=False)
    return set(before) - {entry_id for entry_id, _ in director.xrange(source)}


def _destroyed(standing: Standing, gone: set[str], **how: Any) -> Destroyed:
    lost = [entry_id for entry_id in (*standing.pending, *standing.unread) if entry_id in gone]
    return Destroyed(lost, **{"must_freeze": bool(lost), "in_hand": next(iter(standing.pending), ""), **how})


def _trim_unread(director: Client, source: str, standing: Standing, rng: random.Random) -> Destroyed:
    """With all that is pending."""
    gone = _trim_to(director, source, rng.choice([*standing.unread[1:], "99999999999999-0"]))
    return _destroyed(standing, gone)


def _trim_pending(director: Client, source: str, standing: Standing, rng: random.Random) -> Destroyed:
    """Some, or all."""
    first = rng.choice([*standing.pending[1:], *standing.unread[:1], "99999999999999-0"])
    return _destroyed(standing, _trim_to(director, source, first))


def _delete(director: Client, source: str, standing: Standing, rng: random.Random, *, of: str) -> Destroyed:
    """One entry or more that are moved, pending or unread."""
    there: Sequence[str] = getattr(standing, of)
    gone = set(rng.sample(there, min(len(there), rng.choice((1, 1, 3)))))
    if gone:
        director.xdel(source, *gone)
    # Of deletions between unread entries the server tells no number.
    return _destroyed(standing, gone, is_counted=of == "pending")


def _destroy_group(director: Client, source: str, standing: Standing, rng: random.Random) -> Destroyed:
    director.xgroup_destroy(source, keys.GROUP)
    return _destroyed(standing, set())


def _destroy_group_and_trim(director: Client, source: str, standing: Standing, rng: random.Random) -> Destroyed:
    # After a takeover nobody knows how many entries were ever read.
    is_counted = bool(director.hget(keys.CURSOR, "read"))
    director.xgroup_destroy(source, keys.GROUP)
    first = rng.choice([*standing.pending, *standing.unread, "99999999999999-0"])
    return _destroyed(standing, _trim_to(director, source, first), is_counted=is_counted)


def _delete_stream(director: Client, source: str, standing: Standing, rng: random.Random) -> Destroyed:
    director.delete(source)
    gone = {*standing.pending, *standing.unread}
    return _destroyed(standing, gone, must_freeze=True, is_counted=False)


def _replace_stream(director: Client, source: str, standing: Standing, rng: random.Random) -> Destroyed:
    """By one that goes on after it."""
    destroyed = _delete_stream(director, source, standing, rng)
    mark: Fields = {"symbol": BOOK, "status": "PRICE_UPDATE", "price": "1000"}
    for _ in range(rng.choice((1, 3))):
        destroyed.successors.append((director.xadd(source, dict[Any, Any](mark)), mark))
    return destroyed


Loss = Callable[[Client, str, Standing, random.Random], Destroyed]
LOSSES: Final[Mapping[str, Loss]] = {
    "unread entries trimmed": _trim_unread,
    "pending entries trimmed": _trim_pending,
    "unread entries deleted": partial(_delete, of="unread"),
    "pending entries deleted": partial(_delete, of="pending"),
    "moved entries deleted": partial(_delete, of="moved"),
    "group destroyed": _destroy_group,
    "group destroyed, stream trimmed": _destroy_group_and_trim,
    "stream deleted": _delete_stream,
    "stream replaced": _replace_stream,
}


def _frozen(director: Client, seen: Seen, destroyed: Destroyed) -> Iterator[Violation]:
    """Every book is, and it is told how many entries are gone."""
    told = director.hgetall(keys.LOST)
    if not told.get("why"):
        yield Violation("I3", "lost", f"{len(destroyed.gone)} entries are gone, and nobody says so: {told}")
    if destroyed.is_counted and int(told.get("entries", "0")) != len(destroyed.gone):
        yield Violation("I4", "lost", f"{len(destroyed.gone)} entries are gone, {told.get('entries')} are told of")
    for book, fields in seen.positions.items():
        if not fields["frozen"].startswith(FROZEN):
            yield Violation("I3", "other", f"{book} is not frozen, but {fields['frozen']!r}")
    first = min(map(parse_id, destroyed.gone), default=(10**15, 0))
    for record in seen.published():
        if parse_id(record["cause"]) > first:
            yield Violation("I3", "other", f"published on an entry behind what was lost: {record}")


def _only_applied(rehearsed: Rehearsed, seen: Seen, destroyed: Destroyed) -> Iterator[Violation]:
    """Positions are what the entries make that are not gone."""
    gone = set(destroyed.gone)
    rows = [row for row in rehearsed.rows if row[0] not in gone] + destroyed.successors
    for book in folded(rows, rehearsed.settings):
        yield from invariants.like(seen, book, APPLIED_ALONE)
    yield from invariants.always(seen, rehearsed.ended)


def _come_back(rehearsed: Rehearsed, rng: random.Random, destroyed: Destroyed) -> list[Violation]:
    """One of the documented ways; then what is due is published, and all is accounted for."""
    director, settings = rehearsed.director, rehearsed.settings
    now_ms = _server_ms(director)
    true = [*rehearsed.rows, *destroyed.successors]
    if rng.random() < 0.5:
        inbox.release_all(director, now_ms)
    else:
        for book in folded(true, settings):
            _put_on_record(director, book)
        # The next price: where the newest entry was deleted behind a full batch, the group ends short of it till then.
        director.xadd(settings.stream_execution_result, {"symbol": BOOK, "status": "PRICE_UPDATE", "price": "100"})
        rehearsed.calm()
        try:
            settlement.settle(director, settings, ())
        except settlement.UnreadInput as error:
            return [Violation("I13", "other", f"no way back by reconciliation: {error}; {_ends(director, settings)}")]
    wrong = rehearsed.calm()
    seen = invariants.read(director, settings)
    for book, fields in seen.positions.items():
        if fields["frozen"]:
            wrong.append(Violation("I13", "other", f"{book} stays frozen: {fields['frozen']}"))
    if director.exists(keys.LOST):
        wrong.append(Violation("I13", "other", f"the loss is not forgotten: {director.hgetall(keys.LOST)}"))
    return wrong + _alive(rehearsed)


def _ends(director: Client, settings: Settings) -> str:
    """How far the stream goes, and how far it was read."""
    (group,) = director.xinfo_groups(settings.stream_execution_result)
    newest = director.xinfo_stream(settings.stream_execution_result)["last-generated-id"]
    return f"newest {newest}, group {group}, cursor {director.hgetall(keys.CURSOR)}"


def _put_on_record(director: Client, book: Book) -> None:
    """As the exchange has it, who lost nothing."""
    qty: Fraction = book.holding.qty
    side = "LONG" if qty > 0 else "SHORT"
    entry = float(book.holding.entry) or 100
    director.hset(
        keys.position_state(book.name),
        mapping={"side": side, "qty": f"{abs(float(qty))}", "entry_price": f"{entry:.6f}"},
    )


def _alive(rehearsed: Rehearsed) -> list[Violation]:
    """I13: what is due of a new lifecycle goes out; and nothing that holds at any moment was broken on the way."""
    director, settings = rehearsed.director, rehearsed.settings
    before = director.xlen(settings.stream_trade_intent)
    held = Fraction(director.hget(keys.position(BOOK), "qty") or "0")
    sign = -1 if held > 0 else 1
    opened = {"symbol": BOOK, "status": "FILLED", "side": "BUY" if sign > 0 else "SELL", "price": "100"}
    opened |= {"qty": f"{int(abs(held)) + 8}", "stop_loss": f"{100 - 2 * sign}"}
    for entry in (opened, {"symbol": BOOK, "status": "PRICE_UPDATE", "price": f"{100 + 9 * sign}"}):
        director.xadd(settings.stream_execution_result, dict[Any, Any](entry))
    wrong = rehearsed.calm()
    seen = invariants.read(director, settings)
    if director.xlen(settings.stream_trade_intent) == before:
        wrong.append(Violation("I13", "lost", f"nothing is published any more: {seen.positions.get(BOOK)}"))
    return [*wrong, *invariants.always(seen, rehearsed.ended), *invariants.at_rest(seen)]


def _server_ms(client: Client) -> int:
    seconds, micros = client.time()
    return int(seconds) * 1000 + int(micros) // 1000


# Keys of other types.


def _keys(settings: Settings) -> dict[str, str]:
    """Each key that the path uses, and the type that it should have."""
    return {
        settings.stream_execution_result: "stream",
        settings.stream_harvest_suggestions: "stream",
        settings.stream_trade_intent: "stream",
        keys.DECISIONS: "stream",
        keys.DEADLETTER: "stream",
        keys.BOOKS: "set",
        keys.WAITING: "set",
        keys.OPEN: "set",
        keys.BROKEN: "set",
        keys.HELD: "zset",
        keys.CURSOR: "hash",
        keys.LOST: "hash",
        keys.ADOPTION: "hash",
        keys.COUNTS: "hash",
        keys.WINDOW: "list",
        keys.position(BOOK): "hash",
        keys.trades(BOOK, 0): "hash",
        keys.trades(BOOK, -1): "hash",
        keys.history(BOOK): "list",
        keys.lifecycles(BOOK): "list",
        keys.overrides(BOOK): "hash",
        keys.inbox(BOOK): "stream",
        keys.LEASE: "string",
        keys.lock(BOOK): "string",
    }


def _mistype(rehearsed: Rehearsed, rng: random.Random, name: str, result: Result) -> list[Violation]:
    """From a random round trip on, for some looks; then what was there before is back."""
    director = rehearsed.director
    others = [kind for kind in OTHER_TYPES if kind != _keys(rehearsed.settings)[name]]
    command = [part.format(name) for part in OTHER_TYPES[rng.choice(others)]]
    aside = f"aside:{name}"

    def spoil() -> None:
        if director.exists(name):
            director.rename(name, aside)
        director.execute_command(*command)

    with heard() as lines:
        rehearsed.begin({rng.randrange(6, rehearsed.trips_needed * 2 // 3): spoil})
        rehearsed.go_on()
        for _ in range(LOOKS):
            rehearsed.look()
    said = [*lines, *map(str, rehearsed.failed)]
    director.delete(name)
    if director.exists(aside):
        director.rename(aside, name)
    told = "that were named" if any(name in line for line in said) else "that stopped something unnamed"
    note(result, "keys of other types", **{told if said else "that nobody met, or that stopped a book unsaid": 1})
    return _mended(rehearsed, name)


def _mended(rehearsed: Rehearsed, name: str) -> list[Violation]:
    """All is as if it had not been; but for what is frozen over it, and entries that are dead letters."""
    director, wrong = rehearsed.director, rehearsed.calm()
    if director.exists(keys.LOST):
        inbox.release_all(director, _server_ms(director))
        wrong += rehearsed.calm()
        return wrong + _alive(rehearsed)
    if name == keys.overrides(BOOK):
        return wrong + _only_applied_all(rehearsed)
    if name == keys.inbox(BOOK):
        return wrong + _retried(rehearsed) + _alive(rehearsed)
    return wrong + rehearsed.same()


def _only_applied_all(rehearsed: Rehearsed) -> list[Violation]:
    """A symbol's own rules that cannot be read are refused, and the journal says so; nothing else differs."""
    seen = invariants.read(rehearsed.director, rehearsed.settings)
    return list(_only_applied(rehearsed, seen, Destroyed()))


def _retried(rehearsed: Rehearsed) -> list[Violation]:
    """The entries that missed their inbox are dead letters; retried, they are applied."""
    director, settings = rehearsed.director, rehearsed.settings
    missed = director.xlen(keys.DEADLETTER)
    done = retry_dead_letters(director, settings.stream_execution_result, None)
    wrong = rehearsed.calm()
    inbox.release_all(director, _server_ms(director))
    if missed != sum(isinstance(each, Retried) for each in done):
        wrong.append(Violation("I4", "lost", f"{missed} letters, of which are retried: {done}"))
    return wrong


@contextmanager
def heard() -> Iterator[list[str]]:
    """What Harvest logs meanwhile."""
    lines: list[str] = []
    log = logging.getLogger("harvest_tasks")
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.WARNING)
    with patch.object(log, "propagate", False):
        try:
            yield lines
        finally:
            log.setLevel(level)
            log.removeHandler(handler)
