"""A scenario made ready to be played over and over: the state it begins in, and what it must come to whoever acts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from math import inf
from typing import Any, Final

import redis

from harvest_tasks.fills.brain import Brain
from harvest_tasks.fills.ledger import LoadedBatch as Loads
from harvest_tasks.fills.watcher import InlineProcessing, watch
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings
from laboratory import invariants
from laboratory.actors import Endless, Stage, Start, Story, Switch, Work
from laboratory.invariants import HOLDING, Fields, Seen, Violation
from laboratory.model import Book
from laboratory.scenarios import BOOK, Scenario
from laboratory.steps import pack

WORKER, WATCHER, ANSWERER = "worker", "watcher", "answering watcher"
WATCHERS: Final = frozenset((WATCHER, ANSWERER))
SLICE: Final = 1.0
"""A watcher's, in reads."""
ROUNDS: Final = 8
"""After that many a book that is still due will stay so."""
DEDUP: Final = "quantum:dedup:harvest:*"


@dataclass(frozen=True, slots=True)
class Prepared:
    """`start` is where each play begins: books have their `versions`, and `sent` intents are out. It must come to
    `alone`, which is what one watcher and one worker make of it, and to `model`, which the rules make of it.
    """

    scenario: Scenario
    settings: Settings
    start: Start
    alone: Seen
    model: Book
    versions: Mapping[str, int]
    sent: int

    def work(self, role: str) -> Work:
        return worker(self.settings) if role == WORKER else watcher(self.settings, answers=role == ANSWERER)


def worker(settings: Settings) -> Work:
    """Brings the book up to date, once."""

    def process(client: Client) -> None:
        Brain(client, settings).process([BOOK], inf)

    return process


def watcher(settings: Settings, *, answers: bool = False) -> Work:
    """Watches for one slice; processes what it moved if it `answers`."""

    def look(client: Client) -> None:
        watch(client, settings, SLICE, _no_bell, inline=_inline(Brain(client, settings)) if answers else None)

    return look


def prepare(
    stage: Stage,
    dumps: Client,
    scenario: Scenario,
    roles: Sequence[str],
    switches: Mapping[str, Switch],
) -> Prepared:
    """`dumps` is a client for bytes. Raises AssertionError when a lone run is not what the model says."""
    settings, client = scenario.settings, stage.client
    client.flushdb()
    ids = _ids(client, len(scenario.before) + len(scenario.news))
    _feed(client, settings, ids[: len(scenario.before)], scenario.before)
    settle(stage, settings)
    _bring(stage, settings, ids[len(scenario.before) :], scenario.news, roles)
    client.delete(keys.LEASE, keys.lock(BOOK))
    restored = [("FLUSHDB",), *_restoring(dumps)]
    versions, sent = _versions(client), len(invariants.read(client, settings, [BOOK]).sent)
    settle(stage, settings)
    alone, model = invariants.read(client, settings, [BOOK]), scenario.model(ids)
    wrong = [*invariants.like(alone, model), *invariants.always(alone, scenario.ended), *invariants.at_rest(alone)]
    if wrong:
        raise AssertionError(f"{scenario.name}, by one watcher and one worker: {'; '.join(map(str, wrong))}")
    ttl = {"the lease": [keys.LEASE], "the lock": [keys.lock(BOOK)], "dedup": sorted(client.keys(DEDUP))}
    outs = settings.stream_harvest_suggestions, settings.stream_trade_intent
    start = Start(pack(*restored), len(restored), {k: names for k, names in ttl.items() if names}, outs, switches)
    return Prepared(scenario, settings, start, alone, model, versions, sent)


def verdict(stage: Stage, prepared: Prepared, story: Story, forget: bool) -> tuple[Seen, list[Violation]]:
    """Let time pass, the switch be off and fresh ones come; then what there is, and what of it should not be.

    `forget`: time enough that dedup keys expire, too.
    """
    scenario, settings, ttl = prepared.scenario, prepared.settings, prepared.start.ttl
    gone = [key for kind, names in ttl.items() if kind != "dedup" or forget for key in names]
    stage.wire.say(("DEL", settings.harvest_kill_switch_key, *gone))
    endless = [Violation("I13", "other", str(error)) for error in _settled(stage, settings)]
    seen = invariants.read(stage.client, settings, [BOOK])
    commits = {BOOK: prepared.versions.get(BOOK, 0) + stage.commits[BOOK]}
    found = [*invariants.always(seen, scenario.ended), *invariants.at_rest(seen), *invariants.versions(seen, commits)]
    found += endless + [Violation(invariant, "other", what) for invariant, what in story.wrong]
    if story.turned:
        return seen, [*found, *invariants.like(seen, prepared.model, HOLDING), *due(seen, prepared.model)]
    return seen, [*found, *invariants.same_effects(seen, prepared.alone)]


