"""Which objects does an entry consist of? Its flat fields, and JSON objects nested in `payload`, `data` or `signal`.

JSON is read strictly and numbers stay text. Sizes and depth are checked on the text, before the parser runs.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import NoReturn, TypeAlias

from harvest_tasks.wire.refusal import InvalidInput, RefusalReason, shown_input

Layers: TypeAlias = tuple[Mapping[str, object], ...]
"""The objects that together make one entry: its flat fields and what is nested in them."""

MAX_ENTRY_BYTES = 4096
"""Of all field names and values together."""
MAX_FIELDS = 32
"""Of an entry, and of each object in it."""
MAX_DEPTH = 4

_NESTS = ("payload", "data", "signal")
_NEST_NAMES = frozenset(_NESTS)
_BOOK_FIELDS = ("symbol", "status", "position_side")
_GLIMPSE_CHARS = 16_384
"""How far an unreadable text is searched for the book it names."""
_GLIMPSE_WORD = 64

_SURROGATE = re.compile("[\ud800-\udfff]")
# Strings come first, so that brackets inside them do not count; a string that never ends takes up the rest.
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{\]}]', re.DOTALL)
_MEMBER = re.compile(r'"(symbol|status|position_side)"\s*+:\s*+"([^"\\]{1,40})"')


class Numeral(str):
    """A JSON number as it was written."""

    __slots__ = ()


def is_absent(value: object) -> bool:
    """Whether `value` is null or empty text, which count as a missing field."""
    return value is None or value == ""


def open_layers(fields: Mapping[str, str]) -> Layers:
    """All objects of an entry, the one that states the status first. Raises `InvalidInput`."""
    _check_size(fields)
    if _NEST_NAMES.isdisjoint(fields):
        return (fields,)
    found: list[Mapping[str, object]] = [fields]
    for name in _NESTS:
        if _holds_object(name, fields.get(name, "")):
            found.extend(_nested(_read_object(name, fields[name])))
    return _event_first(found)


def glimpse_layers(fields: Mapping[str, str]) -> Layers:
    """The fields of an unreadable entry that may name its book, each in a layer of its own."""
    flat = [{name: fields[name][:_GLIMPSE_WORD]} for name in _BOOK_FIELDS if name in fields]
    texts = (fields.get(name, "")[:_GLIMPSE_CHARS] for name in _NESTS)
    return (*flat, *({name: text} for nest in texts for name, text in _MEMBER.findall(nest)))


def _check_size(fields: Mapping[str, str]) -> None:
    if len(fields) > MAX_FIELDS:
        raise InvalidInput(RefusalReason.TOO_MANY_FIELDS, f"the entry has over {MAX_FIELDS} fields")
    text = "".join((*fields, *fields.values()))
    # A surrogate stands for one byte that was not UTF-8, and "replace" turns it into one byte.
    if len(text) > MAX_ENTRY_BYTES or (not text.isascii() and len(text.encode("utf-8", "replace")) > MAX_ENTRY_BYTES):
        raise InvalidInput(RefusalReason.ENTRY_TOO_BIG, f"the entry is over {MAX_ENTRY_BYTES} bytes")
    _check_text(text)


def _check_text(text: str) -> None:
    if not text.isascii() and _SURROGATE.search(text):
        raise InvalidInput(RefusalReason.NOT_UTF8, "the entry is not valid UTF-8")


def _holds_object(name: str, text: str) -> bool:
    """`payload` and `data` must hold an object; `signal` is also a common name for a label."""
    return text.lstrip().startswith("{") if name == "signal" else text != ""


def _read_object(name: str, text: str) -> Mapping[str, object]:
    if _is_too_deep(text):
        raise InvalidInput(RefusalReason.TOO_DEEP, f"{name} nests deeper than {MAX_DEPTH}")
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise InvalidInput(RefusalReason.NOT_JSON, f"{name} {shown_input(text)} is not JSON at {error.pos}") from None
    if not isinstance(value, dict):
        raise InvalidInput(RefusalReason.NOT_AN_OBJECT, f"{name} {shown_input(text)} is not a JSON object")
    if "\\u" in text:
        _check_text("".join(_strings(value)))
    return value


def _is_too_deep(text: str) -> bool:
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return False
    depth = 0
    for part in _STRING_OR_BRACKET.findall(text):
        depth += (part in "[{") - (part in "]}")
        if depth > MAX_DEPTH:
            return True
    return False


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, dict):
        yield from value
        yield from _strings([*value.values()])


def _nested(layer: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    yield layer
    for name in _NESTS:
        inner = layer.get(name)
        if isinstance(inner, dict):
            yield from _nested(inner)


def _event_first(found: list[Mapping[str, object]]) -> Layers:
    """`found`, with the innermost object that states a status first: it is the event, and the others wrap it."""
    stating = [layer for layer in found if not is_absent(layer.get("status"))]
    return (*reversed(stating), *(layer for layer in found if is_absent(layer.get("status"))))


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(pairs) > MAX_FIELDS:
        raise InvalidInput(RefusalReason.TOO_MANY_FIELDS, f"an object has over {MAX_FIELDS} members")
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in members if names.count(name) > 1)
        raise InvalidInput(RefusalReason.DUPLICATE_KEY, f"an object has the key {shown_input(twice)} twice")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidInput(RefusalReason.NOT_FINITE, f"JSON holds {name}")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=Numeral, parse_int=Numeral, parse_constant=_refuse_constant
)
