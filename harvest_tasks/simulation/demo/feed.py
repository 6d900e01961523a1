"""Writes entries to the input stream, and waits until Harvest and the executor have processed them completely."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.position import read_position
from kernel.positions.position import Position

POLL_SEC: Final = 0.002
SETTLE_TIMEOUT_SEC: Final = 20.0
MAXLEN: Final = 1_000_000
"""Far more than the demo feeds, so that nothing is trimmed."""

EntryFields = Mapping[str, str]


class Stuck(RuntimeError):
    """Harvest did not process an entry in time."""


class Interrupted(Exception):
    """The demo was asked to stop."""


class Feed:
    """Feeds a demo in one-way mode, where each symbol has one book."""

    def __init__(
        self, client: Client, settings: Settings, symbols: Sequence[str], is_stopping: Callable[[], bool]
    ) -> None:
        self._client = client
        self._settings = settings
        self._symbols = symbols
        self._is_stopping = is_stopping

    def send(self, entries: Iterable[EntryFields]) -> dict[str, Position]:
        """Send `entries`, and return the positions once these, the resulting intents and their fills are applied.

        Raises `Stuck`, or `Interrupted`.
        """
        now_ms = str(time.time_ns() // 1_000_000)
        with self._client.pipeline(transaction=False) as pipe:
            for entry in entries:
                fields: dict[Any, Any] = {**entry, "ts": now_ms}
                pipe.xadd(self._settings.stream_execution_result, fields, maxlen=MAXLEN, approximate=True)
            pipe.execute()
        return self._settled(time.monotonic() + SETTLE_TIMEOUT_SEC)

    def publish(self, key: str, fields: Mapping[str, str]) -> None:
        """Write a hash that another service would write in production."""
        values: dict[Any, Any] = {**fields}
        self._client.hset(key, mapping=values)

    def _settled(self, deadline: float) -> dict[str, Position]:
        while True:
            time.sleep(POLL_SEC)
            books, waits = self._read_progress()
            if waits is None:
                return {s: read_position(s, fields) for s, fields in zip(self._symbols, books, strict=True)}
            if self._is_stopping():
                raise Interrupted
            if time.monotonic() > deadline:
                raise Stuck(f"not processed within {SETTLE_TIMEOUT_SEC:g} s: {waits}")

    def _read_progress(self) -> tuple[list[EntryFields], str | None]:
        """The position hashes, and which process still has work (None if none has), read atomically.

        Every step of an entry is atomic, so at any moment it is in exactly one place: unread or pending in the input
        stream, waiting in an inbox, or unread or pending in the intent stream.
        """
        with self._client.pipeline(transaction=True) as pipe:
            for stream in (self._settings.stream_execution_result, self._settings.stream_trade_intent):
                pipe.xinfo_stream(stream)
                pipe.xinfo_groups(stream)
            pipe.scard(keys.WAITING)
            for symbol in self._symbols:
                pipe.hgetall(keys.position(symbol))
            results, watcher, intents, executor, waiting, *books = pipe.execute()
        if not _is_through(results, watcher, keys.GROUP):
            return books, "the watcher has entries to read"
        if waiting:
            return books, "a book has entries to apply"
        return books, None if _is_through(intents, executor, keys.PAPER_GROUP) else "the executor has intents to answer"


def _is_through(stream: Any, groups: Sequence[Mapping[str, Any]], name: str) -> bool:
    """Whether the group has read and acknowledged everything."""
    group = next((group for group in groups if group["name"] == name), None)
    return group is not None and not group["pending"] and group["last-delivered-id"] == stream["last-generated-id"]
