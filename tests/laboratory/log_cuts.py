"""F6: the server's log is cut, as by a power cut, and a server started on what is left.

One run, in which everything happens that Harvest decides about, leaves a log. It is cut at the end of every command, so
also in the middle of what one script wrote, and at random bytes. What is loaded must be the state after some commit of
the run, with nothing half done, and fresh workers must be able to go on from it.
"""

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from math import inf
from pathlib import Path
from shutil import copytree, rmtree
from subprocess import Popen
from time import monotonic, sleep
from typing import Any, Final
from unittest.mock import patch

from redis.exceptions import ConnectionError as Disconnected

from harvest_tasks.fills.brain import Brain
from harvest_tasks.fills.sweep import held_books
from harvest_tasks.fills.watcher import watch
from harvest_tasks.processes.embedded_server import EmbeddedServer
from harvest_tasks.processes.process_group import ProcessGroups, kill_group
from harvest_tasks.server import keys, script
from harvest_tasks.server.client import Client, connect
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.position import read_position
from laboratory import arena_pool, invariants
from laboratory.accounting import OUTCOMES
from laboratory.arena import Arena, executable
from laboratory.fleet import SETTINGS
from laboratory.invariants import HOLDING, Fields, Seen, Violation
from laboratory.lane import LIVE
from laboratory.model import Book
from laboratory.prepared_scenario import due
from laboratory.producer import Producer
from laboratory.rehearsed_run import folded
from laboratory.report import Result
from laboratory.steps import start_clock, stretched, tick

ID: Final = "F6"
TITLE: Final = "log cut"

RANDOM_CUTS: Final = 2_000
STEPS: Final = 18
"""Of the run."""
BOOKS: Final = ("BTCUSDT", "ETHUSDT")
REFUSED: Final = {"symbol": "SOLUSDT", "status": "FILLED", "side": "BUY", "qty": "-1", "price": "10"}
TRAILED: Final = {
    "symbol": "XRPUSDT",
    "status": "FILLED",
    "side": "BUY",
    "qty": "10",
    "price": "100",
    "stop_loss": "98",
}
SPREAD: Final = 300
LOG: Final = "appendonlydir"
PLAIN_LOG: Final = ("--aof-use-rdb-preamble", "no", "--appendfsync", "no")
AHEAD: Final = 3
"""Servers that a process keeps starting: a start is mostly waiting."""
STARTED_WITHIN_SEC: Final = 30.0
ROUNDS: Final = 8


@dataclass(frozen=True, slots=True)
class Moment:
    """The run after a commit: how often each book was committed by then."""

    number: int
    commits: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Share:
    """The log in the directory `log`, where to cut it (lengths in bytes), and the moments of its run by their print."""

    log: str
    cuts: Sequence[int]
    moments: Mapping[str, Moment]


@dataclass(frozen=True, slots=True)
class Record:
    """What the server takes from its log as one: a command, or all between MULTI and EXEC; `end` is its last byte's."""

    end: int
    commands: Sequence[Sequence[bytes]]


def run(arena: Arena) -> Result:
    """At a scale below 1: a sample of the ends of commands, and fewer random bytes."""
    settings = Settings.from_env({**SETTINGS, **LIVE, "HARVEST_LIVE_STOPS": "true"})
    log, moments, intents = _record(arena, settings)
    content = _incremental(log).read_bytes()
    ends = [0, *(end for end, _ in _commands(content))]
    chance = arena.chance("cuts")
    at_ends = chance.sample(ends, min(len(ends), arena.count(len(ends))))
    at_bytes = [chance.randrange(len(content)) for _ in range(arena.count(RANDOM_CUTS))]
    cuts = sorted([*at_ends, *at_bytes])
    result = Result(ID, TITLE)
    jobs = min(arena.jobs, len(cuts))
    arena_pool.gather(arena, result, _cut_all, [Share(str(log), cuts[n::jobs], moments) for n in range(jobs)])
    result.notes["bytes of the log"] = len(content)
    result.notes["commands in it"] = len(ends) - 1
    result.notes["records, each whole or not at all"] = sum(1 for _ in _records(content))
    result.notes["commits of the run"] = len(moments) - 1
    result.notes["intents of the run"] = intents
    result.notes["cut at ends of commands"] = len(at_ends)
    result.notes["cut at random bytes"] = len(at_bytes)
    return result


# The run.


