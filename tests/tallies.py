"""How often each branch of a random test was taken, kept for the end of the run."""

from collections import Counter
from typing import Final

TALLIES: Final[dict[str, Counter[str]]] = {}
"""Branches by the name of what counted them."""


def lines(width: int) -> list[str]:
    """All tallies as text, no line wider than `width`."""
    told: list[str] = []
    for name, tally in TALLIES.items():
        told.append(f"{name}: {tally.total()} in {len(tally)} branches")
        row = " "
        for branch, n in sorted(tally.items()):
            item = f" {branch}={n}"
            if len(row) + len(item) > width:
                told.append(row)
                row = " "
            row += item
        told.append(row)
    return told
