"""The doctor's checks, grouped by subject: each passes if the doctor finds nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from harvest_tasks.metrics.scrape import Scrape
from harvest_tasks.operations import diagnosis
from harvest_tasks.operations.diagnosis import Check
from harvest_tasks.operations.proof.check import CheckResult, check_of, from_findings

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """The doctor's `checks` about one subject; `describe` says what was seen when they find nothing."""

    subject: str
    checks: Sequence[Check]
    describe: Callable[[Scrape], str]

    def check(self, scrape: Scrape) -> CheckResult:
        return from_findings((check(scrape) for check in self.checks), self.describe(scrape))


def check_deployment(scrape: Scrape) -> list[CheckResult]:
    """One result for each of `_PARTS`, in order."""
    return [check_of(part.subject)(part.check)(scrape) for part in _PARTS]


def _server(scrape: Scrape) -> str:
    names, versions = (scrape.by(label, "server_info") for label in ("name", "version"))
    version = " ".join([*names, *versions])
    return f"{version}, noeviction, writes are persisted, clock {scrape.value('server_clock_ahead_seconds'):+.1f} s"


def _memory(scrape: Scrape) -> str:
    used, limit = (scrape.value(f"server_memory_{name}bytes") / MIB for name in ("", "limit_"))
    return f"{used:.1f} MiB used, " + (f"{limit:.0f} MiB allowed" if limit else "no limit")


def _workers(scrape: Scrape) -> str:
    if scrape.consumed is None:
        return "could not be asked which queues they consume; their heartbeats are fresh"
    return f"all {len(diagnosis.UNITS)} queues are consumed"


def _heartbeats(scrape: Scrape) -> str:
    ages = scrape.by("of", "heartbeat_age_seconds")
    return ", ".join(f"{of} {'not yet' if age == inf else f'{age:.0f} s ago'}" for of, age in ages.items())


def _group(scrape: Scrape) -> str:
    lag, pending = (scrape.value(f"input_{name}_entries") for name in ("lag", "pending"))
    return f"exists: lag {lag:.0f}, pending {pending:.0f}, nothing lost"


def _books(scrape: Scrape) -> str:
    known, opened = (scrape.value("books", state=state) for state in ("known", "open"))
    return f"{known:.0f} known, {opened:.0f} open, none frozen, none found to differ from the exchange's"


_PARTS: Final = (
    Part(
        "server",
        (
            *(
                diagnosis.server_unreachable,
                diagnosis.broker_unreachable,
                diagnosis.commands_refused,
                diagnosis.version_too_old,
            ),
            *(diagnosis.keys_evicted, diagnosis.writes_not_persisted, diagnosis.clocks_differ),
        ),
        _server,
    ),
    Part("memory", (diagnosis.memory_full,), _memory),
    Part("workers", (diagnosis.queues_not_consumed, diagnosis.queues_backed_up), _workers),
    Part("heartbeats", (diagnosis.beat_late, diagnosis.part_late), _heartbeats),
    Part("consumer group", (diagnosis.group_missing, diagnosis.input_lost, diagnosis.input_unread), _group),
    Part(
        "books",
        (
            *(
                diagnosis.inboxes_not_applied,
                diagnosis.records_unreadable,
                diagnosis.positions_differ,
                diagnosis.books_frozen,
            ),
            *(diagnosis.prices_old, diagnosis.replies_missing),
        ),
        _books,
    ),
)
