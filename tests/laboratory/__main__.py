"""`make faults`: runs the fault classes, prints what was tried and what held, writes `.faults/latest.json`.

The long classes (fault_classes.LONG) run when they are named, and in a run with a duration.

Exit codes: 0 everything held, 1 something did not, 2 wrong usage.
"""

import argparse
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Final

from laboratory.arena import JOBS
from laboratory.fault_classes import CLASSES, LONG, Programme, say
from laboratory.report import Result, table, write

LATEST: Final = Path(".faults/latest.json")


def main(argv: Sequence[str]) -> int:
    told, began = _arguments().parse_args(argv), monotonic()
    wanted = told.only or [fault_id for fault_id in CLASSES if told.duration or fault_id not in LONG]
    results = _rounds(Programme(wanted, told.scale, told.jobs), told.seed, told.duration)
    say("")
    for line in table(results):
        say(line)
    say(f"seed {told.seed}; {monotonic() - began:.0f} s; {LATEST} has the same as JSON")
    return 0 if all(result.passed for result in results) else 1


def _arguments() -> argparse.ArgumentParser:
    """Each has its variable, so that `make faults SEED=7 ONLY=F1,F8` says the same."""
    given = os.environ
    parser = argparse.ArgumentParser(prog="make faults", description="Inject faults; see that everything holds.")
    parser.add_argument("--seed", type=int, default=given.get("SEED") or secrets.randbelow(1_000_000))
    parser.add_argument("--only", type=_ids, default=given.get("ONLY") or None, help="classes, as F1,F8,BAD")
    parser.add_argument("--scale", type=_positive, default=given.get("SCALE") or "1", help="1 is the full number")
    parser.add_argument("--duration", type=float, default=given.get("DURATION") or 0, help="seconds to go on for")
    parser.add_argument("--jobs", type=int, default=JOBS, help="processes at the same time")
    return parser


def _ids(text: str) -> list[str]:
    ids = [part.strip().upper() for part in text.split(",") if part.strip()]
    unknown = [fault_id for fault_id in ids if fault_id not in CLASSES]
    if unknown or not ids:
        raise argparse.ArgumentTypeError(f"no class {', '.join(unknown)}: there are {', '.join(CLASSES)}")
    return ids


def _positive(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def _rounds(programme: Programme, seed: int, duration: float) -> list[Result]:
    """All once, and with a duration again and again, each time with a fresh seed."""
    began, first = monotonic(), seed
    results: dict[str, Result] = {}
    while True:
        for result in programme.results(seed):
            if result.id in results:
                results[result.id].add(result)
            else:
                results[result.id] = result
            # After each class, so that a run that is cut short leaves what it saw.
            write(LATEST, first, _in_order(results))
        if monotonic() - began >= duration:
            return _in_order(results)
        seed += 1


def _in_order(results: dict[str, Result]) -> list[Result]:
    return [results[fault_id] for fault_id in CLASSES if fault_id in results]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
