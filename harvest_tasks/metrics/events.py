"""Intents, decisions and dead-letter messages, counted since the exporter started.

Redis keeps no counters of these, because the scripts that write them are the hot path. The exporter follows the streams
instead, so these counters start at 0 with it.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from prometheus_client import Counter, Histogram, disable_created_metrics
from prometheus_client.core import Metric

from harvest_tasks.fills.group_position import NOWHERE
from harvest_tasks.metrics.families import PREFIX, gauges, leading_word
from harvest_tasks.metrics.replies import Replies
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client, Command
from harvest_tasks.server.streams import StreamEntry, time_ms
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.intent import INTENT_SOURCE
from harvest_tasks.wire.refusal import RefusalReason
from kernel.positions.guards import Refusal
from kernel.positions.intent import IntentKind
from kernel.positions.position import parse_id

HARVEST_TYPES: Final = ("HARVEST_PARTIAL", "REDUCE_ONLY")
DECISION_KINDS: Final = ("published", "held", "unanswered", "exhausted", "frozen", "released", "clamped")
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
PAGE_ENTRIES: Final = 1_000
MAX_PAGES: Final = 20
"""Pages read per stream and scrape; the rest waits for the next scrape."""

disable_created_metrics()  # type: ignore[no-untyped-call]  # an unused creation time for each series


class StreamTail:
    """Follows a stream from its end: entries from before the first scrape are not counted."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self._read: str | None = None

    def command(self) -> Command:
        """The command that asks where the stream ends. Its reply has the name of the stream."""
        return "XINFO STREAM", self.stream

    def new_entries(self, client: Client, replies: Replies) -> Iterator[StreamEntry]:
        """Entries added since the last scrape, oldest first."""
        info = replies.get(self.stream)
        end = info["last-generated-id"] if info else NOWHERE
        if self._read is None or parse_id(end) < parse_id(self._read):
            # The first scrape, or the stream was deleted and created again since the last one: read it from its start.
            self._read = end if self._read is None else NOWHERE
        for _ in range(MAX_PAGES):
            if parse_id(self._read) >= parse_id(end):
                return
            page: Any = client.xrange(self.stream, min=f"({self._read}", max=end, count=PAGE_ENTRIES)
            self._read = page[-1][0] if len(page) == PAGE_ENTRIES else end
            yield from page

    @staticmethod
    def length(replies: Replies, stream: str) -> int:
        info = replies.get(stream)
        return info["length"] if info else 0


class Events:
    """Counts the entries of the streams that Harvest writes."""

    def __init__(self, settings: Settings) -> None:
        self._suggestions = StreamTail(settings.stream_harvest_suggestions)
        self._live = StreamTail(settings.stream_trade_intent)
        self._journal = StreamTail(keys.DECISIONS)
        self._deadletters = StreamTail(keys.DEADLETTER)
        self._intents = _counter(
            "intents", "Intents by stream (shadow or live), kind, and highest rung.",
            "mode", "kind", "rung",
        )  # fmt: skip
        self._held = _counter(
            "held_back", "Decisions held back by a guard, once per action and reason: see harvest explain BOOK.",
            "reason",
        )  # fmt: skip
        self._decisions = _counter("decisions", "Decisions in the journal.", "decision")
        self._refused_entries = _counter(
            "deadletters", "Dead-letter messages (invalid entries) by reason: see harvest deadletter list.", "reason"
        )
        self._latency = Histogram(
            f"{PREFIX}fill_to_intent_seconds",
            "Time from the entry or price that made an intent due to its publication, by the server's clock. Includes "
            "time held back by a guard.",
            buckets=BUCKETS,
            registry=None,
        )
        self._start_at_zero(settings)

    def commands(self) -> dict[str, Command]:
        return {tail.stream: tail.command() for tail in self._tails()}

    def families(self, client: Client, replies: Replies) -> Iterator[Metric]:
        """Count new stream entries, then report all counters. Raises redis-py's ConnectionError or TimeoutError."""
        for mode, tail in (("shadow", self._suggestions), ("live", self._live)):
            for entry in tail.new_entries(client, replies):
                self._count_intent(mode, entry)
        for _, record in self._journal.new_entries(client, replies):
            self._count_decision(record)
        for _, message in self._deadletters.new_entries(client, replies):
            self._refused_entries.labels(leading_word(message.get("reason", ""))).inc()
        yield gauges(
            "stream_entries",
            "Entries in a stream that Harvest writes. Streams are trimmed to a maximum length.",
            ("stream",),
            {(tail.stream,): float(StreamTail.length(replies, tail.stream)) for tail in self._tails()},
        )
        for counted in (self._intents, self._held, self._decisions, self._refused_entries, self._latency):
            yield from counted.collect()

    def _tails(self) -> tuple[StreamTail, ...]:
        return self._suggestions, self._live, self._journal, self._deadletters

    def _start_at_zero(self, settings: Settings) -> None:
        """Create the expected series: Prometheus computes no rate for a series that just appeared."""
        mode = "live" if settings.is_live else "shadow"
        for rung in settings.ladder.rungs:
            self._intents.labels(mode, IntentKind.HARVEST.value, rung.name)
        for kind in (IntentKind.MOVE_SL_BE, IntentKind.TRAIL_UPDATE):
            stop_mode = "live" if settings.is_live and settings.harvest_live_stops else "shadow"
            self._intents.labels(stop_mode, kind.value, "")
        for reason in Refusal:
            self._held.labels(reason.value)
        for decision in DECISION_KINDS:
            self._decisions.labels(decision)
        for refusal in RefusalReason:
            self._refused_entries.labels(refusal.value)

    def _count_intent(self, mode: str, entry: StreamEntry) -> None:
        """Count an intent of Harvest; other programs also write to the intent stream."""
        entry_id, fields = entry
        try:
            payload = json.loads(fields.get("payload", ""))
            if payload["source"] != INTENT_SOURCE:
                return
            kind, level, due_ms = payload["intent_type"], payload["r_level"], _due_ms(payload)
        except (ValueError, KeyError, TypeError):
            return
        kind = IntentKind.HARVEST.value if kind in HARVEST_TYPES else kind
        self._intents.labels(mode, kind, "" if level is None else str(level)).inc()
        self._latency.observe(max(0, time_ms(entry_id) - due_ms) / 1000)

    def _count_decision(self, record: Mapping[str, str]) -> None:
        decision = leading_word(record.get("decision", ""))
        self._decisions.labels(decision).inc()
        if decision == "held":
            self._held.labels(leading_word(record.get("reason", ""))).inc()


def _counter(name: str, meaning: str, *labels: str) -> Counter:
    return Counter(PREFIX + name, meaning, labels, registry=None)


def _due_ms(payload: Mapping[str, Any]) -> int:
    """When the intent became due: the time of the entry it names, or of a later price from a ticker key."""
    price_ms = int(datetime.fromisoformat(payload["timestamp"]).timestamp() * 1000)
    return max(time_ms(payload["trace_id"]), price_ms)
