"""What a fault class found: a table for people, JSON for programs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

HEADINGS: Final = ("class", "cases", "fills", "intents", "lost", "doubled", "torn", "disorder", "seconds", "")
SECTIONS: Final = ("known_bad", "lua_mutants", "mutmut", "recovery")
"""Notes that have a place of their own in the JSON."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One case in which something did not hold: the seed and the steps (lines of text) that lead there again."""

    fault_id: str
    seed: int
    schedule: str
    what: str

    def lines(self) -> Iterator[str]:
        yield f"{self.fault_id} failed: {self.what}"
        yield f"  again: make faults SEED={self.seed} ONLY={self.fault_id}"
        yield from (f"    {step}" for step in self.schedule.splitlines())


@dataclass(slots=True)
class Result:
    """Counts of what really happened in one fault class.

    `lost`: accepted fills neither applied nor dead-lettered. `doubled`: intents published, or fills applied, twice.
    `torn`: half states. `out_of_order`: fills of a book applied in another order than the stream's. `notes` say more.
    """

    id: str
    title: str
    cases: int = 0
    fills: int = 0
    intents: int = 0
    lost: int = 0
    doubled: int = 0
    torn: int = 0
    out_of_order: int = 0
    seconds: float = 0.0
    notes: dict[str, object] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """A class that tried nothing has not passed."""
        return self.cases > 0 and not (self.failures or self.lost or self.doubled or self.torn or self.out_of_order)

    def add(self, other: "Result") -> None:
        """Count another run of the same class in; its notes replace those of the same name."""
        for name in ("cases", "fills", "intents", "lost", "doubled", "torn", "out_of_order", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.notes |= other.notes
        self.failures += other.failures

    def record(self) -> dict[str, Any]:
        """For the JSON."""
        counts = {"cases": self.cases, "fills": self.fills, "intents": self.intents}
        wrong = {"lost": self.lost, "doubled": self.doubled, "torn": self.torn, "out_of_order": self.out_of_order}
        notes = {name: note for name, note in self.notes.items() if name not in SECTIONS}
        failures = [{"what": f.what, "seed": f.seed, "schedule": f.schedule.splitlines()} for f in self.failures]
        head = {"id": self.id, "title": self.title, "passed": self.passed}
        return {**head, **counts, **wrong, "seconds": round(self.seconds, 1), "notes": notes, "failures": failures}


def table(results: Sequence[Result]) -> Iterator[str]:
    """One line a class, then its notes, then what failed."""
    rows = [HEADINGS, *(_row(result) for result in results)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADINGS))]
    for row in rows:
        cells = (cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True))
        yield f"{row[0].ljust(widths[0])}  {'  '.join(cells)}  {row[-1]}".rstrip()
    for result in results:
        yield from (f"{result.id} {name}: {_shown(note)}" for name, note in result.notes.items())
    for result in results:
        for failure in result.failures:
            yield from failure.lines()


def write(path: Path, seed: int, results: Sequence[Result]) -> None:
    """The same as JSON."""
    path.parent.mkdir(exist_ok=True)
    sections = {n: result.notes[n] for result in results for n in SECTIONS if n in result.notes}
    content = {"seed": seed, "classes": [result.record() for result in results], **sections}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _row(result: Result) -> tuple[str, ...]:
    wrong = (result.lost, result.doubled, result.torn, result.out_of_order)
    numbers = [f"{n:,}" for n in (result.cases, result.fills, result.intents, *wrong)]
    return f"{result.id} {result.title}", *numbers, f"{result.seconds:.1f}", "ok" if result.passed else "FAILED"


def _shown(note: object) -> str:
    if isinstance(note, Mapping):
        return ", ".join(f"{name} {_shown(value)}" for name, value in note.items())
    if isinstance(note, list | tuple):
        return ", ".join(_shown(value) for value in note)
    if isinstance(note, float):
        return f"{note:,.3g}" if abs(note) < 100 else f"{note:,.0f}"
    return f"{note:,}" if isinstance(note, int) and not isinstance(note, bool) else str(note)
