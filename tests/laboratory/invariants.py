"""What must hold of a server's state, whatever was done to it: pure readers, and the lines in which it does not.

The numbers are those by which the invariants are known:
I1 no more is reserved than is held. I2 a rung of a lifecycle has at most one live intent. I3 never more intents than
the sliding minute allows. I4 every entry that came in is applied, a duplicate, dead-lettered, ignored or pending. I5 a
position is what the reference model makes of the same entries. I7 a version counts the commits. I9 nothing stays
pending. I10 position, journal and intents tell one story. I11 an intent is reduce-only, positive, opposite, and a
lifecycle asks for no more than was entered. I12 the same intent id, the same bytes. I13 what is due is published.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from harvest_tasks.server import keys
from harvest_tasks.server.client import Client, checked
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.position import LEDGER_FIELDS, read_position
from kernel.positions.position import parse_id
from laboratory.differences import differing
from laboratory.model import Book

PARTS: Final = ("applied", "duplicate", "deadlettered", "ignored", "pending")
HOLDING: Final = frozenset(
    (
        *("epoch", "qty", "avg_entry", "base_qty", "risk_per_unit", "origin", "applied", "frozen", "mark"),
        *("realized_pnl", "fees", "funding", "other_fees", "net_r", "banked_pnl"),
    )
)
"""What entries alone decide, whatever guards said meanwhile."""
"""Fields that tell how often was committed, not what."""

Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Violation:
    """One line about what does not hold; `kind` is lost, doubled, torn, out_of_order or other."""

    invariant: str
    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.what}"


@dataclass(frozen=True, slots=True)
class Sent:
    """An entry of an out stream; `live` says of which."""

    stream_id: str
    live: bool
    fields: Fields

    @property
    def intent_id(self) -> str:
        return self.fields["intent_id"]

    @property
    def payload(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.fields["payload"], parse_float=Decimal, parse_int=Decimal)
        return content


@dataclass(frozen=True, slots=True)
class Seen:
    """All that a server holds of Harvest's, read in one transaction. `inboxes` hold the packed entries that wait;
    `pending` and `unread` are the consumer group's.
    """

    positions: Mapping[str, Fields]
    sent: Sequence[Sent]
    journal: Sequence[Fields]
    deadletters: Sequence[Fields]
    counts: Mapping[str, int]
    inboxes: Mapping[str, Sequence[str]]
    waiting: Collection[str]
    open: Collection[str]
    pending: int
    unread: int

    @property
    def queued(self) -> int:
        return sum(len(inbox) for inbox in self.inboxes.values())

    @property
    def names(self) -> dict[str, tuple[str, str]]:
        """Intent id -> position id and action, as the journal has it."""
        return {r["intent_id"]: (r["position_id"], r["action"]) for r in self.published()}

    def published(self) -> list[Fields]:
        return [record for record in self.journal if record["decision"] == "published"]


def read(client: Client, settings: Settings, books: Iterable[str] | None = None) -> Seen:
    """The state of `books` (None: of all that are known, which costs a round trip more)."""
    names = sorted(client.smembers(keys.BOOKS)) if books is None else list(books)
    with client.pipeline(transaction=True) as pipe:
        pipe.xinfo_groups(settings.stream_execution_result)
        pipe.xrange(settings.stream_harvest_suggestions)
        pipe.xrange(settings.stream_trade_intent)
        pipe.xrange(keys.DECISIONS)
        pipe.xrange(keys.DEADLETTER)
        pipe.hgetall(keys.COUNTS)
        pipe.smembers(keys.WAITING)
        pipe.smembers(keys.OPEN)
        for name in names:
            pipe.hgetall(keys.position(name))
            pipe.xrange(keys.inbox(name))
        # Before the first entry there is no input stream to ask about.
        groups, *rest = pipe.execute(raise_on_error=False)
    shadow, live, journal, letters, counts, waiting, is_open, *rows = map(checked, rest)
    pending, unread = _standing(client, settings.stream_execution_result, groups)
    return Seen(
        positions={name: fields for name, fields in zip(names, rows[::2], strict=True) if fields},
        sent=[Sent(i, False, fields) for i, fields in shadow] + [Sent(i, True, fields) for i, fields in live],
        journal=[fields for _, fields in journal],
        deadletters=[fields for _, fields in letters],
        counts={name: int(n) for name, n in counts.items()},
        inboxes={name: [fields.get("e", "") for _, fields in row] for name, row in zip(names, rows[1::2], strict=True)},
        waiting=waiting,
        open=is_open,
        pending=pending,
        unread=unread,
    )


def _standing(client: Client, source: str, groups: Any) -> tuple[int, int]:
    """What the group has read and not moved, and what it has not read."""
    group = None if isinstance(groups, Exception) else next((g for g in groups if g["name"] == keys.GROUP), None)
    if group is None:
        return 0, client.xlen(source)
    if group["lag"] is not None:
        return group["pending"], group["lag"]
    return group["pending"], len(client.xrange(source, f"({group['last-delivered-id']}"))


def always(seen: Seen, ended: Collection[str] = (), per_minute: int | None = None) -> list[Violation]:
    """What does not hold though it must at any moment. `ended` are the intents that an outcome named."""
    found = [
        *_reserved(seen),
        *_once(seen, ended),
        *_accounted(seen),
        *_one_story(seen),
        *_exits(seen),
        *_ordered(seen),
    ]
    return found + ([] if per_minute is None else list(_paced(seen, per_minute)))


def at_rest(seen: Seen) -> list[Violation]:
    """I9: what still waits when nothing should."""
    left = {"pending": seen.pending, "unread": seen.unread, "in inboxes": seen.queued, "marked": len(seen.waiting)}
    return [Violation("I9", "lost", f"{n} {where}") for where, n in left.items() if n]


def like(seen: Seen, model: Book, only: Collection[str] = ()) -> list[Violation]:
    """I5: where a book is not as the reference model has it; `only` limits what is compared."""
    position = read_position(model.name, seen.positions.get(model.name, {}))
    lines = differing(model, position, seen.names)
    return [Violation("I5", "lost", f"{model.name}: {line}") for line in lines if not only or line.split()[0] in only]


def same_effects(seen: Seen, expected: Seen) -> list[Violation]:
    """I6: where positions, journal and intents differ from another run's, byte by byte; versions and ids aside."""
    found = list(_differences("position", _contents(expected.positions), _contents(seen.positions)))
    found += _differences("journal", _by_book(expected.journal), _by_book(seen.journal))
    return found + list(_differences("intent", _payloads(expected), _payloads(seen)))


