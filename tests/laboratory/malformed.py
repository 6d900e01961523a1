"""F12: entries that nobody can use, through the whole path: a table, entries that Hypothesis makes up, and what a
coverage-guided fuzzer finds at the door, brought through the path, too.

Each is refused or applied, in time; it raises nothing, its letter is bounded, the book that it names is frozen, no
other book is touched, and what comes behind it is applied.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from time import thread_time
from typing import Any, Final

from hypothesis import given, seed
from hypothesis import strategies as st
from malformed_entries import CASES, Case

from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.execution_result import Refused, parse
from harvest_tasks.wire.symbols import symbol_of
from laboratory import fuzz, invariants
from laboratory.arena import Arena
from laboratory.arena_pool import blame
from laboratory.drawing import drawing, short_shrinks
from laboratory.fuzz_target import LETTER_CHARACTERS
from laboratory.invariants import Fields, Seen, Violation
from laboratory.prepared_scenario import bytes_client
from laboratory.report import Result
from laboratory.sequential_path import turn
from laboratory.server_pool import socket_of

ID: Final = "F12"
TITLE: Final = "malformed entries"

DRAWN: Final = 5_000
BATCH: Final = 10
"""Drawn entries that come at once."""
FUZZ_SEC: Final = 60.0
REPLAYED: Final = 2_000
"""Of what the fuzzer kept, at most."""
SAFE: Final = "SAFEUSDT"
"""A book that no entry names."""
BOOK: Final = "BTCUSDT"
SLOWEST_SEC: Final = 1.0
"""CPU of this process for one entry, with a watcher, a sweep and a worker."""
FIRST_MS: Final = 1_700_000_000_000
MODES: Final = ((), ("LONG", "SHORT"))


def run(arena: Arena) -> Result:
    """At a scale below 1: a part of the table, fewer entries, and a shorter time for the fuzzer."""
    result = Result(ID, TITLE)
    fuzzer = _Fuzzer(arena) if find_spec("atheris") else None
    path = _Path(arena)
    _table(arena, result, path)
    _drawn(arena, result, path)
    if fuzzer is None:
        result.notes["fuzzed"] = "skipped: atheris is not installed"
    else:
        _fuzzed(arena, result, path, fuzzer)
    result.notes["slowest entry in the path, s of CPU"] = path.slowest_sec
    return result


def _table(arena: Arena, result: Result, path: "_Path") -> None:
    sent = [case for case in CASES if _can_be_sent(case.fields)]
    chosen = sent if arena.scale >= 1 else arena.chance("table").sample(sent, arena.count(len(sent)))
    for case in chosen:
        blame(arena, result, path.alone(case), f"{case.name}: {_shown(case.fields)}")
    result.cases += len(chosen)
    result.fills += 2 * len(chosen)
    result.notes["of the table"] = len(chosen)
    result.notes["cannot be put into a stream"] = len(CASES) - len(sent)


def _drawn(arena: Arena, result: Result, path: "_Path") -> None:
    tried: list[Sequence[Fields]] = []

    @seed(arena.chance("drawn").getrandbits(64))
    @drawing(max(1, arena.count(DRAWN) // BATCH))
    @given(st.lists(ANY_ENTRY, min_size=BATCH, max_size=BATCH))
    def together(entries: list[Fields]) -> None:
        tried.append(entries)
        wrong = path.together(entries)
        assert not wrong, wrong

    try:
        with short_shrinks():
            together()
    except AssertionError:
        blame(arena, result, path.together(tried[-1]), "\n".join(_shown(entry) for entry in tried[-1]))
        if not result.failures:
            result.failures.append(arena.failure("failed once and then no more", str(tried[-1])))
    result.cases += sum(map(len, tried))
    result.notes["drawn"] = sum(map(len, tried))
    result.notes["refused, ignored, applied of them"] = [path.refused, path.ignored, path.applied]


def _fuzzed(arena: Arena, result: Result, path: "_Path", fuzzer: "_Fuzzer") -> None:
    runs, found = fuzzer.end()
    for data, log in found:
        result.failures.append(arena.failure(f"the fuzzer found {_shown(fuzz.fields_of(data))}", log))
    kept = [entry for entry in map(fuzz.fields_of, fuzzer.corpus()) if entry]
    kept = arena.chance("replayed").sample(kept, min(len(kept), arena.count(REPLAYED)))
    for at in range(0, len(kept), BATCH):
        entries = kept[at : at + BATCH]
        blame(arena, result, path.together(entries), "\n".join(_shown(entry) for entry in entries))
    result.cases += runs
    result.notes["fuzzed"] = runs
    result.notes["of these through the whole path"] = len(kept)
    if not runs:
        result.failures.append(arena.failure("the fuzzer did not run", fuzzer.log()[-2_000:]))


class _Path:
    """The path, with books of either mode ready for each case."""

    def __init__(self, arena: Arena) -> None:
        server = arena.server(durable=False)
        self.slowest_sec = 0.0
        self.refused = self.ignored = self.applied = 0
        self._client = arena.client(server)
        self._dumps = bytes_client(socket_of(server))
        self._settings = Settings.from_env({"HARVEST_MAX_ACTIONS_PER_MIN": "1000"})
        self._starts = [self._prepare(legs) for legs in MODES]

    def alone(self, case: Case) -> list[Violation]:
        """One entry of the table, between good ones."""
        legs = MODES[":" in (case.book or "")]
        self._restore(legs)
        try:
            cpu = self._spent(self._feed([case.fields], legs))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            return [Violation("I4", "other", f"raised {error!r}")]
        seen = invariants.read(self._client, self._settings)
        wrong = [*self._common(seen, legs), *_refusal(seen, case)]
        if cpu > SLOWEST_SEC:
            wrong.append(Violation("I9", "other", f"took {cpu:.2f} s of CPU"))
        return wrong

    def together(self, entries: Sequence[Fields]) -> list[Violation]:
        """Whatever they are, between good ones."""
        legs = MODES[len(entries[0]) % 2]
        self._restore(legs)
        try:
            cpu = self._spent(self._feed(entries, legs))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            return [Violation("I4", "other", f"raised {error!r}")]
        seen = invariants.read(self._client, self._settings)
        wrong = [*self._common(seen, legs), *self._fates(seen, entries, legs)]
        if cpu > SLOWEST_SEC * len(entries):
            wrong.append(Violation("I9", "other", f"{len(entries)} entries took {cpu:.2f} s of CPU"))
        return wrong

    # Before.

    def _prepare(self, legs: Sequence[str]) -> tuple[list[tuple[Any, ...]], Fields]:
        """The commands that make the state before each case, and what becomes of the safe book in each."""
        self._client.flushdb()
        for n, fields in enumerate([_good(SAFE), *_goods(legs)]):
            self._xadd(fields, n)
        turn(self._client, self._settings)
        packed = [("FLUSHDB",), *self._restoring()]
        self._spent(self._feed([], legs))
        return packed, self._client.hgetall(f"quantum:harvest:position:{SAFE}")

    def _restoring(self) -> Iterator[tuple[Any, ...]]:
        for key in sorted(self._dumps.keys()):
            yield "RESTORE", key, 0, self._dumps.dump(key)

    def _restore(self, legs: Sequence[str]) -> None:
        packed, _ = self._starts[MODES.index(tuple(legs))]
        with self._dumps.pipeline(transaction=False) as pipe:
            for command in packed:
                pipe.execute_command(*command)
            pipe.execute()

    def _feed(self, entries: Sequence[Fields], legs: Sequence[str]) -> Callable[[], None]:
        for n, fields in enumerate(entries, start=100):
            self._xadd(fields, n)
        for n, fields in enumerate([_good(SAFE, "107"), *_goods(legs, "107")], start=9_000):
            self._xadd(fields, n)
        return lambda: turn(self._client, self._settings)

    def _xadd(self, fields: Fields, ms: int) -> None:
        """As a producer in another language would, whose texts are bytes."""
        raw: dict[Any, Any] = {_raw(name): _raw(value) for name, value in fields.items()}
        self._dumps.xadd(self._settings.stream_execution_result, raw, id=f"{FIRST_MS + ms}-0")

    def _spent(self, work: Callable[[], None]) -> float:
        began = thread_time()
        work()
        cpu = thread_time() - began
        self.slowest_sec = max(self.slowest_sec, cpu)
        return cpu

    # After.

    def _common(self, seen: Seen, legs: Sequence[str]) -> Iterator[Violation]:
        yield from invariants.always(seen)
        yield from invariants.at_rest(seen)
        _, safe = self._starts[MODES.index(tuple(legs))]
        if seen.positions[SAFE] != safe:
            yield Violation("I5", "other", f"a book that nobody named is {seen.positions[SAFE]}, not {safe}")
        for letter in seen.deadletters:
            if len(letter["reason"]) + len(letter["head"]) > LETTER_CHARACTERS:
                yield Violation("I4", "other", f"a letter of {len(letter['head'])} characters")

    def _fates(self, seen: Seen, entries: Sequence[Fields], legs: Sequence[str]) -> Iterator[Violation]:
        """Each refused entry has its letter, and each book that one names is frozen."""
        letters = {letter["source_id"] for letter in seen.deadletters}
        for n, fields in enumerate(entries, start=100):
            entry_id = f"{FIRST_MS + n}-0"
            verdict = parse(entry_id, fields)
            if not isinstance(verdict, Refused):
                continue
            if entry_id not in letters:
                yield Violation("I4", "lost", f"{_shown(fields)} is refused, and there is no letter of it")
            if verdict.book is not None and not _is_frozen(seen, verdict.book):
                yield Violation("I3", "other", f"{verdict.book} is not frozen after {_shown(fields)}")
            if verdict.symbol == BOOK and not all(_is_frozen(seen, book) for book in _books(legs)):
                yield Violation("I3", "other", f"books of {BOOK} are not frozen after {_shown(fields)}")
        self.refused += len(letters)
        self.ignored += seen.counts.get("ignored", 0)
        self.applied += seen.counts.get("applied", 0)


def _refusal(seen: Seen, case: Case) -> Iterator[Violation]:
    """What the table promises."""
    letters = [letter["reason"] for letter in seen.deadletters]
    if len(letters) != 1 or not letters[0].startswith(f"{case.reason.value}: "):
        yield Violation("I4", "lost", f"dead letters are {letters}, refused is it as {case.reason.value}")
    frozen = {book for book, fields in seen.positions.items() if fields["frozen"]}
    doubtful = {case.book} if case.book else {book for book in seen.positions if symbol_of(book) == case.symbol}
    if frozen != doubtful:
        yield Violation("I3", "other", f"frozen are {sorted(frozen)}, it puts {sorted(doubtful)} in doubt")


def _is_frozen(seen: Seen, book: str) -> bool:
    """Or, where its symbol is tracked in the other mode, all of that."""
    names = [book] if book in seen.positions else [b for b in seen.positions if symbol_of(b) == symbol_of(book)]
    return bool(names) and all(seen.positions[name]["frozen"] for name in names)


def _good(book: str, price: str = "100") -> Fields:
    symbol, _, leg = book.partition(":")
    fill = {"symbol": symbol, "status": "FILLED", "side": "SELL" if leg == "SHORT" else "BUY", "qty": "1"}
    return {**fill, "price": price, **({"position_side": leg} if leg else {})}


def _goods(legs: Sequence[str], price: str = "100") -> list[Fields]:
    return [_good(book, price) for book in _books(legs)]


def _books(legs: Sequence[str]) -> list[str]:
    """The books of `BOOK` that are tracked before each case."""
    return [f"{BOOK}:{leg}" for leg in legs] or [BOOK]


def _can_be_sent(fields: Mapping[str, str]) -> bool:
    """A stream's entry has fields, and they are bytes."""
    try:
        _raw("".join([*fields, *fields.values()]))
    except UnicodeEncodeError:
        return False
    return bool(fields)


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _shown(fields: Fields) -> str:
    return ascii(dict(fields))[:400]


