"""Rules that stand in one place: a second copy of one is found here."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from harvest_tasks.wire.position import LEDGER_FIELDS, position_fields
from kernel.positions.position import Position

ROOT = Path(__file__).parents[2]
FILES = sorted(file for room in ("kernel", "harvest_tasks") for file in (ROOT / room).rglob("*.py"))
TREES = {str(file.relative_to(ROOT)): ast.parse(file.read_text(encoding="utf-8")) for file in FILES}
POSITION_FIELDS = {*position_fields(Position("BTCUSDT")), *LEDGER_FIELDS} - {"book", "symbol"}
READS = ("get", "hget", "hmget")
SECOND_READERS = (
    'client.hgetall(keys.position(book))["qty"]',
    'client.hget(keys.position(book), "qty")',
    '("HMGET", keys.position(book), "qty", "mark")',
)


def text(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def touches_position_hash(tree: ast.AST) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("keys.position", "keys.POSITION_PREFIX"):
            return True
        if isinstance(node, ast.ImportFrom) and node.module == "harvest_tasks.wire.position":
            return True
    return False


def names_read(tree: ast.AST) -> Iterator[str]:
    """Texts that are looked up in a mapping, given to a reading method, or listed with others."""
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(slice=index):
                yield text(index)
            case ast.Call(func=ast.Attribute(attr=method), args=args) if method in READS:
                yield from map(text, args)
            case ast.Tuple(elts=elements) if len(POSITION_FIELDS.intersection(map(text, elements))) > 1:
                yield from map(text, elements)


def test_the_fields_of_the_position_hash_are_spelled_in_one_module() -> None:
    touching = {name: tree for name, tree in TREES.items() if touches_position_hash(tree)}
    assert {"harvest_tasks/metrics/positions.py", "harvest_tasks/fills/sweep.py"} <= set(touching)
    spelled = {name: POSITION_FIELDS.intersection(names_read(tree)) for name, tree in touching.items()}
    assert {name for name, fields in spelled.items() if fields} == set()


def test_a_second_reader_of_the_position_hash_would_be_noticed() -> None:
    for code in SECOND_READERS:
        tree = ast.parse(code)
        assert touches_position_hash(tree)
        assert "qty" in names_read(tree)


def number_rules(tree: ast.AST) -> Iterator[str]:
    """Patterns that match a decimal number and no word with a point in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "re.compile" and text(node.args[0]):
            pattern = text(node.args[0])
            if re.search(pattern, "1.5") and re.match(rf"(?:{pattern})\Z", "1.5") and not re.search(pattern, "a.b"):
                yield pattern


def test_what_counts_as_a_number_is_stated_in_one_module() -> None:
    stated = {name for name, tree in TREES.items() if any(number_rules(tree))}
    assert stated == {"harvest_tasks/wire/numbers.py"}


def test_what_counts_as_fresh_is_stated_once() -> None:
    stated = [
        name
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare) and "fresh_ms" in ast.unparse(node)
    ]
    assert stated == ["kernel/positions/guards.py"]