def _record(arena: Arena, settings: Settings) -> tuple[Path, dict[str, Moment], int]:
    """Play the run; a copy of its log, its moments by their print, and how many intents it published."""
    server = arena.server(options=PLAIN_LOG)
    run_ = _Run(arena, arena.client(server), settings)
    with stretched(), patch.object(script, "run_batches", run_.watched(script.run_batches)):
        for number in range(STEPS):
            run_.step(number)
    seen, ended = invariants.read(run_.client, settings), _ended(run_.client.xrange(settings.stream_execution_result))
    wrong = [*map(str, invariants.always(seen, ended)), *map(str, invariants.at_rest(seen)), *_missing(seen, ended)]
    if wrong:
        raise AssertionError(f"the run that is not cut: {'; '.join(wrong)}")
    server.stop()
    return Path(copytree(server.directory / LOG, arena.directory / LOG)), run_.moments, len(seen.sent)


class _Run:
    """Entries, prices, flips, answers, a refused entry and the kill switch, one thing after the other."""

    def __init__(self, arena: Arena, client: Client, settings: Settings) -> None:
        self.client = client
        self.moments: dict[str, Moment] = {}
        self._settings = settings
        self._producer = Producer(client, settings, arena.chance("entries"), BOOKS, spread=SPREAD)
        self._commits: Counter[str] = Counter()
        self._note()

    def step(self, number: int) -> None:
        """Something of everything, in an order that brings each at least twice."""
        kind = number % 13
        if kind == 3:
            self._producer.send({**REFUSED, "ts": str(number)})
        elif kind == 5:
            self.client.set(self._settings.harvest_kill_switch_key, "1")
        elif kind == 8:
            self.client.delete(self._settings.harvest_kill_switch_key)
        elif kind == 9:
            self._producer.send({**TRAILED, "atr": "1", "trade_id": f"t{number}"}, _mark(str(102 + number)))
        elif kind == 6:
            self._reject()
        elif kind in (1, 4, 10, 12):
            self._producer.answer()
        if kind in (0, 2, 7):
            self._producer.due(BOOKS[number % len(BOOKS)])
        self._producer.feed(2)
        _look(self.client, self._settings)
        for book in sorted(self.client.smembers(keys.WAITING) | held_books(self.client)):
            Brain(self.client, self._settings).process([str(book)], inf)

    def _reject(self) -> None:
        """The newest live harvest, as an exchange may."""
        for _, values in self.client.xrevrange(self._settings.stream_trade_intent):
            intent = json.loads(values["payload"])
            if intent["rungs"]:
                named = {"symbol": intent["symbol"], "intent_id": intent["intent_id"]}
                self._producer.send({**named, "status": "REJECTED"})
                return

    def watched(self, commit: Any) -> Any:
        """What sends commits, and a note of each."""

        def noting(client: Client, batches: Iterable[Sequence[script.Call]]) -> list[Any]:
            calls: list[script.Call] = []
            replies: list[Any] = commit(client, _noted(batches, calls))
            for call, reply in zip(calls, replies, strict=True):
                if reply[0] == "committed":
                    self._commits[call.keys[0].removeprefix(keys.position(""))] += 1
                    self._note()
            return replies

        return noting

    def _note(self) -> None:
        seen = invariants.read(self.client, self._settings)
        self.moments[_print(seen)] = Moment(len(self.moments), dict(self._commits))


def _noted(batches: Iterable[Sequence[script.Call]], calls: list[script.Call]) -> Iterator[Sequence[script.Call]]:
    for batch in batches:
        calls.extend(batch)
        yield batch


def _missing(seen: Seen, ended: set[str]) -> Iterator[str]:
    """What the run was to have and has not: else the cuts say less than they seem to."""
    actions = {record["action"].partition(":")[0] for record in seen.published()}
    held = {record["reason"] for record in seen.journal if record["decision"] == "held"}
    yield from (f"no {kind} was published" for kind in {"partial", "sl_be", "trail"} - actions)
    if "killed" not in held:
        yield "the kill switch held nothing back"
    if not (ended and seen.deadletters):
        yield "no outcome, or no dead letter"
    if all(fields["epoch"] == "1" for fields in seen.positions.values()):
        yield "no position flipped"


def _mark(price: str) -> Fields:
    return {"symbol": TRAILED["symbol"], "status": "PRICE_UPDATE", "price": price}


