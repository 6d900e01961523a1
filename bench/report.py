"""Results of measurements, as a table for people and as JSON for programs."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

LATEST: Final = Path(".bench/latest.json")
LEGEND: Final = (
    "spread: (largest - smallest) / median of the ratio over the repetitions; steal: CPU steal, share of the wanted "
    "CPU time that the host gave to other machines"
)


@dataclass(frozen=True, slots=True)
class Goal:
    """The bound that a value must meet. `of` names the value: `ours`, or `ratio` to the peer."""

    of: str
    at_least: float | None = None
    at_most: float | None = None

    def is_met(self, value: float | None) -> bool:
        if value is None:
            return False
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    def __str__(self) -> str:
        sign, bound = ("<=", self.at_most) if self.at_least is None else (">=", self.at_least)
        return f"{self.of} {sign} {figure(bound)}"


@dataclass(frozen=True, slots=True)
class Result:
    """One measurement. `ratio` is ours / peer in any unit, `note` has further details.

    `spread` is of the ratio, or of `ours` without a peer. `skipped` is the reason for a missing value, `seconds` the
    duration of the measurement, and `cpu_steal` the share of CPU time that the host gave to others meanwhile.
    """

    name: str
    unit: str
    ours: float | None = None
    peer: float | None = None
    peer_name: str | None = None
    ratio: float | None = None
    spread: float | None = None
    books: int | None = None
    goal: Goal | None = None
    note: str = ""
    skipped: str = ""
    seconds: float | None = None
    cpu_steal: float | None = None

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is met; None without a goal."""
        if self.goal is None or self.skipped:
            return None
        return self.goal.is_met(self.ratio if self.goal.of == "ratio" else self.ours)

    def as_dict(self) -> dict[str, Any]:
        row = {name: value for name, value in asdict(self).items() if name != "goal" and value != ""}
        return {**row, "goal": None if self.goal is None else str(self.goal), "met": self.is_met}


def figure(value: float | None) -> str:
    """`value` with three significant digits, or with thousands separators."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def lines(result: Result) -> list[str]:
    """The row of a result, and its note below."""
    if result.skipped:
        return [f"{result.name:<38} skipped: {result.skipped}"]
    met = {None: "", True: "met", False: "MISSED"}[result.is_met]
    goal = "" if result.goal is None else f"{result.goal} {met}"
    spread, steal = ("-" if share is None else f"{share:.0%}" for share in (result.spread, result.cpu_steal))
    seconds = "-" if result.seconds is None else f"{result.seconds:.0f}"
    cells = f"{figure(result.ours):>11} {figure(result.peer):>11} {figure(result.ratio):>8} {spread:>7}"
    row = f"{result.name:<38} {cells} {seconds:>6} {steal:>6}  {result.unit:<14} {goal}".rstrip()
    return [row, *([f"    {result.note}"] if result.note else [])]


_FIGURES: Final = f"{'ours':>11} {'peer':>11} {'ratio':>8} {'spread':>7} {'s':>6} {'steal':>6}"
HEADER: Final = f"{'name':<38} {_FIGURES}  {'unit':<14} goal"


def machine() -> dict[str, Any]:
    """The machine that was measured."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def document(results: Sequence[Result], *, quick: bool, about: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON document of all results."""
    rows = [result.as_dict() for result in results]
    return {"machine": dict(about), "quick": quick, "legend": LEGEND, "results": rows}


def write(path: Path, results: Sequence[Result], *, quick: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document(results, quick=quick, about=machine()), indent=1)
    path.write_text(text + "\n", encoding="utf-8")
