"""Counters kept in Redis. They survive a restart of any process, including the exporter."""

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client.core import Metric

from harvest_tasks.metrics.families import Samples, counter, counters, parse_number
from harvest_tasks.metrics.replies import Replies
from harvest_tasks.proposing.skip_reason import SkipReason
from harvest_tasks.server import keys, liveness
from harvest_tasks.server.client import Command

ENTRY_RESULTS: Final = ("applied", "duplicate", "deadlettered", "ignored")
PROPOSAL_RESULTS: Final = ("published", "unchanged", "removed")
SWEEP_RESULTS: Final = ("scanned", "evaluated", "current", "stale")
SKIPPED_PREFIX: Final = liveness.PROPOSALS_PREFIX + "skipped:"


def commands() -> dict[str, Command]:
    return {"counts": ("HGETALL", keys.COUNTS)}


def families(replies: Replies) -> Iterator[Metric]:
    sums: Mapping[str, str] = replies.get("counts", {})
    yield counter(
        "entries_received_total",
        "Entries received for a book. Each ends with exactly one result in harvest_entries_total.",
        _count(sums, "in"),
    )
    yield counters(
        "entries_total",
        "Entries by result. A dead-lettered entry was invalid and froze its book: see harvest deadletter list.",
        ("result",),
        _counts_of(sums, "", ENTRY_RESULTS),
    )
    yield counter("intents_published_total", "Intents published, shadow and live.", _count(sums, "intents"))
    yield counters(
        "proposals_total",
        "Proposals by result. An unchanged proposal was computed but is the same as the published one.",
        ("result",),
        _counts_of(sums, liveness.PROPOSALS_PREFIX, PROPOSAL_RESULTS),
    )
    yield counters(
        "proposals_skipped_total",
        "Books skipped without a proposal, by reason: see harvest propose --once.",
        ("reason",),
        _counts_of(sums, SKIPPED_PREFIX, tuple(SkipReason)),
    )
    yield counter(
        "proposals_synthetic_total",
        "Proposals for synthetic positions. Must stay 0 in production: set SYNTHETIC_FALLBACK=false.",
        _count(sums, liveness.PROPOSALS_PREFIX + "synthetic"),
    )
    yield counters(
        "sweep_books_total",
        "Open books scanned by the sweep each second, by result. A scanned book is evaluated, already current, or has "
        "no usable price.",
        ("result",),
        {**_counts_of(sums, liveness.SWEPT_PREFIX, SWEEP_RESULTS), **_counts_with_prefix(sums, liveness.SWEPT_PREFIX)},
    )
    yield counter(
        "book_failures_total",
        "Times a book could not be read, planned or written. Workers log the reason as: book failed.",
        _count(sums, liveness.FAILED_BOOKS),
    )
    yield counters(
        "worker_starts_total",
        "Times this worker started to consume. A steady increase means that it keeps crashing.",
        ("worker",),
        _counts_with_prefix(sums, liveness.STARTS_PREFIX),
    )


def _count(sums: Mapping[str, str], name: str) -> float:
    return parse_number(sums.get(name, "0"))


def _counts_of(sums: Mapping[str, str], prefix: str, names: tuple[str, ...]) -> Samples[tuple[str]]:
    """A sample for each of `names`, 0 if never counted: Prometheus computes no rate for a series that just appeared."""
    return {(name,): _count(sums, prefix + name) for name in names}


def _counts_with_prefix(sums: Mapping[str, str], prefix: str) -> Samples[tuple[str]]:
    return {
        (name.removeprefix(prefix),): parse_number(count) for name, count in sums.items() if name.startswith(prefix)
    }
