"""What the packages may import, read from their source."""

import ast
import sys
from pathlib import Path

import pytest

import kernel

ROOT = Path(__file__).parents[2]
IMPURE = {"asyncio", "datetime", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "socket"} | {
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "uuid",
}


def imported(path: Path) -> set[str]:
    """Top-level names of the modules that `path` imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, f"{path} imports relatively"
            assert node.level == 0, f"{path} imports relatively"
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("path", modules("kernel"), ids=lambda path: path.stem)
def test_the_kernel_imports_itself_and_pure_parts_of_the_standard_library(path: Path) -> None:
    assert imported(path) <= {"kernel"} | (set(sys.stdlib_module_names) - IMPURE)


@pytest.mark.parametrize("path", modules("schedules"), ids=lambda path: path.stem)
def test_schedules_import_nothing_of_ours_and_no_library(path: Path) -> None:
    assert imported(path) <= {"schedules"} | set(sys.stdlib_module_names)


def test_the_kernel_is_this_checkouts() -> None:
    # Strangers' packages have the same name.
    assert Path(kernel.__file__).is_relative_to(ROOT)


def test_the_products_tests_do_without_the_laboratory() -> None:
    paths = [path for path in modules("tests") if "laboratory" not in path.parts]
    assert paths
    assert [str(path) for path in paths if "laboratory" in imported(path)] == []
