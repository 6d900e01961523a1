"""The kernel's public API: what `from kernel import ...` gives, and what its docstrings say."""

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import is_dataclass
from decimal import Decimal
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import get_type_hints

import pytest

import kernel
from kernel.positions.entry import Entry

UNITS = ("base currency", "quote currency", "price", "ratio", "share", "unix ms", "seconds", "R multiple", "risk unit")
RAISES = {
    "apply": ("ValueError",),
    "Instrument": ("InvalidNumber",),
    "Ladder": ("InvalidLadder",),
    "HarvestTheta": ("InvalidNumber", "InvalidTheta"),
    "MarketState": ("InvalidNumber",),
    "P1Proposal": ("InvalidNumber",),
    "PositionSnapshot": ("InvalidNumber", "InvalidSide"),
}
MAKE_INTENTS = ("decision", "harvest", "intent", "stops")

PUBLIC = {name: getattr(kernel, name) for name in kernel.__all__}
DOCUMENTED = sorted(name for name in PUBLIC if PUBLIC[name] is not Entry)
"""A union of types has no docstring of its own: the module's says what an entry is."""


def homes() -> Iterator[tuple[str, str]]:
    """Each name that type checkers see, and the module they see it in."""
    tree = ast.parse(Path(kernel.__file__).read_text(encoding="utf-8"))
    (checked,) = (node for node in tree.body if isinstance(node, ast.If))
    for node in checked.body:
        assert isinstance(node, ast.ImportFrom)
        yield from ((alias.name, str(node.module)) for alias in node.names)


def has_numbers(public: object) -> bool:
    """Whether it is a record with a field that is measured in something."""
    if not inspect.isclass(public) or issubclass(public, Enum):
        return False
    if not is_dataclass(public) and not hasattr(public, "_fields"):
        return False
    return any(
        Decimal in (hint, *getattr(hint, "__args__", ())) or hint is float for hint in get_type_hints(public).values()
    )


def run(program: str) -> set[str]:
    """Modules of the kernel that are loaded after `program`."""
    program += "; import sys; print(*(name for name in sys.modules if name.startswith('kernel.')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    return set(done.stdout.split())


def test_type_checkers_and_programs_see_the_same_names() -> None:
    seen = dict(homes())
    assert sorted(seen) == sorted(kernel.__all__)
    assert {name: getattr(import_module(home), name) for name, home in seen.items()} == PUBLIC
    assert set(kernel.__all__) <= set(dir(kernel))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'next_trigger'"):
        kernel.next_trigger  # type: ignore[attr-defined]  # noqa: B018 - it is not there


@pytest.mark.parametrize("name", DOCUMENTED)
def test_each_name_has_a_docstring_of_its_own(name: str) -> None:
    text = PUBLIC[name].__doc__
    assert text
    assert not text.startswith(f"{name}("), "made by the dataclass"


@pytest.mark.parametrize("name", [name for name in DOCUMENTED if has_numbers(PUBLIC[name])])
def test_a_record_of_numbers_says_their_units(name: str) -> None:
    assert any(unit in " ".join(PUBLIC[name].__doc__.split()) for unit in UNITS)


@pytest.mark.parametrize("name", sorted(RAISES))
def test_what_can_be_refused_says_with_which_errors(name: str) -> None:
    raises = PUBLIC[name].__doc__.partition("Raises ")[2]
    assert [error for error in RAISES[name] if error not in raises] == []


def test_everything_that_checks_its_arguments_is_among_these() -> None:
    assert {name for name in DOCUMENTED if hasattr(PUBLIC[name], "__post_init__")} <= set(RAISES)


@pytest.mark.parametrize("program", ["from kernel import compute_harvest_proposal", "import harvest_tasks.proposals"])
def test_what_only_proposes_never_loads_the_code_that_makes_intents(program: str) -> None:
    loaded = run(program)
    assert "kernel.proposals.proposal" in loaded
    assert not {f"kernel.positions.{name}" for name in MAKE_INTENTS} & loaded
