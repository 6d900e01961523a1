"""What decides is a function of its inputs: no clock, no chance, no order of a set. The nets are tried with samples."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import set_order

ROOT = Path(__file__).parents[2]
DECIDING = (
    "kernel",
    "schedules",
    *(f"harvest_tasks/{part}" for part in ("fills", "proposing", "reconciling", "wire")),
)
FILES = [file for folder in DECIDING for file in sorted((ROOT / folder).glob("**/*.py"))]
TREES = {file: ast.parse(file.read_text(encoding="utf-8")) for file in FILES}
KNOWN = set_order.known(TREES.values())
REASONED = {
    "harvest_tasks/wire/execution_result.py": ["kinds.pop()"],  # of a set of one
    "harvest_tasks/reconciling/mismatch.py": ["*dropped"],  # HDEL takes them in any order
}

DEPENDENT = (
    "for each in {1, 2}: pass",
    "found = [each for each in set(given)]",
    "found = list({1, 2})",
    "found = tuple(each for each in frozenset(given))",
    "found = {each: 1 for each in set(given)}",
    "found = ','.join({'a', 'b'})",
    "first, second = {1, 2}",
    "first = {1, 2}.pop()",
    "print(*{1, 2})",
    "found = [*{1, 2}]",
    "found = dict.fromkeys({1, 2})",
    "found = next(iter(a.keys() & b))",
    "for each in a.keys() - b: pass",
    "names = {1} | {2}\nfor name in names: pass",
    "def f(names: frozenset[str]):\n    return [name for name in names]",
    "def f(names: 'set[str] | None'):\n    return list(names)",
    "class A:\n    names: frozenset[str] = frozenset()\ndef f(a):\n    return list(a.names)",
    "def names() -> set[str]: ...\nfor name in names(): pass",
    "total = sum({0.1, 0.2, 0.3})",
    "for name in client.smembers('names'): pass",
)
INDEPENDENT = (
    "for each in sorted({1, 2}): pass",
    "found = sorted(each for each in set(given))",
    "found = any(each for each in {1, 2})",
    "found = {each for each in set(given)}",
    "found = 1 in {1, 2} and len({1, 2}) == 2",
    "found = {*set(a), *set(b)}",
    "for each in [1, 2]: pass",
    "for each in {1: 2}: pass",
    "found = list(dict.fromkeys(given))",
    "class A:\n    names: tuple[str, ...] = ()\ndef f(a):\n    return list(a.names)",
)
CLOCKS_AND_CHANCE = (
    "import time\nnow = time.time()",
    "from time import monotonic\nnow = monotonic()",
    "from datetime import UTC, datetime\nnow = datetime.now(UTC)",
    "import random\nchosen = random.random()",
    "from random import choice\nchosen = choice([1])",
    "import uuid\nname = uuid.uuid4()",
    "from uuid import uuid4\nname = uuid4()",
    "import secrets\nname = secrets.token_hex()",
    "import os\nname = os.urandom(8)",
    "import os\nname = os.environ['A']",
)


def seen(code: str) -> list[str]:
    tree = ast.parse(code)
    return set_order.dependent(tree, set_order.known([tree]))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_nothing_that_decides_depends_on_the_order_of_a_set(file: Path) -> None:
    found = [use.partition(": ")[2] for use in set_order.dependent(TREES[file], KNOWN)]
    assert found == REASONED.get(str(file.relative_to(ROOT)), [])


@pytest.mark.parametrize("code", DEPENDENT)
def test_code_that_depends_on_the_order_of_a_set_is_found(code: str) -> None:
    assert len(seen(code)) == 1


@pytest.mark.parametrize("code", INDEPENDENT)
def test_code_that_only_asks_a_set_is_not_found(code: str) -> None:
    assert seen(code) == []


def banned(code: str, name: str) -> int:
    """How often the linter objects to `code` in the file of that name."""
    argv = [sys.executable, "-m", "ruff", "check", "--quiet", "--output-format", "concise", "--select", "TID251", "-"]
    done = subprocess.run(  # noqa: S603 - ours
        [*argv, "--stdin-filename", name], cwd=ROOT, input=code, capture_output=True, text=True, check=False
    )
    return len(done.stdout.splitlines())


@pytest.mark.parametrize("code", CLOCKS_AND_CHANCE)
def test_the_linter_finds_clocks_and_chance_in_what_decides(code: str) -> None:
    assert banned(code, "kernel/sample.py") > 0


@pytest.mark.parametrize("folder", DECIDING)
def test_the_linter_looks_at_each_folder_that_decides(folder: str) -> None:
    assert banned("import random\n", f"{folder}/sample.py") == 1
    assert banned("import random\n", "harvest_tasks/sample.py") == 0
