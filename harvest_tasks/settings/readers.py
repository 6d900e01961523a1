"""How is each kind of setting read from text? Strictly: the error is one sentence that says what is allowed."""

import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, cast

from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from harvest_tasks.wire.numbers import is_plain_decimal, is_whole
from harvest_tasks.wire.symbols import InvalidSymbol, valid_symbol
from kernel.positions.ladder import Ladder, Rung

EVER_FILLED: Final = "*"
"""The value of SYMBOLS that stands for every symbol that ever had a fill."""
NO_FILE: Final = "none"
"""The value that stands for no file; a file with this name can be given as ./none."""

_HOST: Final = re.compile(r"\A([A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]+\])\Z")
_KEY: Final = re.compile(r"\A[A-Za-z0-9_.{}-]+(:[A-Za-z0-9_.{}-]+)*\Z")
_RATE: Final = re.compile(r"\A([1-9][0-9]{0,5})/([smh])\Z")
_PER_MINUTE: Final = {"s": Decimal(60), "m": Decimal(1), "h": Decimal(1) / 60}


def reader_of(setting: FieldInfo) -> Callable[[str], Any]:
    """The function that reads `setting` from text; it raises ValueError with a sentence that says what is allowed."""
    (validator,) = (part for part in setting.metadata if isinstance(part, BeforeValidator))
    return cast("Callable[[str], Any]", validator.func)


def whole_number(low: int, high: int) -> BeforeValidator:
    """A whole number, both bounds included."""

    def read(text: str) -> int:
        if not is_whole(text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return BeforeValidator(read)


def decimal_number(low: str, high: str) -> BeforeValidator:
    """A decimal number, both bounds included; floats such as `1e-3`, signs and underscores are refused."""

    def read(text: str) -> Decimal:
        if not is_plain_decimal(text) or not Decimal(low) <= Decimal(text) <= Decimal(high):
            raise ValueError(f"must be a plain decimal number from {low} to {high}")
        return Decimal(text)

    return BeforeValidator(read)


def choice(options: Iterable[str]) -> BeforeValidator:
    allowed = tuple(str(option) for option in options)

    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"must be {', '.join(allowed[:-1])} or {allowed[-1]}")
        return text

    return BeforeValidator(read)


def rate_limit(slowest_per_minute: int) -> BeforeValidator:
    """Celery's form of a rate: `120/m`."""

    def read(text: str) -> str:
        found = _RATE.match(text)
        if not found or Decimal(found[1]) * _PER_MINUTE[found[2]] < slowest_per_minute:
            raise ValueError(f"must be a rate such as 2/s or 120/m, and at least {slowest_per_minute}/m")
        return text

    return BeforeValidator(read)


def flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("must be true or false")
    return text.lower() == "true"


def host(text: str) -> str:
    if not _HOST.match(text):
        raise ValueError("must be a host name or address, without port or user")
    return text


def key_name(text: str) -> str:
    if not _KEY.match(text):
        raise ValueError("must be a key name such as quantum:kill, without spaces, wildcards or a colon at either end")
    return text


def key_prefix(text: str) -> str:
    if not text.endswith(":") or not _KEY.match(text[:-1]):
        raise ValueError("must be the start of a key name, ending in one colon, such as quantum:marketstate:")
    return text


def symbol_list(text: str) -> tuple[str, ...] | None:
    """None for `*`: every symbol that ever had a fill."""
    if text == EVER_FILLED:
        return None
    try:
        listed = tuple(valid_symbol(part.strip(" ")) for part in text.split(","))
    except InvalidSymbol:
        raise ValueError(
            "must list symbols such as BTCUSDT,ETHUSDT or be * for every symbol that ever had a fill"
        ) from None
    if len(set(listed)) < len(listed):
        raise ValueError("must not list a symbol twice")
    return listed


def readable_file(text: str) -> str | None:
    """The path of a file that can be opened; None for `none`."""
    if text == NO_FILE:
        return None
    path = Path(text)
    try:
        # Opening a pipe would block until something writes to it.
        if not path.is_file():
            raise ValueError(f"must be the path of an existing file, or {NO_FILE}")
        path.open("rb").close()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    return text


def ladder_rungs(text: str) -> tuple[Rung, ...]:
    """`0.5:0.25,1.0:0.25` as rungs. Raises ValueError, which the kernel's InvalidLadder is too."""
    pairs = [part.strip(" ").split(":") for part in text.split(",")]
    if not all(len(pair) == 2 and all(map(is_plain_decimal, pair)) for pair in pairs):
        raise ValueError("must list rungs as R:fraction in plain decimal numbers, such as 0.5:0.25,1.0:0.25")
    return Ladder(tuple(Rung(Decimal(r), Decimal(fraction)) for r, fraction in pairs)).rungs


def always_true(text: str) -> bool:
    if not flag(text):
        raise ValueError("must be true: Harvest only ever reduces positions")
    return True
