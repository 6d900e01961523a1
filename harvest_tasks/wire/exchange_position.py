"""What does the exchange hold in a book? Parses the exchange snapshot, a hash that another service writes.

A snapshot that cannot be read does not mean that the position is flat.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from harvest_tasks.wire.fields import ONE_WAY, Fields, ascii_upper
from harvest_tasks.wire.numbers import positive_number, signed_number
from harvest_tasks.wire.refusal import InvalidInput, RefusalReason, shown_input
from harvest_tasks.wire.symbols import hedge_legs
from harvest_tasks.wire.timestamps import TIME_NAMES, unix_ms

_QTY_NAMES: Final = ("qty", "quantity")
_TIME_NAMES: Final = (*TIME_NAMES, "updated_at")
MAX_AGE_MS: Final = 10 * 365 * 86_400_000
"""A higher age is not a real one: 1.7 billion seconds is the age since a time of 0."""

_SIDES: Final = {"LONG": 1, "BUY": 1, "SHORT": -1, "SELL": -1}
_LEGS: Final = {"LONG": 1, "SHORT": -1}


@dataclass(frozen=True, slots=True)
class ExchangeSnapshot:
    """An open position: `qty` is signed (long > 0, base currency) and never 0, `entry` and `stop` are prices, `age_ms`
    counts from its opening.
    """

    book: str
    qty: Decimal
    entry: Decimal
    stop: Decimal | None = None
    age_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ExchangeFlat:
    """No position. `stale` says why the snapshot may miss a position that opened since then, or is empty."""

    book: str
    stale: str = ""


@dataclass(frozen=True, slots=True)
class UnreadableSnapshot:
    """There is a snapshot, but it cannot be used."""

    book: str
    why: str


@dataclass(frozen=True, slots=True)
class OtherLegOnly:
    """The only snapshot of the symbol is of the other leg, which says nothing about this one."""

    book: str


ExchangePosition = ExchangeSnapshot | ExchangeFlat | UnreadableSnapshot | OtherLegOnly


def books_of(symbol: str, fields: Fields, is_hedge: bool) -> tuple[str, ...]:
    """The books that the hash under the key of `symbol` describes.

    It describes the leg that it names. If it names none: in hedge mode the leg of its side, or both legs if it has no
    side; in one-way mode the symbol's only book.
    """
    stated = ascii_upper(fields.get("position_side"))
    if stated in _LEGS:
        return (f"{symbol}:{stated}",)
    if not is_hedge:
        return (symbol,)
    sign = _SIDES.get(ascii_upper(fields.get("side")))
    return tuple(leg for leg in hedge_legs(symbol) if sign in (None, _leg(leg)))


def read_exchange_position(
    book: str, fields: Fields, now_ms: int, max_age_ms: int
) -> ExchangeSnapshot | ExchangeFlat | UnreadableSnapshot:
    """Parse the snapshot `fields` of `book` at `now_ms`. It is stale if it states a time over `max_age_ms` ago."""
    try:
        stale = _staleness(fields, now_ms, max_age_ms)
        qty = _qty(fields)
        if not qty:
            return ExchangeFlat(book, stale)
        if stale:
            return UnreadableSnapshot(book, stale)
        return _snapshot(book, qty, fields)
    except InvalidInput as error:
        return UnreadableSnapshot(book, error.detail)


def _snapshot(book: str, qty: Decimal, fields: Fields) -> ExchangeSnapshot:
    return ExchangeSnapshot(
        book,
        abs(qty) * _sign(book, qty, fields),
        positive_number("entry_price", _required("entry_price", fields)),
        _stop(fields),
        _age_ms(fields),
    )


def _staleness(fields: Fields, now_ms: int, longest_ms: int) -> str:
    name = next((name for name in _TIME_NAMES if fields.get(name)), None)
    if name is None:
        return ""
    age_ms = now_ms - unix_ms(name, fields[name])
    return f"stale: written {age_ms // 1000} s ago" if age_ms > longest_ms else ""


def _qty(fields: Fields) -> Decimal:
    """The quantity as written; that of a short may be negative."""
    name = next((name for name in _QTY_NAMES if fields.get(name)), "qty")
    return signed_number(name, _required(name, fields))


def _sign(book: str, qty: Decimal, fields: Fields) -> int:
    """+1 or -1. Raises when side, quantity and leg contradict."""
    side, stated = fields.get("side", ""), fields.get("position_side", "")
    sign, leg = _SIDES.get(ascii_upper(side)), _leg(book)
    if sign is None:
        raise InvalidInput(RefusalReason.BAD_SIDE, f"side is {shown_input(side)}, not LONG or SHORT")
    if sign > 0 > qty:
        raise InvalidInput(RefusalReason.CONFLICTING, "a long has a negative quantity")
    if stated and ascii_upper(stated) not in (*_LEGS, *ONE_WAY):
        raise InvalidInput(
            RefusalReason.BAD_POSITION_SIDE,
            f"position_side is {shown_input(stated)}, not LONG, SHORT, BOTH, NET or NONE",
        )
    if leg not in (0, sign) or _LEGS.get(ascii_upper(stated), leg) != leg:
        raise InvalidInput(RefusalReason.CONFLICTING, f"its side is not that of {book}")
    return sign


def _stop(fields: Fields) -> Decimal | None:
    """The price of the stop; many services write 0 for none."""
    text = fields.get("current_sl")
    return positive_number("current_sl", text) if text and signed_number("current_sl", text) else None


def _age_ms(fields: Fields) -> int | None:
    """The age, None if it is absent or impossible."""
    try:
        age_ms = int(positive_number("age_sec", fields.get("age_sec")) * 1000)
    except InvalidInput:
        return None
    return age_ms if age_ms <= MAX_AGE_MS else None


def _leg(book: str) -> int:
    return _LEGS.get(book.partition(":")[2], 0)


def _required(name: str, fields: Fields) -> str:
    text = fields.get(name)
    if not text:
        raise InvalidInput(RefusalReason.MISSING, f"{name} is missing")
    return text
