"""A trading desk: feeds entries to a real server, routes and processes them in this process, reads what came out."""

import json
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

from harvest_tasks.fills.brain import Brain
from harvest_tasks.fills.stream import InputStream
from harvest_tasks.fills.watcher import watch
from harvest_tasks.server import keys, liveness
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.position import read_position
from kernel.positions.position import Position

Fields = Mapping[str, str]
LIVE = {"HARVEST_MODE": "live", "HARVEST_LIVE_CONFIRM": "yes"}


class Desk:
    """One client's view of the whole path."""

    def __init__(self, client: Client, now_ms: int | None = None, /, **environ: str) -> None:
        self.client: Any = client  # redis-py types a reply as all that it could be under any settings
        self.now_ms = now_ms
        self.settings = Settings.from_env({"HARVEST_MAX_ACTIONS_PER_MIN": "1000", **environ})
        self.source = self.settings.stream_execution_result
        self.last_ms = self.server_ms()

    def server_ms(self) -> int:
        seconds, micros = map(int, self.client.time())
        return seconds * 1000 + micros // 1000

    def feed(self, *entries: Fields, at: str = "*") -> list[str]:
        return [self.client.xadd(self.source, dict(entry), id=at) for entry in entries]

    def feed_at_once(self, *entries: Fields) -> None:
        """None of them is read without the others, if they fit into one read."""
        with self.client.pipeline(transaction=True) as pipe:
            for entry in entries:
                pipe.xadd(self.source, dict(entry))
            pipe.execute()

    def route(self) -> list[str]:
        """Move all there is to the inboxes; the books that received something."""
        notified: list[str] = []
        InputStream(self.client, self.settings).ensure_group()
        while self._unread() or self.pending():
            watch(self.client, self.settings, 0.05, notified.extend)
        return sorted(set(notified))

    def process(self, *books: str) -> dict[str, int]:
        """Process `books`, or all that wait."""
        waiting = books or sorted(self.client.smembers(keys.WAITING))
        tally, left = Brain(self.client, self.settings, self.now_ms).process(waiting, monotonic() + 30)
        assert left == []
        return dict(tally)

    def run(self, *entries: Fields) -> dict[str, int]:
        """Feed, route and process."""
        self.feed(*entries)
        self.route()
        return self.process()

    def position(self, book: str = "BTCUSDT") -> Position:
        return read_position(book, self.client.hgetall(keys.position(book)))

    def suggestions(self) -> list[dict[str, Any]]:
        return self._payloads(self.settings.stream_harvest_suggestions)

    def live_intents(self) -> list[dict[str, Any]]:
        return self._payloads(self.settings.stream_trade_intent)

    def journal(self, decision: str | None = None) -> list[Fields]:
        records = [values for _, values in self.client.xrange(keys.DECISIONS)]
        return [r for r in records if decision in (None, r["decision"])]

    def deadletters(self) -> list[Fields]:
        return [values for _, values in self.client.xrange(keys.DEADLETTER)]

    def counts(self) -> dict[str, int]:
        """Of everything that came in; `pending` is what waits in inboxes. Without how often it was swept over."""
        found = self.client.hgetall(keys.COUNTS).items()
        stored = {name: int(n) for name, n in found if not name.startswith(liveness.SWEPT_PREFIX)}
        books = self.client.smembers(keys.BOOKS)
        return {**stored, "pending": sum(self.client.xlen(keys.inbox(book)) for book in books)}

    def pending(self) -> int:
        """Entries the group has read and not acknowledged."""
        return int(self.client.xpending(self.source, keys.GROUP)["pending"])

    def _unread(self) -> bool:
        group = self.client.xinfo_groups(self.source)[0]
        newest = self.client.xinfo_stream(self.source)["last-generated-id"]
        return bool(group["last-delivered-id"] != newest)

    def _payloads(self, stream: str) -> list[dict[str, Any]]:
        return [json.loads(values["payload"]) for _, values in self.client.xrange(stream)]


def assert_all_accounted_for(desk: Desk) -> None:
    """in = applied + duplicate + dead-lettered + ignored + pending, exactly."""
    counts = desk.counts()
    parts: Sequence[str] = ("applied", "duplicate", "deadlettered", "ignored", "pending")
    assert counts.get("in", 0) == sum(counts.get(part, 0) for part in parts), counts
