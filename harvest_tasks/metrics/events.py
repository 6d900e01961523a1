"""What happened since the exporter started: intents, refusals and dead letters, counted as they are written.

Redis keeps no sums of these, and the scripts that write them are the hot path. So the exporter follows the streams:
its counts start at 0 with it, as those of any process do.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from prometheus_client import Counter, Histogram, disable_created_metrics
from prometheus_client.core import Metric

from harvest_tasks.metrics.families import PREFIX, gauges, word
from harvest_tasks.metrics.replies import Command, Replies
from harvest_tasks.metrics.tail import StreamEntry, Tail
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.intent import SOURCE
from harvest_tasks.wire.refusal import RefusalReason
from kernel.positions.guards import Refusal
from kernel.positions.intent import IntentKind

HARVEST_TYPES: Final = ("HARVEST_PARTIAL", "REDUCE_ONLY")
DECISIONS: Final = ("published", "held", "unanswered", "exhausted", "frozen", "released", "clamped")
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

disable_created_metrics()  # type: ignore[no-untyped-call]  # a time for each series, which nobody asks for


class Events:
    """Follows the streams that Harvest writes."""

    def __init__(self, settings: Settings) -> None:
        self._suggestions = Tail(settings.stream_harvest_suggestions)
        self._live = Tail(settings.stream_trade_intent)
        self._journal = Tail(keys.DECISIONS)
        self._letters = Tail(keys.DEADLETTER)
        self._intents = _counter(
            "intents", "Intents by the stream they left by, what they ask for, and the highest rung they take.",
            "mode", "kind", "rung",
        )  # fmt: skip
        self._held = _counter(
            "held_back", "Decisions that a guard held back, once for each action and reason: see harvest explain BOOK.",
            "reason",
        )  # fmt: skip
        self._decisions = _counter("decisions", "Records of the journal of decisions.", "decision")
        self._refused = _counter(
            "deadletters", "Entries that could not be used, by reason: see harvest deadletter list.", "reason"
        )
        self._latency = Histogram(
            f"{PREFIX}fill_to_intent_seconds",
            "Time from the entry or price that made an intent due to its publication, by the server's clock; waits for "
            "a guard count, too.",
            buckets=BUCKETS,
            registry=None,
        )
        self._begin_at_zero(settings)

    def commands(self) -> dict[str, Command]:
        return {tail.stream: tail.command() for tail in self._tails()}

    def families(self, client: Client, replies: Replies) -> Iterator[Metric]:
        """Reads what is new, if anything is. Raises redis-py's ConnectionError or TimeoutError."""
        for mode, tail in (("shadow", self._suggestions), ("live", self._live)):
            for entry in tail.new(client, replies):
                self._count_intent(mode, entry)
        for _, record in self._journal.new(client, replies):
            self._count_decision(record)
        for _, letter in self._letters.new(client, replies):
            self._refused.labels(word(letter.get("reason", ""))).inc()
        yield gauges(
            "stream_entries",
            "Entries that a stream of Harvest's holds; each is cut to a length.",
            ("stream",),
            {(tail.stream,): float(Tail.length(replies, tail.stream)) for tail in self._tails()},
        )
        for counted in (self._intents, self._held, self._decisions, self._refused, self._latency):
            yield from counted.collect()

    def _tails(self) -> tuple[Tail, ...]:
        return self._suggestions, self._live, self._journal, self._letters

    def _begin_at_zero(self, settings: Settings) -> None:
        """A rate is only known of what was there before it grew."""
        mode = "live" if settings.is_live else "shadow"
        for rung in settings.ladder.rungs:
            self._intents.labels(mode, IntentKind.HARVEST.value, rung.name)
        for kind in (IntentKind.MOVE_SL_BE, IntentKind.TRAIL_UPDATE):
            stop_mode = "live" if settings.is_live and settings.harvest_live_stops else "shadow"
            self._intents.labels(stop_mode, kind.value, "")
        for reason in Refusal:
            self._held.labels(reason.value)
        for decision in DECISIONS:
            self._decisions.labels(decision)
        for refusal in RefusalReason:
            self._refused.labels(refusal.value)

    def _count_intent(self, mode: str, entry: StreamEntry) -> None:
        """Other programs write to the intent stream, too: what is not ours is passed over."""
        entry_id, fields = entry
        try:
            payload = json.loads(fields.get("payload", ""))
            if payload["source"] != SOURCE:
                return
            kind, level, due_ms = payload["intent_type"], payload["r_level"], _due_ms(payload)
        except (ValueError, KeyError, TypeError):
            return
        kind = IntentKind.HARVEST.value if kind in HARVEST_TYPES else kind
        self._intents.labels(mode, kind, "" if level is None else str(level)).inc()
        self._latency.observe(max(0, _ms(entry_id) - due_ms) / 1000)

    def _count_decision(self, record: Mapping[str, str]) -> None:
        decision = word(record.get("decision", ""))
        self._decisions.labels(decision).inc()
        if decision == "held":
            self._held.labels(word(record.get("reason", ""))).inc()


def _counter(name: str, meaning: str, *labels: str) -> Counter:
    return Counter(PREFIX + name, meaning, labels, registry=None)


def _due_ms(payload: Mapping[str, Any]) -> int:
    """When the intent became due: with the entry it names, or with a later price, which came by key."""
    price_ms = int(datetime.fromisoformat(payload["timestamp"]).timestamp() * 1000)
    return max(_ms(payload["trace_id"]), price_ms)


def _ms(entry_id: str) -> int:
    return int(entry_id.partition("-")[0])
