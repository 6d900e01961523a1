"""How do settings look as text? Finds unknown names and damaged values, and shows values without passwords."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from difflib import get_close_matches
from typing import Final

from harvest_tasks.settings.redis_url import RedisUrl, redacted_url
from kernel.positions.ladder import Rung
from kernel.positions.quantities import plain

OWN_PREFIX: Final = "HARVEST_"
"""An unknown variable with this prefix is a mistake."""

_LONGEST_SHOWN: Final = 60


def unknown_lines(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """An error line for each of `names` that has the prefix `OWN_PREFIX` and is not a setting."""
    known = set(known)
    strangers = (name for name in names if name.upper().startswith(OWN_PREFIX) and name not in known)
    return [_unknown_line(name, known) for name in sorted(strangers)]


def damaged_lines(given: Mapping[str, str]) -> dict[str, str]:
    """An error line for each value that is blank or damaged as text, by name."""
    problems = {name: _damage(text) for name, text in given.items()}
    return {name: error_line(name, given[name], problem) for name, problem in problems.items() if problem}


def error_line(name: str, text: str, problem: str) -> str:
    """One error line: the name, the value without its secrets, and what is wrong or allowed."""
    return f"{name}={shown_value(name, text)}: {problem}"


def shown_value(name: str, text: str) -> str:
    """`text` quoted, on one line, cut to length and without a password."""
    if name.endswith(("_URL", "RESULT_BACKEND")):
        return repr(redacted_url(text.strip()) + ("\r" if text.endswith("\r") else ""))
    # A URL in the wrong variable: a text with a password has an @.
    if "@" in text:
        return "'***'"
    return repr(text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "...")


def setting_text(value: object) -> str:
    """The text that gives a setting this value, without passwords."""
    match value:
        case bool():
            return str(value).lower()
        case RedisUrl():
            return redacted_url(value)
        case Decimal():
            return plain(value)
        case float():
            return plain(Decimal(str(value)))
        case tuple():
            return ",".join(setting_text(part) for part in value)
        case Rung():
            return f"{plain(value.r)}:{plain(value.fraction)}"
        case _:
            return str(value)


def _unknown_line(name: str, known: set[str]) -> str:
    visible = name.encode("unicode_escape").decode("ascii")
    # With the prefix, any two settings would look alike.
    stems = {setting.removeprefix(OWN_PREFIX): setting for setting in known}
    near = get_close_matches(name.upper().strip().removeprefix(OWN_PREFIX), stems, n=1)
    return f"{visible}: is not a setting; " + (f"did you mean {stems[near[0]]}?" if near else "unset it")


def _damage(text: str) -> str | None:
    if not text.strip():
        return "is blank; unset it, or give it a value"
    if text.endswith("\r"):
        return "ends in a carriage return; save the file it comes from with LF line ends"
    if text != text.strip():
        return "has white space around it"
    if not text.isprintable():
        return "holds a control character"
    return None
