"""Which text counts as a number? Text is checked in full before any of it is converted. There are three sets of rules.

- Entries and rules of the exchange: `positive_number`, `signed_number`, `exact_number`. Float producers write
  `8.7e-06` and `0.0000034048000000000003`, so both are numbers. At most 40 characters, 15 digits before the point, 25
  after it, an exponent from -12 to 15; below 1e15. `Decimal("1e5000000")` is cheap to make and takes minutes of CPU to
  use.
- Settings: `is_whole` and `is_plain_decimal`, which allow no sign and no exponent.
- Hashes that proposals are computed from: `required_float` and `optional_float`. A sign and leading zeros are allowed;
  at most 64 characters, 40 digits on either side of the point, 3 in the exponent.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, NoReturn

from harvest_tasks.wire.refusal import InvalidInput, RefusalReason, shown_input
from kernel.positions.quantities import exact, on_grid

LIMIT = Decimal("1e15")
"""Every number is below this."""

_NEAREST_STOP = Decimal("0.0001")
_FARTHEST_STOP = Decimal("0.9")
_LONGEST = 40
_LONGEST_FLOAT = 64
_WHOLE: Final = r"(?:0|[1-9][0-9]{0,14})"
_PLAIN: Final = rf"{_WHOLE}(?:\.[0-9]{{1,25}})?"
is_whole = re.compile(_WHOLE).fullmatch
is_plain_decimal = re.compile(_PLAIN).fullmatch
_is_on_grid = re.compile(rf"{_WHOLE}(?:\.[0-9]{{1,12}})?").fullmatch
_is_float = re.compile(r"[+-]?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?").fullmatch
_NUMBER = re.compile(rf"{_PLAIN}(?:[eE]([+-]?[0-9]+))?")
_EXPONENT = re.compile(r"[+-]?[0-9]{1,2}")

_MALFORMED = (
    (re.compile(r"[+-]?(?:s?nan|inf(?:inity)?)", re.ASCII | re.IGNORECASE), RefusalReason.NOT_FINITE),
    (re.compile(r"[+-].+", re.DOTALL), RefusalReason.SIGNED),
    (re.compile(r"[1-9][0-9]{15,}(?:\.[0-9]+)?"), RefusalReason.TOO_LARGE),
)


def positive_number(name: str, value: object) -> Decimal:
    """A price or a quantity: above 0 and below 1e15 after rounding."""
    return _magnitude(name, value) or _refuse_zero(name)


def non_negative_number(name: str, value: object) -> Decimal:
    """`positive_number`, or 0 where the text says 0; what rounds to 0 is refused."""
    number = _magnitude(name, value)
    return number if number or not Decimal(well_formed(name, value)) else _refuse_zero(name)


def signed_number(name: str, value: object) -> Decimal:
    """An amount of money that may be negative or zero."""
    if isinstance(value, str) and value[:1] == "-":
        return _magnitude(name, value[1:]).copy_negate()
    return _magnitude(name, value)


def stop_distance(published: object) -> Decimal | None:
    """A published stop distance as a ratio of the price; None if it is absent, unreadable or no usual distance."""
    try:
        ratio = positive_number("stop_dist_pct", published)
    except InvalidInput:
        return None
    return ratio if is_stop_distance(ratio) else None


def is_stop_distance(ratio: Decimal) -> bool:
    """Whether a stop may be this far from the price, as a ratio: a basis point to 90 %."""
    return _NEAREST_STOP <= ratio <= _FARTHEST_STOP


def exact_number(name: str, value: object) -> Decimal:
    """A number from 0 to 1e15 with at most 12 decimals; nothing is rounded."""
    number = Decimal(well_formed(name, value))
    if number >= LIMIT or on_grid(number) != number:
        raise InvalidInput(RefusalReason.TOO_LARGE, f"{name} must be below 1e15 and have at most 12 decimals")
    return number


def required_float(fields: Mapping[str, str], name: str, *others: str) -> float:
    """The number under `name`, or else under the first of `others` that is present."""
    text = fields.get(name) or next(filter(None, map(fields.get, others)), None)
    if not text:
        raise InvalidInput(RefusalReason.MISSING, f"{'|'.join((name, *others))} is missing")
    if len(text) > _LONGEST_FLOAT or not _is_float(text):
        raise InvalidInput(RefusalReason.NOT_A_NUMBER, f"{name} is {text!a:.60}, not a number")
    return float(text)


def optional_float(fields: Mapping[str, str], name: str) -> float | None:
    """`required_float`, or None when the field is absent or empty."""
    return required_float(fields, name) if fields.get(name) else None


@exact
def quotient(name: str, dividend: Decimal, divisor: Decimal) -> Decimal:
    """`dividend / divisor` of two positive numbers, under the same rules as `positive_number`."""
    return _rounded(name, dividend / divisor) or _refuse_zero(name)


def well_formed(name: str, value: object) -> str:
    """`value` as text of an unsigned number that is safe to convert."""
    if not isinstance(value, str):
        raise InvalidInput(RefusalReason.NOT_A_NUMBER, f"{name} is {shown_input(value)}, not a number")
    if len(value) > _LONGEST:
        raise InvalidInput(RefusalReason.NUMBER_TOO_LONG, f"{name} {shown_input(value)} is over {_LONGEST} characters")
    match = _NUMBER.fullmatch(value)
    if match is None:
        raise InvalidInput(_malformation(value), f"{name} {shown_input(value)} is not a plain positive number")
    if match[1] is not None and not _is_small(match[1]):
        detail = f"{name} {shown_input(value)} has an exponent outside -12..15"
        raise InvalidInput(RefusalReason.EXPONENT_OUT_OF_RANGE, detail)
    return value


def _magnitude(name: str, value: object) -> Decimal:
    if isinstance(value, str) and _is_on_grid(value):
        return Decimal(value)
    return _rounded(name, Decimal(well_formed(name, value)))


def _rounded(name: str, number: Decimal) -> Decimal:
    rounded = on_grid(number)
    if rounded >= LIMIT:
        raise InvalidInput(RefusalReason.TOO_LARGE, f"{name} must be below 1e15")
    return rounded


def _refuse_zero(name: str) -> NoReturn:
    raise InvalidInput(RefusalReason.NOT_POSITIVE, f"{name} must be above 0 when rounded to 12 decimals")


def _is_small(exponent: str) -> bool:
    return _EXPONENT.fullmatch(exponent) is not None and -12 <= int(exponent) <= 15


def _malformation(text: str) -> RefusalReason:
    for pattern, reason in _MALFORMED:
        if pattern.fullmatch(text):
            return reason
    return RefusalReason.NOT_A_NUMBER
