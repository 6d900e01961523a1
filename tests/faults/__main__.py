"""`make faults`: runs the fault classes, prints what was tried and what held, writes `.faults/latest.json`.

Exit codes: 0 everything held, 1 something did not, 2 wrong usage.
"""

import argparse
import os
import secrets
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from types import ModuleType
from typing import Final

from faults.arena import JOBS, Arena
from faults.report import Failure, Result, table, write

LATEST: Final = Path(".faults/latest.json")
CLASSES: Final = {
    "F1": "interleavings",
    "F2": "worker_kills",
    "F3": "watcher_kills",
    "F4": "stalls",
    "F5": "server_kills",
    "F6": "log_cuts",
    "F7": "memory",
    "F8": "cut_replies",
    "F9": "clocks",
    "F10": "histories",
    "F11": "lost_input",
    "F12": "malformed",
    "F13": "messages",
    "F14": "server_errors",
    "F15": "switch",
    "F16": "storm",
    "BAD": "bad_designs",
    "LUA": "lua_mutants",
    "REC": "recovery",
}
"""Module of each class, in the order in which they run."""


def main(argv: Sequence[str]) -> int:
    told = _arguments().parse_args(argv)
    wanted = told.only or list(CLASSES)
    skipped = [f"{fault_id} {CLASSES[fault_id]}" for fault_id in wanted if not _is_there(CLASSES[fault_id])]
    for name in skipped:
        _say(f"{name}: skipped, there is no such module yet")
    there = [fault_id for fault_id in wanted if f"{fault_id} {CLASSES[fault_id]}" not in skipped]
    results = _rounds(there, told, skipped)
    _say("")
    for line in table(results):
        _say(line)
    _say(f"seed {told.seed}; {LATEST} has the same as JSON")
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


def _is_there(module: str) -> bool:
    return find_spec(f"faults.{module}") is not None


def _rounds(wanted: Sequence[str], told: argparse.Namespace, skipped: Sequence[str]) -> list[Result]:
    """Each class once, and with a duration all of them again and again, each time with a fresh seed."""
    began, seed = monotonic(), told.seed
    results: dict[str, Result] = {}
    while True:
        for fault_id in wanted:
            arena = Arena(fault_id, seed, told.scale, jobs=told.jobs)
            result = _run(import_module(f"faults.{CLASSES[fault_id]}"), arena)
            if fault_id in results:
                results[fault_id].add(result)
            else:
                results[fault_id] = result
            # After each class, so that a run that is cut short leaves what it saw.
            write(LATEST, told.seed, list(results.values()), skipped)
            if told.duration and monotonic() - began > told.duration:
                return list(results.values())
        if not told.duration or not wanted:
            return list(results.values())
        seed += 1


def _run(module: ModuleType, arena: Arena) -> Result:
    _say(f"{module.ID} {module.TITLE} ...")
    began = monotonic()
    with arena:
        try:
            result: Result = module.run(arena)
        except AssertionError as error:
            failure = Failure(module.ID, arena.seed, "", f"{error}" or "an assertion without words")
            result = Result(module.ID, module.TITLE, failures=[failure])
    result.seconds = monotonic() - began
    _say(f"{module.ID} {'held' if result.passed else 'FAILED'}: {result.cases:,} cases in {result.seconds:.1f} s")
    return result


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
