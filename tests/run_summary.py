"""Counts and measurements of the tests, printed at the end of the run, also when several processes run them."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

TALLIES: Final[dict[str, Counter[str]]] = {}
"""How often each branch of a random test was taken, by the name of what counted them."""
MEASURED: Final[list[str]] = []
"""A line for each measurement."""


def kept() -> dict[str, Any]:
    """All of it, in a form that another process can be sent."""
    return {"tallies": {name: dict(tally) for name, tally in TALLIES.items()}, "measured": list(MEASURED)}


def add(others: Mapping[str, Any]) -> None:
    """What another process `kept`; nothing, if it came to no end."""
    for name, tally in others.get("tallies", {}).items():
        TALLIES.setdefault(name, Counter()).update(tally)
    MEASURED.extend(others.get("measured", []))


def lines(width: int) -> list[str]:
    """All tallies as text, no line wider than `width`."""
    shown: list[str] = []
    for name, tally in TALLIES.items():
        shown.append(f"{name}: {tally.total()} in {len(tally)} branches")
        row = " "
        for branch, n in sorted(tally.items()):
            item = f" {branch}={n}"
            if len(row) + len(item) > width:
                shown.append(row)
                row = " "
            row += item
        shown.append(row)
    return shown
