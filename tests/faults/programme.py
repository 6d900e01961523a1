"""Which fault classes there are, and what runs beside what."""

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from time import monotonic
from typing import Final

from faults.arena import Arena
from faults.report import Failure, Result

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
    "SM": "machine",
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


@dataclass(frozen=True, slots=True)
class Programme:
    """`wanted` classes at one `scale`, by `jobs` processes at a time."""

    wanted: Sequence[str]
    scale: float
    jobs: int

    def results(self, seed: int) -> Iterator[Result]:
        """Those that wait beside those that compute, then those that want to be alone; each as it is over."""
        together = [fault_id for fault_id in self.wanted if fault_id not in ALONE]
        lanes = [[f for f in together if f in WAITING], [f for f in together if f not in WAITING]]
        if all(lanes) and self.jobs >= len(lanes):
            yield from self._beside(lanes, seed)
        else:
            yield from (play(fault_id, seed, self.scale, self.jobs) for fault_id in together)
        yield from (play(fault_id, seed, self.scale, self.jobs) for fault_id in self.wanted if fault_id in ALONE)

    def _beside(self, lanes: Sequence[Sequence[str]], seed: int) -> Iterator[Result]:
        """One class of each lane at a time, each with its share of the jobs."""
        fresh, share = get_context("spawn"), self.jobs // len(lanes)
        with ExitStack() as stack:
            playing: list[Future[Result]] = []
            for lane in lanes:
                pool = stack.enter_context(ProcessPoolExecutor(1, fresh))
                playing += [pool.submit(play, fault_id, seed, self.scale, share) for fault_id in lane]
            yield from (done.result() for done in as_completed(playing))


def play(fault_id: str, seed: int, scale: float, jobs: int) -> Result:
    """One class, once; says when it begins and how it ended."""
    module = import_module(f"faults.{CLASSES[fault_id]}")
    say(f"{module.ID} {module.TITLE} ...")
    began = monotonic()
    with Arena(fault_id, seed, scale, jobs=jobs) as arena:
        try:
            result: Result = module.run(arena)
        except AssertionError as error:
            failure = Failure(module.ID, arena.seed, "", f"{error}" or "an assertion without words")
            result = Result(module.ID, module.TITLE, failures=[failure])
    result.seconds = monotonic() - began
    say(f"{module.ID} {'held' if result.passed else 'FAILED'}: {result.cases:,} cases in {result.seconds:.1f} s")
    return result


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
