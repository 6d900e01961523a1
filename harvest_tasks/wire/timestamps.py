"""When did an entry happen? Reads unix seconds, unix milliseconds or ISO 8601; else the stream id has one."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from harvest_tasks.wire.numbers import well_formed
from harvest_tasks.wire.payload import Layers, is_absent
from harvest_tasks.wire.refusal import InvalidInput, RefusalReason, shown_input
from kernel.positions.quantities import exact

TIME_NAMES: Final = ("ts", "timestamp", "time")
"""The fields in which other services state a time, in the order in which they are looked at."""

_is_integer = re.compile(r"[1-9][0-9]{0,14}").fullmatch
_is_iso = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?"
    r"(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
).fullmatch
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

_FIRST_MS = 1_230_768_000_000
"""The start of 2009."""
_END_MS = 4_133_980_800_000
"""The end of 2100."""
_SMALLEST_MS = 100_000_000_000
"""A number below this is in seconds: as milliseconds it would be before 1973, as seconds it reaches 5138."""
_SAME_MS = 1_000
"""Two fields may state one time at different precision, such as whole seconds beside milliseconds."""


def event_time(entry_id: str, layers: Layers) -> int:
    """The time (unix ms) in the first layer that states one, else that of the stream id."""
    for layer in layers:
        ts, timestamp = layer.get("ts"), layer.get("timestamp")
        if is_absent(timestamp):
            if not is_absent(ts):
                return unix_ms("ts", ts)
        elif is_absent(ts):
            return unix_ms("timestamp", timestamp)
        else:
            return _agreed(unix_ms("ts", ts), unix_ms("timestamp", timestamp))
    return _arrival_ms(entry_id)


def unix_ms(name: str, value: object) -> int:
    """`value` in unix ms, rounded down; a time without an offset is UTC. Raises `InvalidInput`."""
    ms = _read_ms(name, value)
    if not _FIRST_MS <= ms < _END_MS:
        detail = f"{name} {shown_input(value)} is not between 2009 and 2100"
        raise InvalidInput(RefusalReason.TIME_OUT_OF_RANGE, detail)
    return ms


def _arrival_ms(entry_id: str) -> int:
    ms = int(entry_id.partition("-")[0])
    if not ms:
        raise InvalidInput(RefusalReason.TIME_OUT_OF_RANGE, "the stream id has no time, and the entry states none")
    return ms


def _agreed(ts: int, timestamp: int) -> int:
    if abs(ts - timestamp) >= _SAME_MS:
        raise InvalidInput(RefusalReason.CONFLICTING, "ts and timestamp are a second or more apart")
    return max(ts, timestamp)


def _read_ms(name: str, value: object) -> int:
    if isinstance(value, str) and _is_integer(value):
        number = int(value)
        return number if number >= _SMALLEST_MS else number * 1000
    if isinstance(value, str) and _is_iso(value):
        return _read_iso(name, value)
    return _read_number(name, value)


def _read_iso(name: str, text: str) -> int:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(RefusalReason.NOT_A_TIME, f"{name} {shown_input(text)} is not a date and time") from None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return (time - _EPOCH) // _MILLISECOND


@exact
def _read_number(name: str, value: object) -> int:
    try:
        number = Decimal(well_formed(name, value))
    except InvalidInput:
        detail = f"{name} {shown_input(value)} is neither unix time nor ISO 8601"
        raise InvalidInput(RefusalReason.NOT_A_TIME, detail) from None
    return int(number if number >= _SMALLEST_MS else number * 1000)