def _print(seen: Seen) -> str:
    """Of what commits write: positions, journal and intents."""
    told = [sorted((book, sorted(fields.items())) for book, fields in seen.positions.items())]
    told += [[sorted(record.items()) for record in seen.journal]]
    told += [[(sent.stream_id, sorted(sent.fields.items())) for sent in seen.sent]]
    return sha256(repr(told).encode()).hexdigest()


def _ended(rows: Sequence[tuple[str, Fields]]) -> set[str]:
    """The intents that an outcome among the entries named."""
    return {fields["intent_id"] for _, fields in rows if fields["status"] in OUTCOMES}


# The log.


def _incremental(log: Path) -> Path:
    (file,) = log.glob("*.incr.aof")
    return file


def _commands(content: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """Each command, and where it ends."""
    at = 0
    while at < len(content):
        count, at = _number(content, at, b"*")
        command = []
        for _ in range(count):
            size, at = _number(content, at, b"$")
            command.append(content[at : at + size])
            at += size + 2
        yield at, command


def _number(content: bytes, at: int, sign: bytes) -> tuple[int, int]:
    end = content.index(b"\r\n", at)
    assert content[at : at + 1] == sign, content[at : at + 40]
    return int(content[at + 1 : end]), end + 2


def _records(content: bytes) -> Iterator[Record]:
    open_: list[list[bytes]] | None = None
    for end, command in _commands(content):
        match command[0].upper(), open_:
            case b"MULTI", _:
                open_ = []
            case b"EXEC", [*commands]:
                open_ = None
                yield Record(end, commands)
            case _, None:
                yield Record(end, [command])
            case _, [*_]:
                open_.append(command)


# The cuts.


def _cut_all(arena: Arena, share: Share) -> Result:
    settings = Settings.from_env({**SETTINGS, **LIVE, "HARVEST_LIVE_STOPS": "true"})
    result, log = Result(ID, TITLE), Path(share.log)
    content = _incremental(log).read_bytes()
    expected, records = _states(arena, content, share.cuts, settings), list(_records(content))
    with ExitStack() as stack, stretched():
        row = stack.enter_context(_Row(log, content, share.cuts, AHEAD))
        known = _Known(settings)
        for cut, client in row:
            whole = _whole(records, cut)
            wrong, seen, fills = _judge(client, settings, share.moments, expected[whole], known)
            result.cases += 1
            result.fills += fills
            result.intents += len(seen.sent)
            arena_pool.blame(arena, result, wrong, f"log cut to {cut} bytes, after {whole} records")
            if len(result.failures) > ROUNDS:
                break
    return result


def _states(arena: Arena, content: bytes, cuts: Sequence[int], settings: Settings) -> dict[int, Seen]:
    """The state after each number of whole records that a cut leaves: as a server has it that executes one by one."""
    client = arena.client(arena.server(durable=False))
    records = list(_records(content))
    wanted = {_whole(records, cut) for cut in cuts}
    states = {0: invariants.read(client, settings)}
    for number, record in enumerate(records[: max(wanted)], start=1):
        with client.pipeline(transaction=True) as pipe:
            for command in record.commands:
                pipe.execute_command(*command)
            pipe.execute()
        if number in wanted:
            states[number] = invariants.read(client, settings)
    return states


def _whole(records: Sequence[Record], cut: int) -> int:
    """How many records are whole in the first `cut` bytes."""
    return bisect_right(records, cut, key=lambda record: record.end)


def _judge(
    client: Client, settings: Settings, moments: Mapping[str, Moment], expected: Seen, known: "_Known"
) -> tuple[list[Violation], Seen, int]:
    """What does not hold of the state that was loaded, and once fresh workers went on from it; the state; its fills."""
    seen, rows = invariants.read(client, settings), client.xrange(settings.stream_execution_result)
    ended, fills = _ended(rows), sum(fields["status"] == "FILLED" for _, fields in rows)
    wrong = invariants.always(seen, ended)
    if seen != expected:
        wrong.append(Violation("I10", "torn", f"not the state after a whole record: {_unlike(seen, expected)}"))
    moment = moments.get(_print(seen))
    if moment is None:
        wrong.append(Violation("I10", "torn", "positions, journal and intents are of no moment of the run"))
    else:
        wrong += invariants.versions(seen, moment.commits)
    return wrong + _gone_on(client, settings, ended, known.books(rows)), seen, fills


def _gone_on(client: Client, settings: Settings, ended: set[str], model: Sequence[Book]) -> list[Violation]:
    """Fresh ones come, with the kill switch off, once every lock has ended, also those of books only loaded."""
    client.delete(
        settings.harvest_kill_switch_key, keys.LEASE, *(keys.lock(book) for book in client.smembers(keys.BOOKS))
    )
    for _ in range(ROUNDS):
        if client.xlen(settings.stream_execution_result):
            _look(client, settings)
        books = sorted(client.smembers(keys.WAITING) | held_books(client))
        if not books:
            break
        Brain(client, settings).process(books, inf)
    seen = invariants.read(client, settings)
    wrong = [*invariants.always(seen, ended), *invariants.at_rest(seen)]
    for book in model:
        wrong += invariants.like(seen, book, HOLDING)
        position = read_position(book.name, seen.positions.get(book.name, {}))
        wrong += due(seen, book) if position.available > 0 else []
    return wrong


def _look(client: Client, settings: Settings) -> None:
    """Watch until nothing is unread."""
    while not _has_read_all(client, settings):
        start_clock()
        watch(client, settings, 1.0, _tick)


def _tick(_: Sequence[str]) -> None:
    tick([("XREADGROUP",)])


def _has_read_all(client: Client, settings: Settings) -> bool:
    source = settings.stream_execution_result
    if not client.exists(source):
        return True
    groups = client.xinfo_groups(source)
    newest = client.xinfo_stream(source)["last-generated-id"]
    return bool(groups) and not groups[0]["pending"] and groups[0]["last-delivered-id"] == newest


def _unlike(seen: Seen, expected: Seen) -> str:
    parts = [name for name in Seen.__slots__ if getattr(seen, name) != getattr(expected, name)]
    return "; ".join(f"{name}: {getattr(seen, name)}, not {getattr(expected, name)}"[:200] for name in parts)


class _Known:
    """What the model makes of the entries on a stream, kept by how many there are."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kept: dict[int, list[Book]] = {}

    def books(self, rows: Sequence[tuple[str, Fields]]) -> list[Book]:
        if len(rows) not in self._kept:
            self._kept[len(rows)] = folded(rows, self._settings)
        return self._kept[len(rows)]


class _Row:
    """Servers on cut logs, one after the other; while one is looked at, the next are starting."""

    def __init__(self, log: Path, content: bytes, cuts: Sequence[int], ahead: int) -> None:
        self._log, self._content, self._cuts = log, content, cuts
        self._servers = [EmbeddedServer(executable(), unix=True, options=PLAIN_LOG) for _ in range(ahead)]
        self._clients = [connect(server.url()) for server in self._servers]
        self._running: list[Popen[bytes] | None] = [None] * ahead
        self._leash = ProcessGroups()

    def __iter__(self) -> Iterator[tuple[int, Client]]:
        for number in range(min(len(self._servers), len(self._cuts))):
            self._launch(number)
        for number, cut in enumerate(self._cuts):
            yield cut, self._started(number)
            self._end(number % len(self._servers))
            if number + len(self._servers) < len(self._cuts):
                self._launch(number + len(self._servers))

    def __enter__(self) -> "_Row":
        return self

    def __exit__(self, *_: object) -> None:
        for place, (client, server) in enumerate(zip(self._clients, self._servers, strict=True)):
            client.close()
            self._end(place)
            server.close()
        self._leash.close()

    def _launch(self, number: int) -> None:
        place = number % len(self._servers)
        server = self._servers[place]
        log = server.directory / LOG
        rmtree(log, ignore_errors=True)
        copytree(self._log, log)
        _incremental(log).write_bytes(self._content[: self._cuts[number]])
        with (server.directory / "server.log").open("ab") as output:
            self._running[place] = self._leash.start(server.argv, output=output.fileno())

    def _started(self, number: int) -> Client:
        place = number % len(self._servers)
        client, process = self._clients[place], self._running[place]
        deadline = monotonic() + STARTED_WITHIN_SEC
        while True:
            try:
                client.ping()
            except Disconnected:
                assert process is not None
                assert process.poll() is None, f"no start: {self._servers[place].last_log_line()}"
                assert monotonic() < deadline, "the server does not start"
                sleep(0.002)
            else:
                return client

    def _end(self, place: int) -> None:
        process = self._running[place]
        if process is not None:
            kill_group(process)
            process.wait()
        self._clients[place].connection_pool.disconnect()
        self._running[place] = None
