"""A Lua script's text cut into tokens, with where each stands: what counting and changing a script need of Lua."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_TOKEN: Final = re.compile(
    r"""
      (?P<comment>--\[\[.*?\]\]|--[^\n]*)
    | (?P<string>'[^'\n]*'|"[^"\n]*")
    | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    | (?P<word>[A-Za-z_]\w*)
    | (?P<sign>\.\.|==|~=|<=|>=|[-+*/%^\#<>=(){}\[\];:,.])
    | (?P<space>\s+)
    """,
    re.VERBOSE | re.DOTALL,
)
_OPENING: Final = {"(": ")", "{": "}", "[": "]"}


@dataclass(frozen=True, slots=True)
class Token:
    """`kind` is string, number, word or sign; `at` and `end` are places in the text."""

    kind: str
    text: str
    at: int

    @property
    def end(self) -> int:
        return self.at + len(self.text)


@lru_cache
def tokens(text: str) -> Sequence[Token]:
    """All of the script but comments and space. Raises ValueError for text that is none of it."""
    return tuple(_tokens(text))


def line_of(text: str, at: int) -> tuple[int, str]:
    """The number of the line at a place, and the line without its indentation."""
    number = text.count("\n", 0, at)
    return number + 1, text.split("\n")[number].strip()


def column_of(text: str, at: int) -> int:
    """How far a place is into its line, not counting indentation."""
    start = text.rfind("\n", 0, at) + 1
    line = text[start:at]
    return len(line) - (len(line) - len(line.lstrip()))


def closing(found: Sequence[Token], opening: int) -> int:
    """The index of the bracket that closes the one at index `opening`."""
    depth = 0
    for index in range(opening, len(found)):
        if found[index].kind != "sign":
            continue
        depth += (found[index].text in _OPENING) - (found[index].text in _OPENING.values())
        if not depth:
            return index
    raise ValueError("a bracket is never closed")


def _tokens(text: str) -> Iterator[Token]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"not Lua as these scripts have it: {line_of(text, at)}")
        at = match.end()
        kind = str(match.lastgroup)
        if kind not in ("comment", "space"):
            yield Token(kind, match.group(), match.start())
