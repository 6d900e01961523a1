"""What the doctor looks at, as exhibits: each holds if the doctor finds nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from harvest_tasks.metrics.scrape import Scrape
from harvest_tasks.operations import diagnosis
from harvest_tasks.operations.diagnosis import Check
from harvest_tasks.operations.proof.check import CheckResult, checks, from_findings

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """What the doctor's `checks` are about, and what there is to tell when all is well."""

    subject: str
    checks: Sequence[Check]
    describe: Callable[[Scrape], str]

    def check(self, scrape: Scrape) -> CheckResult:
        return from_findings((check(scrape) for check in self.checks), self.describe(scrape))


def deployment_checks(scrape: Scrape) -> list[CheckResult]:
    """In the order of `PARTS`."""
    return [checks(part.subject)(part.check)(scrape) for part in _PARTS]


def _server(scrape: Scrape) -> str:
    names, versions = (scrape.by(label, "server_info") for label in ("name", "version"))
    said = " ".join([*names, *versions])
    return f"{said}, noeviction, writes are logged, clock {scrape.value('server_clock_ahead_seconds'):+.1f} s"


def _memory(scrape: Scrape) -> str:
    used, limit = (scrape.value(f"server_memory_{name}bytes") / MIB for name in ("", "limit_"))
    return f"{used:.1f} MiB used, " + (f"{limit:.0f} MiB allowed" if limit else "no limit")


def _workers(scrape: Scrape) -> str:
    if scrape.consumed is None:
        return "they could not be asked what they consume; their signs of life are fresh"
    return f"each of {len(diagnosis.UNITS)} queues is consumed"


def _signs(scrape: Scrape) -> str:
    ages = scrape.by("of", "heartbeat_age_seconds")
    return ", ".join(f"{of} {'not yet' if age == inf else f'{age:.0f} s ago'}" for of, age in ages.items())


def _group(scrape: Scrape) -> str:
    lag, pending = (scrape.value(f"input_{name}_entries") for name in ("lag", "pending"))
    return f"there is one: lag {lag:.0f}, pending {pending:.0f}, nothing lost"


def _books(scrape: Scrape) -> str:
    known, opened = (scrape.value("books", state=state) for state in ("known", "open"))
    return f"{known:.0f} known, {opened:.0f} open, none frozen, none found unlike the exchange's record"


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
    Part("signs of life", (diagnosis.beat_late, diagnosis.part_late), _signs),
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
