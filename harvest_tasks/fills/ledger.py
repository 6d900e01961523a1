"""The tracked positions in Redis: loaded with their inboxes in one round trip, each committed in one atomic step."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from itertools import islice
from typing import Any, Final, NamedTuple
from uuid import uuid4

from harvest_tasks.fills import commit as commits
from harvest_tasks.fills import loading
from harvest_tasks.fills.commit import CommitOutcome
from harvest_tasks.fills.loading import BusyBook, FailedBook, LoadedBook
from harvest_tasks.fills.plan import Plan
from harvest_tasks.fills.symbol_rules import SymbolRules
from harvest_tasks.server import keys, script
from harvest_tasks.server.client import Client, Command, PipelinedRead, checked, round_trip
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.symbols import symbol_of
from kernel.positions.guards import Guards
from kernel.positions.rules import Rules

BATCH: Final = 500
"""Entries of one book in one commit: Lua can pass some thousands of arguments to one command."""
_COMMANDS_PER_BOOK: Final = 4


class LoadedBatch(NamedTuple):
    """What plans are made from: books with their waiting entries, the state of the guards, and the rules by symbol."""

    guards: Guards
    books: list[LoadedBook | BusyBook | FailedBook]
    rules: Mapping[str, Rules]


class Ledger:
    """Reads and commits books. `now_ms` replaces the server's clock, for replays."""

    def __init__(self, client: Client, settings: Settings, now_ms: int | None = None) -> None:
        self._client = client
        self._settings = settings
        self._now_ms = now_ms
        self._token = uuid4().hex
        self._lock_ms = settings.harvest_lock_ttl_sec * 1000
        self._symbol_rules = SymbolRules(client, settings)

    def with_client(self, client: Client) -> "Ledger":
        """This ledger, with its lock token and cached rules, on another connection."""
        other = copy(self)
        other._client = client
        return other

    def load(self, books: Sequence[str]) -> LoadedBatch:
        """Load `books`, in order, in one round trip. Locks each one that is neither busy nor failed."""
        commands = [command for book in books for command in self._load_commands(book)]
        guard_state = self.guard_state(map(symbol_of, books))
        replies = round_trip(self._client, [*commands, *guard_state.commands])
        rows = [replies[i : i + _COMMANDS_PER_BOOK] for i in range(0, len(commands), _COMMANDS_PER_BOOK)]
        return self.parse_batch(zip(books, rows, strict=True), guard_state.parse(replies[len(commands) :]))

    def guard_state(self, symbols: Iterable[str]) -> PipelinedRead[tuple[Guards, dict[str, Rules]]]:
        """A read of what else a plan needs: the guards, and the rules of `symbols`."""
        settings, rules = self._settings, self._symbol_rules.read(symbols)
        guards: list[Command] = [
            ("TIME",),
            ("GET", settings.harvest_kill_switch_key),
            ("LINDEX", keys.WINDOW, settings.harvest_max_actions_per_min - 1),
        ]

        def parse(replies: Sequence[Any]) -> tuple[Guards, dict[str, Rules]]:
            time, switch, oldest, *others = replies
            return loading.guard_state(time, switch, oldest, settings, self._now_ms), rules.parse(others)

        return PipelinedRead([*guards, *rules.commands], parse)

    def parse_batch(
        self, rows: Iterable[tuple[str, Sequence[Any]]], guard_state: tuple[Guards, Mapping[str, Rules]]
    ) -> LoadedBatch:
        """The batch from the `rows` of replies, one of each book, and what `guard_state` read with them."""
        guards, rules = guard_state
        return LoadedBatch(
            guards, [loading.loaded_book(book, row, self._settings.fallback_stop_pct) for book, row in rows], rules
        )

    def load_arguments(self) -> tuple[script.Value, ...]:
        """The arguments with which route.lua loads the books it moves entries to, as `load` does.

        Its replies go to `batch`.
        """
        prefixes = keys.LOCK_PREFIX, keys.POSITION_PREFIX, self._settings.riskproposal_prefix
        return self._token, self._lock_ms, *prefixes, BATCH

    def _load_commands(self, book: str) -> tuple[Command, ...]:
        """The `_COMMANDS_PER_BOOK` commands that load one book."""
        settings = self._settings
        return (
            ("SET", keys.lock(book), self._token, "NX", "PX", self._lock_ms),
            ("HGETALL", keys.position(book)),
            ("XRANGE", keys.inbox(book), "-", "+", "COUNT", BATCH),
            ("HGET", settings.riskproposal_prefix + symbol_of(book), "stop_dist_pct"),
        )

    def commit(self, planned: Iterable[tuple[LoadedBook, Plan]]) -> list[tuple[LoadedBook, Plan, CommitOutcome]]:
        """Commit each plan, in order, in one round trip: each is sent while the next ones are made."""
        sent: list[tuple[LoadedBook, Plan]] = []

        def calls() -> Iterator[script.Call]:
            for loaded, plan in planned:
                sent.append((loaded, plan))
                yield commits.commit_call(loaded, plan, self._settings, self._token, self._now_ms)

        replies = script.run_batches(self._client, _growing(calls()))
        return [
            (loaded, plan, commits.commit_outcome(loaded, plan, reply))
            for (loaded, plan), reply in zip(sent, replies, strict=True)
        ]

    def unlock(self, books: Sequence[str]) -> list[str]:
        """Release locks that no commit released. A lock only saves double work, so its holder is not checked.

        Returns the books with entries in their inbox: the watcher found the book locked and left them to this worker.
        """
        if not books:
            return []
        locks = [keys.lock(book) for book in books]
        replies = round_trip(self._client, [("DEL", *locks), *[("XLEN", keys.inbox(book)) for book in books]])
        checked(replies[0])
        # An inbox of another type is reported by the next load.
        return [book for book, waiting in zip(books, replies[1:], strict=True) if waiting != 0]


def _growing(calls: Iterator[script.Call]) -> Iterator[list[script.Call]]:
    """Batches of one, two, four, and so on: the first intent leaves at once, and many books cost few sends."""
    size = 1
    while batch := list(islice(calls, size)):
        yield batch
        size *= 2
