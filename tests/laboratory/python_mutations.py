"""A copy of the project in which functions can be something else than they are, one of them in one place at a time.

mutmut makes the changes and the switch between them. It leaves functions with decorators alone: in the copy these are
applied below the function instead, so that none is left out.
"""

import ast
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import ndiff
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
COPIED: Final = ("kernel", "harvest_tasks", "schedules", "tests")
MUTANTS: Final = "mutants.json"
VERDICTS: Final = "verdicts.json"
PYPROJECT: Final = """
[tool.pytest.ini_options]
addopts = "--strict-markers --import-mode=importlib -p no:cacheprovider"
pythonpath = [".", "tests"]

[tool.mutmut]
source_paths = ["kernel"]
use_setproctitle = false
"""
CONFTEST: Final = '''"""For tests that run over and over in one process: always the same examples and the same clock."""

from itertools import count

import builders
import pytest
from hypothesis import Phase, settings

# Whether it fails is all that is asked: no example has to be small.
once = {"phases": [Phase.explicit, Phase.generate], "report_multiple_bugs": False}
settings.register_profile("mutants", deadline=None, derandomize=True, database=None, max_examples=40, **once)
settings.load_profile("mutants")


def pytest_collection_modifyitems(items):
    for module in {item.module for item in items if hasattr(item.module, "LIVES")}:
        module.LIVES, module.SOON, module.SELDOM = 60, [], []


@pytest.fixture(autouse=True)
def fresh_clock():
    builders._clock = count(1)
'''


@dataclass(frozen=True, slots=True, order=True)
class PythonMutant:
    """`function` is what it is a change of, by its whole name; `was` and `now` are the lines that differ."""

    function: str
    was: str
    now: str
    name: str

    @property
    def key(self) -> tuple[str, str, str]:
        """Names it whatever else of the code changes."""
        return self.function, self.was, self.now

    def __str__(self) -> str:
        return f"{self.function}: {self.was} -> {self.now or 'nothing'}"


Wanted = Mapping[str, Sequence[str]]
"""By the path of a file, the functions (and methods, as `Class.method`) to change; all of them if none is named."""


def lay_out(directory: Path, wanted: Wanted) -> list[PythonMutant]:
    """Make the copy; all mutants, in order. Run by a process that is in the directory: mutmut asks for no other."""
    from mutmut.mutation.file_mutation import mutate_file_contents

    made: list[PythonMutant] = []
    for path, functions in wanted.items():
        file = directory / path
        mutated = mutate_file_contents(path, lowered(file.read_text(encoding="utf-8")))
        file.write_text(mutated.code, encoding="utf-8")
        made += _mutants(path, mutated.code, functions)
    (directory / MUTANTS).write_text(json.dumps([asdict(mutant) for mutant in made]), encoding="utf-8")
    return sorted(made)


def copy(directory: Path) -> None:
    """The project as it is, without what was built of it, ready to be changed."""
    for name in COPIED:
        shutil.copytree(ROOT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
    (directory / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (directory / "tests" / "conftest.py").write_text(CONFTEST, encoding="utf-8")


def lowered(text: str) -> str:
    """The same module, with the decorators of functions applied below them."""
    lines = text.splitlines(keepends=True)
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    for function in sorted(functions, key=lambda each: -each.lineno):
        if function.decorator_list:
            applied = function.name
            for decorator in reversed(function.decorator_list):
                applied = f"{ast.unparse(decorator)}({applied})"
            lines.insert(function.end_lineno or 0, f"{' ' * function.col_offset}{function.name} = {applied}\n")
            first = min(decorator.lineno for decorator in function.decorator_list)
            del lines[first - 1 : function.lineno - 1]
    return "".join(lines)


def _mutants(path: str, code: str, functions: Sequence[str]) -> Iterator[PythonMutant]:
    """Those of a changed module, told by what differs from the original function."""
    module = path.removesuffix(".py").replace("/", ".")
    sources = {node.name: node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.FunctionDef)}
    for name, node in sources.items():
        mangled, found, number = name.partition("__mutmut_")
        if not found or not number.isdigit():
            continue
        function = mangled.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")
        if not functions or function in functions:
            was, now = _difference(sources[f"{mangled}__mutmut_orig"], node)
            yield PythonMutant(f"{module}.{function}", was, now, f"{module}.{name}")


def _difference(original: Any, changed: Any) -> tuple[str, ...]:
    """The lines of either that the other does not have, as one text each."""
    texts = [ast.unparse(each).splitlines()[1:] for each in (original, changed)]
    # The arguments are in the first line, behind the name.
    texts = [[ast.unparse(each.args), *text] for each, text in zip((original, changed), texts, strict=True)]
    lines = list(ndiff(*texts))
    return tuple(" ".join(line[2:].strip() for line in lines if line[0] == sign) for sign in "-+")
