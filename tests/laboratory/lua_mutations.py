"""Scripts that do something else than they should, each in one place: made by rule from the text of the real one.

Rules: a choice is never or always taken; a comparison is another; `and` is `or`, `not` is nothing, plus is minus; a
number is one more or one less; a text that is compared, or a type that is checked, is another; a write is left out, or
done before the checks; an entry is acknowledged first; a stream is no longer trimmed.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha1
from typing import Final

from harvest_tasks.server.script import Script
from laboratory.lua_text import Token, closing, column_of, line_of, tokens

SCRIPTS: Final = ("commit", "route", "publish")
CHECKS: Final = "-- Checks:"
WRITES: Final = "-- Writes."
WRITING: Final = frozenset(("DEL", "SREM", "XACK"))
"""Commands whose reply says whether there was anything to do: 1 stands for yes."""
COMPARISONS: Final[Mapping[str, Sequence[str]]] = {
    "==": ("~=",),
    "~=": ("==",),
    "<": ("<=", ">="),
    "<=": ("<", ">"),
    ">": (">=", "<"),
    ">=": (">", "<"),
}
SWAPS: Final[Mapping[str, Sequence[str]]] = {"and": ("or",), "or": ("and",), "true": ("false",), "false": ("true",)}
SIGNS: Final[Mapping[str, Sequence[str]]] = {**COMPARISONS, "+": ("-",), "-": ("+",)}
ACKNOWLEDGED: Final = "for i = FIRST, #ARGV, WIDTH do redis.call('XACK', source, group, ARGV[i]) end\n"
XACK: Final = "redis.call('XACK', source, group, id)"


@dataclass(frozen=True, slots=True, order=True)
class Mutant:
    """`line` is that of the real script, `source` its text, `change` what is other there; `text` is all of it."""

    name: str
    line: int
    source: str
    change: str
    text: str

    @property
    def script(self) -> Script:
        return Script(self.name, self.text, sha1(self.text.encode(), usedforsecurity=False).hexdigest())

    @property
    def key(self) -> tuple[str, str, str]:
        """Names it whatever else of the script changes."""
        return self.name, self.source, self.change

    def __str__(self) -> str:
        return f"{self.name}.lua:{self.line} {self.change}: {self.source}"


@dataclass(frozen=True, slots=True)
class _Edit:
    at: int
    end: int
    new: str
    change: str


def mutants(name: str, text: str) -> list[Mutant]:
    """All of a script, in the order of its text."""
    edits = sorted(
        {*_token_edits(text), *_conditions(text), *_writes(text), *_items(text)}, key=lambda e: (e.at, e.new)
    )
    made = [_mutant(name, text, edit) for edit in edits]
    return [*made, *_moved(name, text)] if CHECKS in text and WRITES in text else made


def _mutant(name: str, text: str, edit: _Edit) -> Mutant:
    line, source = line_of(text, edit.at)
    changed = text[: edit.at] + edit.new + text[edit.end :]
    return Mutant(name, line, source, f"at {column_of(text, edit.at)}: {edit.change}", changed)


def _token_edits(text: str) -> Iterator[_Edit]:
    found = tokens(text)
    for index, token in enumerate(found):
        for new in _others(found, index):
            yield _Edit(token.at, token.end, new, f"{token.text} -> {new or 'nothing'}")


def _others(found: Sequence[Token], index: int) -> Iterable[str]:
    """What else could stand in the place of a token."""
    token = found[index]
    if token.kind == "word":
        return ("",) if token.text == "not" else SWAPS.get(token.text, ())
    if token.kind == "number":
        return (str(int(token.text) + 1), f"({int(token.text) - 1})") if token.text.isdigit() else ("0",)
    if token.kind == "string":
        around = {found[at].text for at in (index - 1, index + 1) if 0 <= at < len(found)}
        return ("'another'",) if around & {"==", "~="} else ()
    return SIGNS.get(token.text, ())


def _conditions(text: str) -> Iterator[_Edit]:
    """Each choice never taken, and always."""
    found = tokens(text)
    for index, token in enumerate(found):
        if token.kind == "word" and token.text in ("if", "elseif"):
            until = next(at for at in range(index, len(found)) if found[at].text == "then")
            for new in ("false", "true"):
                yield _Edit(token.end, found[until].at, f" {new} ", f"{token.text} -> {new}")


def _writes(text: str) -> Iterator[_Edit]:
    """Each call for its effect left out, and each for its effect and its reply."""
    found = tokens(text)
    for index, token in enumerate(found):
        if token.text != "redis" or [t.text for t in found[index + 1 : index + 4]] != [".", "call", "("]:
            continue
        end = found[closing(found, index + 3)].end
        command = found[index + 4].text
        if _begins_a_statement(found, index):
            yield _Edit(token.at, end, "", f"without {command}")
        elif command.strip("'") in WRITING:
            yield _Edit(token.at, end, "1", f"without {command}")
        yield from _untrimmed(text, token.at, end)


def _begins_a_statement(found: Sequence[Token], index: int) -> bool:
    before = found[index - 1]
    if before.kind == "word":
        return before.text not in ("if", "elseif", "return", "and", "or", "not", "in")
    # After a bracket that closes, or a value, nothing but a statement can begin.
    return before.text in (")", "}", "]") or before.kind in ("number", "string")


def _untrimmed(text: str, at: int, end: int) -> Iterator[_Edit]:
    for match in re.compile(r"'MAXLEN', '~', \w+, ").finditer(text, at, end):
        yield _Edit(match.start(), match.end(), "", "without MAXLEN")


def _items(text: str) -> Iterator[_Edit]:
    """Tables of what is checked: each item left out."""
    for match in re.finditer(r"(?:\[[\w.]+\] = '\w+'|\b[A-Z] = true)(?:,\s*)?", text):
        yield _Edit(match.start(), match.end(), "", f"without {match.group().rstrip().rstrip(',')}")


def _moved(name: str, text: str) -> Iterator[Mutant]:
    """Each statement of the writes done before the checks."""
    checks, writes = text.index(CHECKS), text.index(WRITES)
    for at, statement in _statements(text, text.index("\n", writes) + 1):
        if "redis.call" not in statement or statement.startswith("local"):
            continue
        line, source = line_of(text, at)
        without = text[:at] + text[at + len(statement) :]
        yield Mutant(name, line, source, "before the checks", f"{text[:checks]}{statement}\n{without[checks:]}")
    if XACK in text:
        line, source = line_of(text, text.index(XACK))
        rest = text[checks:].replace(XACK, "1")
        yield Mutant(name, line, source, "acknowledged first", f"{text[:checks]}{ACKNOWLEDGED}{rest}")


def _statements(text: str, start: int) -> Iterator[tuple[int, str]]:
    """Statements that are not within others, by their indentation: each with its place."""
    lines, at, kept, began = text[start:].splitlines(keepends=True), start, "", start
    for line in lines:
        if kept and not (line.startswith((" ", "end", "else", "}")) or not line.strip()):
            yield began, kept.rstrip()
            kept = ""
        if not kept:
            began = at
        if kept or line.strip():
            kept += line
        at += len(line)
    if kept.strip():
        yield began, kept.rstrip()
