"""Which fault classes there are, and what runs beside what."""

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from importlib import import_module
from logging import NullHandler, basicConfig
from multiprocessing import get_context
from time import monotonic
from typing import Final

from laboratory.arena import Arena
from laboratory.report import Failure, Result

CLASSES: Final = {
    "F1": "interleavings",
    "F2": "worker_kills",
    "F3": "watcher_kills",
    "F4": "stalls",
    "F5": "server_kills",
    "F6": "log_cuts",
    "F7": "out_of_memory",
    "F8": "cut_replies",
    "F9": "clock_steps",
    "F10": "trade_histories",
    "F11": "lost_input",
    "F12": "malformed",
    "F13": "messages",
    "F14": "server_errors",
    "F15": "kill_switch",
    "F16": "random_kills",
    "BAD": "bad_designs",
    "SM": "state_machine",
    "DET": "determinism",
    "CEL": "celery_weaknesses",
    "LUA": "lua_mutants",
    "MUT": "python_mutants",
    "REC": "recovery",
}
"""Module of each class, in the order in which they are told."""
WAITING: Final = frozenset(("F2", "F3", "F4", "F5", "F7", "F9", "F13", "F14", "F16", "CEL"))
"""Classes that wait for processes for most of their time: they run beside those that compute."""
ALONE: Final = ("REC",)
"""Classes that measure time: nothing runs beside them."""
LONG: Final = ("SM", "CEL", "REC")
"""Classes for which a short run has no time."""
LARGEST: Final = ("F10", "F1", "SM", "F6", "DET", "F12")
"""Of those that compute; they begin first, so that no process is left with one at the end."""
HALF_ASLEEP: Final = ("F6",)
"""Of those that compute, what starts a server for each case. A server sleeps while it starts, to measure its clock, so
that two processes do the work of one."""


@dataclass(frozen=True, slots=True)
class Programme:
    """`wanted` classes at one `scale`, by `jobs` processes that compute at a time."""

    wanted: Sequence[str]
    scale: float
    jobs: int

    def results(self, seed: int) -> Iterator[Result]:
        """Those that wait beside those that compute, then those that want to be alone; each as it is over."""
        together = [fault_id for fault_id in self.wanted if fault_id not in ALONE]
        if len(together) > 1:
            yield from self._beside(together, seed)
        else:
            yield from (play(fault_id, seed, self.scale, self.jobs) for fault_id in together)
        yield from (play(fault_id, seed, self.scale, self.jobs) for fault_id in self.wanted if fault_id in ALONE)

    def _beside(self, fault_ids: Sequence[str], seed: int) -> Iterator[Result]:
        """`jobs` that compute and one that waits at a time, each in one process, or two that are half asleep."""
        fresh = get_context("spawn")
        with ProcessPoolExecutor(1, fresh) as waiting, ProcessPoolExecutor(self.jobs, fresh) as computing:
            playing = []
            for fault_id in sorted(fault_ids, key=_turn):
                pool, jobs = waiting if fault_id in WAITING else computing, 2 if fault_id in HALF_ASLEEP else 1
                playing.append(pool.submit(play, fault_id, seed, self.scale, jobs))
            yield from (done.result() for done in as_completed(playing))


def _turn(fault_id: str) -> int:
    return LARGEST.index(fault_id) if fault_id in LARGEST else len(LARGEST)


def play(fault_id: str, seed: int, scale: float, jobs: int) -> Result:
    """One class, once; says when it begins and how it ended."""
    # What the product says of thousands of faults is theirs to judge, not to print.
    basicConfig(handlers=[NullHandler()])
    module = import_module(f"laboratory.{CLASSES[fault_id]}")
    say(f"{module.ID} {module.TITLE} ...")
    began = monotonic()
    with Arena(fault_id, seed, scale, jobs=jobs) as arena:
        try:
            result: Result = module.run(arena)
        except (AssertionError, ExceptionGroup) as error:
            failure = Failure(module.ID, arena.seed, "", _said(error))
            result = Result(module.ID, module.TITLE, failures=[failure])
    result.seconds = monotonic() - began
    say(f"{module.ID} {'held' if result.passed else 'FAILED'}: {result.cases:,} cases in {result.seconds:.1f} s")
    return result


def _said(error: AssertionError | ExceptionGroup[Exception]) -> str:
    """Of a group, what each of it says."""
    errors = error.exceptions if isinstance(error, ExceptionGroup) else [error]
    return "; ".join(str(each) or "an assertion without words" for each in errors)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