def settle(stage: Stage, settings: Settings) -> None:
    """A fresh watcher, and fresh workers for the books that the sweep would call, until nothing is left to do."""
    stage.direct(watcher(settings))
    for _ in range(ROUNDS):
        groups, waiting, held = stage.wire.say(
            ("XINFO", "GROUPS", settings.stream_execution_result),
            ("SMEMBERS", keys.WAITING),
            ("ZRANGE", keys.HELD, 0, -1),
        )
        if _is_behind(groups):
            stage.direct(watcher(settings))
        elif waiting or held:
            Brain(stage.client, settings).process(sorted({*waiting, *held}), inf)
        else:
            return


def _is_behind(groups: Any) -> bool:
    """From the reply of XINFO GROUPS; our group is the only one."""
    ((*flat,),) = groups
    group = dict(zip(flat[::2], flat[1::2], strict=True))
    return bool(group["pending"]) or group["lag"] != 0


def _settled(stage: Stage, settings: Settings) -> list[Endless]:
    try:
        settle(stage, settings)
    except Endless as error:
        return [error]
    return []


def due(seen: Seen, model: Book) -> Iterator[Violation]:
    """I13: rungs that the last price is beyond, and that were never asked for."""
    if not model.sign or model.frozen:
        return
    fields: Fields = seen.positions[model.name]
    reached = {rung for rung, _ in model.rules.ladder if model.r >= rung}
    asked = {Fraction(rung) for rung in fields["spent"].split(",") if rung}
    if reached - asked:
        yield Violation(
            "I13", "lost", f"{model.name} is at R={float(model.r):.3g} and rungs are left: {fields['spent']}"
        )


def _ids(client: Client, count: int) -> list[str]:
    """Of entries that came a moment ago."""
    seconds, _ = client.time()
    return [f"{seconds * 1000 - 1000 + n}-0" for n in range(count)]


def _feed(client: Client, settings: Settings, ids: Sequence[str], entries: Sequence[Fields]) -> None:
    for entry_id, entry in zip(ids, entries, strict=True):
        fields: dict[Any, Any] = dict(entry)
        client.xadd(settings.stream_execution_result, fields, id=entry_id)


def _bring(stage: Stage, settings: Settings, ids: Sequence[str], news: Sequence[Fields], roles: Sequence[str]) -> None:
    """News to where the roles find them: in the inbox for workers, and for each watcher one in the stream."""
    routed = max(0, len(news) - sum(role in WATCHERS for role in roles))
    for entry_id, entry in zip(ids[:routed], news[:routed], strict=True):
        _feed(stage.client, settings, [entry_id], [entry])
        stage.direct(watcher(settings))
    _feed(stage.client, settings, ids[routed:], news[routed:])


def _restoring(dumps: Client) -> Iterator[tuple[Any, ...]]:
    """The commands that bring back every key there is."""
    for key in sorted(dumps.keys()):
        ttl_ms = max(0, dumps.pttl(key))
        yield "RESTORE", key, ttl_ms, dumps.dump(key)


def _versions(client: Client) -> dict[str, int]:
    return {book: int(client.hget(keys.position(book), "version") or 0) for book in client.smembers(keys.BOOKS)}


def _carry_out(brain: Brain, work: Loads) -> None:
    brain.process_loaded(work, inf)


def _inline(brain: Brain) -> InlineProcessing:
    return InlineProcessing(brain.ledger, partial(_carry_out, brain))


def _no_bell(_: Sequence[str]) -> None:
    """Bells may be lost: whoever comes later finds the books that wait."""


def bytes_client(path: str) -> Client:
    """Whose replies are not text."""
    return redis.Redis(unix_socket_path=path, protocol=2)