def versions(seen: Seen, commits: Mapping[str, int]) -> list[Violation]:
    """I7: `commits` counts the commits of each book that the server confirmed."""
    found = {book: int(fields.get("version", "0")) for book, fields in seen.positions.items()}
    wrong = [book for book in found if found[book] != commits.get(book, 0)]
    return [Violation("I7", "torn", f"{b} has version {found[b]} after {commits.get(b, 0)} commits") for b in wrong]


def _reserved(seen: Seen) -> Iterator[Violation]:
    for book, fields in seen.positions.items():
        position = read_position(book, fields)
        if position.available < 0:
            yield Violation(
                "I1", "other", f"{book} holds {position.holding.qty}, reserved {position.ladder_state.reserved}"
            )


def _once(seen: Seen, ended: Collection[str]) -> Iterator[Violation]:
    contents: dict[str, str] = {}
    for sent in seen.sent:
        content = sent.fields["payload"]
        if sent.intent_id in contents:
            yield Violation("I2", "doubled", f"intent {sent.intent_id} is out twice")
        if contents.setdefault(sent.intent_id, content) != content:
            yield Violation("I12", "other", f"intent {sent.intent_id} has two contents")
    yield from _rungs_once(seen.published(), ended)


def _rungs_once(published: Iterable[Fields], ended: Collection[str]) -> Iterator[Violation]:
    """A rung's intents follow each other only after one of the intents before has ended."""
    last: dict[tuple[str, str], tuple[str, set[str]]] = {}
    for record in published:
        whole, rungs = _rungs(record["action"])
        for rung in rungs:
            action, ids = last.get((record["position_id"], rung), ("", set()))
            if action and action != whole and not ids & set(ended):
                yield Violation("I2", "doubled", f"rung {rung} of {record['position_id']} is in {action} and {whole}")
            kept = ids if action == whole else set()
            last[record["position_id"], rung] = whole, kept | {record["intent_id"]}


def _rungs(action: str) -> tuple[str, list[str]]:
    """The action of the whole harvest that `action` is (a part of), and its rungs; none of a stop move."""
    kind, *rest = action.split(":")
    return ":".join(action.split(":")[:3]), rest[0].split("+") if kind == "partial" else []


def _accounted(seen: Seen) -> Iterator[Violation]:
    counted = {**seen.counts, "pending": seen.queued}
    parts = {part: counted.get(part, 0) for part in PARTS}
    came, went = counted.get("in", 0), sum(parts.values())
    if came != went:
        kind = "lost" if went < came else "doubled"
        yield Violation("I4", kind, f"{came} came in, {went} are accounted for: {parts}")


