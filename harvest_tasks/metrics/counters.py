"""Sums that Redis keeps: they outlive every process, the exporter's among them."""

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client.core import Metric

from harvest_tasks.metrics.families import Samples, counter, counters, number
from harvest_tasks.metrics.replies import Command, Replies
from harvest_tasks.proposing.numbers import SkipReason
from harvest_tasks.server import keys, liveness

ENTRIES: Final = ("applied", "duplicate", "deadlettered", "ignored")
PROPOSALS: Final = ("published", "unchanged", "removed")
SWEPT: Final = ("scanned", "evaluated", "current", "stale")
SKIPPED: Final = liveness.PROPOSALS + "skipped:"


def commands() -> dict[str, Command]:
    return {"counts": ("HGETALL", keys.COUNTS)}


def families(replies: Replies) -> Iterator[Metric]:
    sums: Mapping[str, str] = replies.get("counts", {})
    yield counter(
        "entries_received_total",
        "Entries for books that ever came in: each has one result in the end.",
        _of(sums, "in"),
    )
    yield counters(
        "entries_total",
        "What became of them. Dead letters could not be used and freeze their book: see harvest deadletter list.",
        ("result",),
        _given(sums, "", ENTRIES),
    )
    yield counter("intents_published_total", "Intents ever published, shadow and live.", _of(sums, "intents"))
    yield counters(
        "proposals_total",
        "Proposals by what became of them; unchanged ones were computed and said nothing new.",
        ("result",),
        _given(sums, liveness.PROPOSALS, PROPOSALS),
    )
    yield counters(
        "proposals_skipped_total",
        "Books without a proposal, by reason: see harvest propose --once.",
        ("reason",),
        _given(sums, SKIPPED, tuple(SkipReason)),
    )
    yield counter(
        "proposals_synthetic_total",
        "Proposals for invented positions. In production there are none: SYNTHETIC_FALLBACK=false.",
        _of(sums, liveness.PROPOSALS + "synthetic"),
    )
    yield counters(
        "sweep_books_total",
        "Open books that were looked at each second, by result. Some of those scanned are evaluated or current, or no "
        "price reaches them.",
        ("result",),
        {**_given(sums, liveness.SWEPT, SWEPT), **_named(sums, liveness.SWEPT)},
    )
    yield counter(
        "book_failures_total",
        "How often a book could not be read, planned or written. Workers log it as book failed, with the reason.",
        _of(sums, liveness.FAILED_BOOKS),
    )
    yield counters(
        "worker_starts_total",
        "How often this worker began to consume; who starts again and again dies again and again.",
        ("worker",),
        _named(sums, liveness.STARTS),
    )


def _of(sums: Mapping[str, str], name: str) -> float:
    return number(sums.get(name, "0"))


def _given(sums: Mapping[str, str], prefix: str, names: tuple[str, ...]) -> Samples[tuple[str]]:
    """Each of `names`, counted or not: a rate is only known of what was there before."""
    return {(name,): _of(sums, prefix + name) for name in names}


def _named(sums: Mapping[str, str], prefix: str) -> Samples[tuple[str]]:
    return {(name.removeprefix(prefix),): number(count) for name, count in sums.items() if name.startswith(prefix)}