class _Fuzzer:
    """A process that fuzzes the door for a while."""

    def __init__(self, arena: Arena) -> None:
        self._corpus = arena.directory / "corpus"
        self._found = arena.directory / "found"
        self._log = arena.directory / "fuzz.log"
        self._seconds = max(2, round(FUZZ_SEC * min(1.0, arena.scale)))
        for directory in (self._corpus, self._found):
            directory.mkdir()
        self._plant()
        tokens = arena.directory / "tokens"
        tokens.write_text("".join(f"{_quoted(token)}\n" for token in fuzz.TOKENS))
        flags = (
            f"-max_total_time={self._seconds}",
            f"-seed={arena.chance('fuzz').randrange(1, 2**31)}",
            f"-dict={tokens}",
            f"-artifact_prefix={self._found}/",
            *("-max_len=6000", "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1"),
        )
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - a module of this package
                [sys.executable, "-m", "laboratory.fuzz", str(self._corpus), *flags],
                stdout=log,
                stderr=log,
                env=_environ(),
            )

    def end(self) -> tuple[int, list[tuple[bytes, str]]]:
        """When its time is over: how many entries it tried, and each that failed with the end of the log."""
        try:
            self._process.wait(self._seconds + 120)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        counted = re.findall(r"number_of_executed_units:\s+([0-9]+)", self.log())
        found = [(path.read_bytes(), self.log()[-3_000:]) for path in sorted(self._found.iterdir())]
        return int(counted[-1]) if counted else 0, found

    def corpus(self) -> list[bytes]:
        """What it kept, because it led somewhere new."""
        return [path.read_bytes() for path in sorted(self._corpus.iterdir())]

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def _plant(self) -> None:
        """It begins with good entries, and with the table."""
        goods = [_good(BOOK), _good(f"{BOOK}:LONG"), {"symbol": BOOK, "status": "PRICE_UPDATE", "price": "1"}]
        seeds = [*goods, *(case.fields for case in CASES if _can_be_sent(case.fields))]
        for n, fields in enumerate(seeds):
            data = fuzz.bytes_of(fields)
            if len(data) < 6_000:
                Path(self._corpus / f"seed-{n}").write_bytes(data)


