"""What the doctor looks at, as exhibits: each holds if the doctor finds nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from harvest_tasks.operations import diagnosis
from harvest_tasks.operations.diagnosis import Check
from harvest_tasks.operations.figures import Figures
from harvest_tasks.operations.proof.check import Exhibit, judged, shows

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """What the doctor's `checks` are about, and what there is to tell when all is well."""

    subject: str
    checks: Sequence[Check]
    told: Callable[[Figures], str]

    def judged(self, figures: Figures) -> Exhibit:
        return judged((check(figures) for check in self.checks), self.told(figures))


def exhibits(figures: Figures) -> list[Exhibit]:
    """In the order of `PARTS`."""
    return [shows(part.subject)(part.judged)(figures) for part in PARTS]


def _server(figures: Figures) -> str:
    names, versions = (figures.by(label, "server_info") for label in ("name", "version"))
    said = " ".join([*names, *versions])
    return f"{said}, noeviction, writes are logged, clock {figures.value('server_clock_ahead_seconds'):+.1f} s"


def _memory(figures: Figures) -> str:
    used, limit = (figures.value(f"server_memory_{name}bytes") / MIB for name in ("", "limit_"))
    return f"{used:.1f} MiB used, " + (f"{limit:.0f} MiB allowed" if limit else "no limit")


def _workers(figures: Figures) -> str:
    if figures.consumed is None:
        return "they could not be asked what they consume; their signs of life are fresh"
    return f"each of {len(diagnosis.CREWS)} queues is consumed"


def _signs(figures: Figures) -> str:
    ages = figures.by("of", "heartbeat_age_seconds")
    return ", ".join(f"{of} {'not yet' if age == inf else f'{age:.0f} s ago'}" for of, age in ages.items())


def _group(figures: Figures) -> str:
    lag, pending = (figures.value(f"input_{name}_entries") for name in ("lag", "pending"))
    return f"there is one: lag {lag:.0f}, pending {pending:.0f}, nothing lost"


def _books(figures: Figures) -> str:
    known, opened = (figures.value("books", state=state) for state in ("known", "open"))
    return f"{known:.0f} known, {opened:.0f} open, none frozen, none found unlike the exchange's record"


PARTS: Final = (
    Part(
        "server",
        (
            *(diagnosis.server_away, diagnosis.broker_away, diagnosis.rights, diagnosis.version),
            *(diagnosis.eviction, diagnosis.persistence, diagnosis.clock),
        ),
        _server,
    ),
    Part("memory", (diagnosis.memory,), _memory),
    Part("workers", (diagnosis.workers, diagnosis.backlog), _workers),
    Part("signs of life", (diagnosis.beat, diagnosis.parts), _signs),
    Part("consumer group", (diagnosis.group, diagnosis.lost, diagnosis.unread), _group),
    Part(
        "books",
        (
            *(diagnosis.inboxes, diagnosis.unreadable, diagnosis.phantom, diagnosis.frozen),
            *(diagnosis.prices, diagnosis.unanswered),
        ),
        _books,
    ),
)
