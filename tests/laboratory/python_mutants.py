"""MUT: the kernel and the guards with one thing wrong in them; their unit tests must notice.

In `make faults` it is the guards' turn, all of which must be noticed. `make mutants` (this module as a program) does
the whole kernel and keeps what it found; that is told here, too, as long as the kernel is still the same.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, Final

from laboratory.arena import JOBS, Arena
from laboratory.python_mutations import MUTANTS, ROOT, VERDICTS, PythonMutant, Wanted, copy
from laboratory.report import Result

ID: Final = "MUT"
TITLE: Final = "mutants of guards and kernel"
KEPT: Final = Path(".faults/mutmut.json")
ENOUGH: Final = 0.95
"""Of the kernel's, so many must be noticed; of the guards', all."""
GUARDS: Final[Wanted] = {
    "kernel/positions/guards.py": (),
    "kernel/positions/decision.py": ("decide", "_decided"),
    "harvest_tasks/fills/plan.py": ("make_plan", "_decide", "_held_record", "_published_record"),
}
GUARD_TESTS: Final = ("unit/test_guards", "unit/test_plan", "unit/test_kernel_corners")
KERNEL_TESTS: Final = (
    *(
        "unit/test_guards",
        "unit/test_instrument",
        "unit/test_ladder",
        "unit/test_plan",
        "unit/test_position",
        "unit/test_position_properties",
    ),
    *(
        "unit/test_proposal_edges",
        "unit/test_proposal_golden",
        "unit/test_proposal_properties",
        "unit/test_stops",
        "unit/test_kernel_corners",
    ),
    "laboratory/tests/test_random_positions_at_the_kernel",
)


@dataclass(frozen=True, slots=True)
class Score:
    """`survivors` are neither noticed nor listed as equivalent, `false` are listed and noticed."""

    made: int
    killed: int
    equivalent: int
    survivors: Sequence[PythonMutant]
    false: Sequence[PythonMutant]

    @property
    def counts(self) -> dict[str, int]:
        return {"made": self.made, "killed": self.killed, "equivalent": self.equivalent}


def run(arena: Arena) -> Result:
    began = monotonic()
    score = tried(GUARDS, GUARD_TESTS, arena.jobs)
    result = Result(ID, TITLE, cases=score.made)
    for mutant in score.survivors:
        result.failures.append(arena.failure(f"no test notices {mutant}"))
    for mutant in score.false:
        result.failures.append(arena.failure(f"listed as equivalent, and noticed: {mutant}"))
    told: dict[str, Any] = {"guards": score.counts}
    kernel = of_the_kernel(KEPT)
    if kernel is not None:
        told["kernel"] = kernel
        if kernel["killed"] < kernel["made"] * ENOUGH:
            result.failures.append(arena.failure(f"of the kernel's mutants too few are noticed: {kernel}"))
    result.notes["mutmut"] = told
    if kernel is None:
        result.notes["kernel"] = "not tried on this kernel yet; `make mutants` does, in some minutes"
    result.seconds = monotonic() - began
    return result


def tried(wanted: Wanted, tests: Sequence[str], jobs: int, *, watched: bool = False) -> Score:
    """Every mutant of what is wanted, each against the tests of these names, in a copy that is gone afterwards;
    when it is `watched`, it says how far it is.

    Raises AssertionError if they fail without any change.
    """
    with TemporaryDirectory(prefix="harvest-mutants-") as name:
        directory = Path(name)
        copy(directory)
        argv = [sys.executable, "-m", "laboratory.mutant_loop", str(jobs), json.dumps(wanted)]
        paths = [f"tests/{test}.py" for test in tests]
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join((".", "tests")), "PYTHONDONTWRITEBYTECODE": "1"}
        said = None if watched else subprocess.PIPE
        done = subprocess.run(  # noqa: S603 - ours
            [*argv, *paths], cwd=directory, env=environ, stdout=subprocess.DEVNULL, stderr=said, text=True, check=False
        )
        assert not done.returncode, f"the mutants were not tried: {(done.stderr or '').strip()[-2000:]}"
        made = [PythonMutant(**each) for each in json.loads((directory / MUTANTS).read_text(encoding="utf-8"))]
        return _score(made, json.loads((directory / VERDICTS).read_text(encoding="utf-8")))


def of_the_kernel(kept: Path) -> dict[str, int] | None:
    """What the last full run found; None if there was none, or the kernel is another by now."""
    if not kept.exists():
        return None
    found = json.loads(kept.read_text(encoding="utf-8"))
    return dict(found["kernel"]) if found["sha256"] == kernel_sha256() else None


def kernel_sha256() -> str:
    """Of all its sources."""
    whole = sha256()
    for file in sorted((ROOT / "kernel").rglob("*.py")):
        whole.update(f"{file.relative_to(ROOT)}\n".encode() + file.read_bytes())
    return whole.hexdigest()


@lru_cache
def equivalents() -> Mapping[tuple[str, str, str], str]:
    """Mutants that nothing can tell from the real code, by key: why."""
    listed: list[dict[str, str]] = json.loads(
        files("laboratory").joinpath("python_equivalents.json").read_text("utf-8")
    )
    return {(each["function"], each["was"], each["now"]): each["why"] for each in listed}


def _score(made: Sequence[PythonMutant], verdicts: Mapping[str, bool]) -> Score:
    same = equivalents()
    real = [mutant for mutant in made if mutant.key not in same]
    killed = [mutant for mutant in made if verdicts[mutant.name]]
    survivors = [mutant for mutant in real if not verdicts[mutant.name]]
    false = [mutant for mutant in killed if mutant.key in same]
    return Score(len(real), len(killed) - len(false), len(made) - len(real), survivors, false)


def main() -> int:
    """The whole kernel: prints the survivors, keeps the counts."""
    began = monotonic()
    wanted: Wanted = {str(file.relative_to(ROOT)): () for file in sorted((ROOT / "kernel").rglob("*.py"))}
    score = tried(wanted, KERNEL_TESTS, JOBS, watched=True)
    for mutant in score.survivors:
        sys.stdout.write(f"no test notices {mutant}\n")
    for mutant in score.false:
        sys.stdout.write(f"listed as equivalent, and noticed: {mutant}\n")
    KEPT.parent.mkdir(exist_ok=True)
    kept = {"sha256": kernel_sha256(), "kernel": score.counts, "survivors": [str(each) for each in score.survivors]}
    KEPT.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    share, seconds = score.killed / score.made, monotonic() - began
    sys.stdout.write(f"kernel: {score.killed:,} of {score.made:,} mutants noticed ({share:.1%}), {seconds:.0f} s\n")
    return 0 if share >= ENOUGH and not score.false else 1


if __name__ == "__main__":
    sys.exit(main())