def _one_story(seen: Seen) -> Iterator[Violation]:
    """I10."""
    told = [record["intent_id"] for record in seen.published()]
    out = [sent.intent_id for sent in seen.sent]
    if sorted(told) != sorted(out):
        only = sorted((Counter(told) - Counter(out)).elements()), sorted((Counter(out) - Counter(told)).elements())
        yield Violation("I10", "torn", f"only in the journal: {only[0]}; only published: {only[1]}")
    if seen.counts.get("intents", 0) != len(out):
        yield Violation("I10", "torn", f"{len(out)} intents are out, {seen.counts.get('intents', 0)} were counted")
    filled = {book for book, waiting in seen.inboxes.items() if waiting}
    if filled != set(seen.waiting):
        yield Violation("I10", "torn", f"marked as waiting: {sorted(seen.waiting)}, with entries: {sorted(filled)}")
    is_open = {book for book, fields in seen.positions.items() if fields["qty"] != "0"}
    if is_open != set(seen.open):
        yield Violation("I10", "torn", f"marked as open: {sorted(seen.open)}, in truth: {sorted(is_open)}")
    for book, fields in seen.positions.items():
        yield from _one_position(book, fields, seen.journal)


def _one_position(book: str, fields: Fields, journal: Sequence[Fields]) -> Iterator[Violation]:
    """A position and the journal of its lifecycle."""
    position = read_position(book, fields)
    state = position.ladder_state
    own = [r for r in journal if r["position_id"] == position.position_id and r["decision"] == "published"]
    rungs = {rung for record in own for rung in _rungs(record["action"])[1]}
    known = set(state.spent) | set(dict(state.failures))
    if position.is_open and rungs != known:
        yield Violation("I10", "torn", f"{book} has asked for {sorted(rungs)}, its position knows {sorted(known)}")
    stops = [Decimal(record["stop_price"]) for record in own if "stop_price" in record]
    if position.is_open and stops and stops[-1] != state.stop:
        yield Violation("I10", "torn", f"{book} published stop {stops[-1]}, its position has {state.stop}")
    unknown = {r.intent_id for r in state.reservations} - {record["intent_id"] for record in own}
    if unknown:
        yield Violation("I10", "torn", f"{book} reserves for intents that were never published: {sorted(unknown)}")


def _exits(seen: Seen) -> Iterator[Violation]:
    """I11."""
    sides: dict[str, set[str]] = {}
    for sent in seen.sent:
        intent = sent.payload
        if intent["qty"] <= 0 or not intent["reduce_only"] or not intent["reduceOnly"]:
            yield Violation("I11", "other", f"intent {sent.intent_id} is no exit: {sent.fields['payload']}")
        sides.setdefault(intent["position_id"], set()).add(intent["side"])
    for book, fields in seen.positions.items():
        position = read_position(book, fields)
        sides.setdefault(position.position_id, set())
        if position.is_open:
            sides[position.position_id].add("SELL" if position.holding.qty > 0 else "BUY")
    wrong = [position_id for position_id, of in sides.items() if len(of) > 1]
    yield from (Violation("I11", "other", f"the intents of {position_id} have both sides") for position_id in wrong)


def _ordered(seen: Seen) -> Iterator[Violation]:
    newest: dict[str, tuple[int, int]] = {}
    for record in seen.journal:
        cause = parse_id(record["cause"])
        if cause < newest.get(record["book"], (0, 0)):
            yield Violation("I5", "out_of_order", f"{record['book']} decided on {record['cause']} after a later entry")
        newest[record["book"]] = cause
    for book, waiting in seen.inboxes.items():
        ids = [parse_id(source) for source in map(_source_id, waiting) if source]
        if ids != sorted(ids):
            yield Violation("I5", "out_of_order", f"the inbox of {book} is not in stream order")


def _source_id(packed: str) -> str:
    try:
        _, source_id, *_ = json.loads(packed)
    except ValueError:  # not ours: it will be dead-lettered
        return ""
    return str(source_id)


def _paced(seen: Seen, per_minute: int) -> Iterator[Violation]:
    """I3, by the ids that the server gave."""
    at = sorted(parse_id(sent.stream_id)[0] for sent in seen.sent)
    for first, last in zip(at, at[per_minute:], strict=False):
        if last - first < 60_000:
            yield Violation("I3", "other", f"more than {per_minute} intents in the minute from {first}")
            return


def _contents(positions: Mapping[str, Fields]) -> dict[str, object]:
    return {
        book: {name: value for name, value in fields.items() if name not in LEDGER_FIELDS}
        for book, fields in positions.items()
    }


def _by_book(journal: Iterable[Fields]) -> dict[str, object]:
    told: dict[str, list[Fields]] = {}
    for record in journal:
        told.setdefault(record["book"], []).append(record)
    return dict(told)


def _payloads(seen: Seen) -> dict[str, object]:
    return {sent.intent_id: (sent.live, sent.fields["payload"]) for sent in seen.sent}


def _differences(what: str, expected: Mapping[str, object], found: Mapping[str, object]) -> Iterator[Violation]:
    if expected == found:
        return
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            yield Violation("I13" if what == "intent" else "I6", "lost", f"{what} {name} is missing")
        elif name not in expected:
            yield Violation("I6", "doubled", f"{what} {name} should not be: {found[name]}")
        elif expected[name] != found[name]:
            yield Violation("I6", "other", f"{what} {name} is {found[name]}, alone it becomes {expected[name]}")