def _environ() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _quoted(token: str) -> str:
    """For libFuzzer's dictionary."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in token.encode()) + '"'


_TEXT: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_BYTES: Final = st.binary(max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
_LIKELY: Final = st.sampled_from([*fuzz.TOKENS, "BTCUSDT", "ETHUSDT", "BUY", "1", "100", "0.5", ""])
_NAMES: Final = st.sampled_from(fuzz.NAMES)
_OBJECTS: Final = st.dictionaries(_NAMES, _LIKELY | _TEXT, max_size=8).map(
    lambda members: "{" + ",".join(f'"{name}":"{value}"' for name, value in members.items()) + "}"
)
_LOOSE: Final = st.dictionaries(_NAMES | _TEXT | _BYTES, _LIKELY | _TEXT | _BYTES | _OBJECTS, min_size=1, max_size=12)
_SENSIBLE: Final = st.sampled_from(
    [
        *(("qty", "2"), ("price", "101.5"), ("trade_id", "7"), ("side", "SELL"), ("status", "CANCELED"), ("fee", "-1")),
        *(("status", "NEW"), ("status", "Settled"), ("status", "ADL"), ("qty", "0"), ("last_price", "99"), ("sl", "0")),
        *(("position_side", "net"), ("position_side", "SIDEWAYS"), ("trade_id", "None"), ("order_id", "7")),
        *(("status", "PRICE_UPDATE"), ("status", "FUNDING"), ("amount", "0.5"), ("intent_id", "h-1"), ("note", "")),
    ]
)
_NEAR: Final = st.builds(
    lambda base, sensible, change: {**base, **dict(sensible), **change},
    st.sampled_from([_good(BOOK), _good(f"{BOOK}:LONG"), _good("ETHUSDT")]),
    st.lists(_SENSIBLE, max_size=3),
    st.just({}) | st.dictionaries(_NAMES, _LIKELY | _BYTES | _OBJECTS, max_size=2),
)
ANY_ENTRY: Final = _LOOSE | _NEAR
