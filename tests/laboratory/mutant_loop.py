"""The tests collected once, then run for one mutant after the other, each in a fork, until one of them fails.

Run in a copy of the project as `python -m laboratory.mutant_loop JOBS WANTED TEST...`, where WANTED is JSON.
"""

import gc
import json
import os
import resource
import signal
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import process_time
from typing import Any, Final

import pytest

from laboratory.python_mutations import VERDICTS, PythonMutant, lay_out

SURVIVED, KILLED, BROKEN = 0, 1, 2
"""Ends of a fork; the last one is that of the loop's own failure."""
TIMES_SLOWER: Final = 10
"""A test that takes so many times the processor time that it takes without a change, and a second, has no end."""
SPARE_SEC: Final = 1
MEMORY: Final = 4 << 30
SAID_EVERY: Final = 100


class Loop:
    """A pytest plugin instead of its own loop. `verdicts` has by name whether something noticed."""

    def __init__(self, mutants: Sequence[PythonMutant], jobs: int) -> None:
        self.verdicts: dict[str, bool] = {}
        self.failing: list[str] = []
        self._mutants, self._jobs = mutants, jobs
        self._seconds: dict[Any, float] = {}
        self._tests: defaultdict[str, list[Any]] = defaultdict(list)
        self._children: dict[int, str] = {}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            self.failing.append("collection")
            return True
        for item in session.items:
            self._look(item)
        # What is there already is shared with every fork.
        gc.collect()
        gc.freeze()
        for mutant in self._mutants if not self.failing else ():
            self._try(mutant.name)
        while self._children:
            self._wait()
        return True

    def _look(self, item: pytest.Item) -> None:
        """Run a test as it is, and note which functions it calls."""
        from mutmut.mutation import trampoline

        called: set[str] = set()
        setattr(trampoline, "record_trampoline_hit", lambda name, **_: called.add(name))  # noqa: B010 - mutmut exports it to nobody
        trampoline.set_mutant_under_test("stats")
        began = process_time()
        if _fails(item):
            self.failing.append(item.nodeid)
        self._seconds[item] = process_time() - began
        trampoline.set_mutant_under_test("")
        for name in called:
            self._tests[name].append(item)

    def _try(self, name: str) -> None:
        tests = sorted(self._tests[name.partition("__mutmut_")[0]], key=lambda item: self._seconds[item])
        while len(self._children) >= self._jobs:
            self._wait()
        child = os.fork()
        if not child:
            try:
                os._exit(self._tried(name, tests))
            finally:
                os._exit(BROKEN)
        self._children[child] = name

    def _tried(self, name: str, tests: Sequence[Any]) -> int:
        from mutmut.mutation import trampoline

        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        trampoline.set_mutant_under_test(name)
        for item in tests:
            # Nothing handles the signal: it ends the process.
            signal.setitimer(signal.ITIMER_PROF, SPARE_SEC + TIMES_SLOWER * self._seconds[item])
            if _fails(item):
                return KILLED
        return SURVIVED

    def _wait(self) -> None:
        child, status = os.wait()
        name, code = self._children.pop(child), os.waitstatus_to_exitcode(status)
        if code == BROKEN:
            self.failing.append(f"the loop, at {name}")
        # Whatever ended it otherwise (its time is over, no memory is left) is noticed, too.
        self.verdicts[name] = code != SURVIVED
        if len(self.verdicts) % SAID_EVERY == 0:
            sys.stderr.write(f"{len(self.verdicts):,} of {len(self._mutants):,} mutants tried\n")


def _fails(item: Any) -> bool:
    """As pytest runs it, but without a report: what a failure looks like is never asked."""
    if not item._request:
        item._initrequest()
    try:
        item.ihook.pytest_runtest_setup(item=item)
        item.ihook.pytest_runtest_call(item=item)
    except pytest.skip.Exception:
        return False
    except BaseException:  # noqa: BLE001 - also what is not meant to be caught ends a test
        return True
    finally:
        item.ihook.pytest_runtest_teardown(item=item, nextitem=None)
        item._request, item.funcargs = False, None
    return False


def main(jobs: int, wanted: Mapping[str, Sequence[str]], tests: Sequence[str]) -> int:
    loop = Loop(lay_out(Path.cwd(), wanted), jobs)
    code = pytest.main(["-q", "--assert=plain", *tests], plugins=[loop])
    Path(VERDICTS).write_text(json.dumps(loop.verdicts), encoding="utf-8")
    if loop.failing:
        sys.stderr.write(f"without any change these tests fail: {', '.join(loop.failing)}\n")
    return int(bool(loop.failing)) or (0 if code in (0, 5) else int(code))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3:]))
