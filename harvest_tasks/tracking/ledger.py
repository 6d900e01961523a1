"""The tracked positions in Redis: loaded with their inboxes in one round trip, committed in one atomic step each."""

from collections.abc import Sequence
from typing import Final
from uuid import uuid4

from harvest_tasks import keys, script
from harvest_tasks.connection import Client, Command, exchange
from harvest_tasks.settings import Settings
from harvest_tasks.symbols import of_book
from harvest_tasks.tracking import commitment, loading
from harvest_tasks.tracking.commitment import Outcome
from harvest_tasks.tracking.loading import Busy, Failed, Loaded
from harvest_tasks.tracking.plan import Plan
from kernel.guards import Guards

BATCH: Final = 500
"""Entries of one book in one commit: Lua can pass some thousands of arguments to one command."""
_PER_BOOK: Final = 4


class Ledger:
    """Reads and commits books. `now_ms` replaces the server's clock, for replays."""

    def __init__(self, client: Client, settings: Settings, now_ms: int | None = None) -> None:
        self._client = client
        self._settings = settings
        self._now_ms = now_ms
        self._token = uuid4().hex

    def load(self, books: Sequence[str]) -> tuple[Guards, list[Loaded | Busy | Failed]]:
        """The guards of this moment and each book, in order, in one round trip."""
        settings = self._settings
        commands: list[Command] = [
            ("TIME",),
            ("GET", settings.harvest_kill_switch_key),
            ("LINDEX", keys.WINDOW, settings.harvest_max_actions_per_min - 1),
        ]
        for book in books:
            commands += self._loading(book)
        time, switch, oldest, *rows = exchange(self._client, commands)
        loaded = [
            loading.book(book, rows[i * _PER_BOOK : (i + 1) * _PER_BOOK], settings.fallback_stop_pct)
            for i, book in enumerate(books)
        ]
        return loading.guards(time, switch, oldest, settings, self._now_ms), loaded

    def _loading(self, book: str) -> tuple[Command, ...]:
        """The `_PER_BOOK` commands that load one book."""
        settings = self._settings
        return (
            ("SET", keys.lock(book), self._token, "NX", "PX", settings.harvest_lock_ttl_sec * 1000),
            ("HGETALL", keys.position(book)),
            ("XRANGE", keys.inbox(book), "-", "+", "COUNT", BATCH),
            ("HGET", settings.riskproposal_prefix + of_book(book), "stop_dist_pct"),
        )

    def commit(self, planned: Sequence[tuple[Loaded, Plan]]) -> list[Outcome]:
        """What became of each plan, in order, in one round trip."""
        calls = [commitment.call(loaded, plan, self._settings, self._token, self._now_ms) for loaded, plan in planned]
        replies = script.run_all(self._client, calls)
        return [commitment.outcome(loaded, plan, reply) for (loaded, plan), reply in zip(planned, replies, strict=True)]

    def unlock(self, books: Sequence[str]) -> None:
        """Give up locks that no commit gave up. A lock only saves double work, so its holder is not asked."""
        if books:
            self._client.delete(*(keys.lock(book) for book in books))
