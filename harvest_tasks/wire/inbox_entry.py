"""How is an entry written in an inbox? As one compact JSON array.

A character for its kind comes first, then the entry's fields in their order; decimals are plain text. Only parsed
entries are packed, so `unpack` does not validate their values again.
"""

import json
from collections.abc import Callable
from decimal import Decimal
from json.encoder import encode_basestring_ascii as quoted
from typing import Final

from kernel.positions.entry import (
    Adopt,
    Entry,
    Fill,
    Freeze,
    Funding,
    Mark,
    OrderEnded,
    OrderEndStatus,
    Overdue,
    Release,
    Side,
)
from kernel.positions.quantities import plain

LOST_INPUT: Final = "lost_input"
"""The reason of a `Freeze`: entries of the input were lost."""
ADOPTING: Final = "adopting"
"""The reason of a `Freeze`: the book may have been open before the first start."""


class BadInboxEntry(ValueError):
    """The text `raw` is not one that `pack` writes."""

    def __init__(self, raw: str) -> None:
        super().__init__(f"not a packed entry: {raw[:200]!a}")
        self.raw = raw


def pack(entry: Entry) -> str:
    """`entry` as text, from which `unpack` makes an equal entry."""
    return f"[{','.join(_texts(entry))}]"


def unpack(text: str) -> Entry:
    """The entry that `pack` wrote. Raises `BadInboxEntry`."""
    try:
        kind, *values = _DECODE(text)
        return _ENTRIES[kind](*values)
    except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError):
        raise BadInboxEntry(text) from None


_DECODE: Final = json.JSONDecoder().decode


def _texts(entry: Entry) -> tuple[str, ...]:
    """The kind and each field as JSON."""
    match entry:
        case Fill():
            return (
                '"F"',
                quoted(entry.source_id),
                str(entry.time_ms),
                quoted(entry.side),
                _number(entry.qty),
                _number(entry.price),
                _word(entry.trade_id),
                _word(entry.intent_id),
                _number(entry.stop_loss),
                _number(entry.atr),
                _number(entry.fee),
                _word(entry.fee_asset),
            )
        case Mark():
            read_ms = () if entry.read_ms is None else (str(entry.read_ms),)
            return '"M"', quoted(entry.source_id), str(entry.time_ms), _number(entry.price), *read_ms
        case OrderEnded():
            return '"O"', quoted(entry.source_id), str(entry.time_ms), quoted(entry.status), quoted(entry.intent_id)
        case Funding():
            return '"U"', quoted(entry.source_id), str(entry.time_ms), _number(entry.amount), _word(entry.asset)
        case Adopt():
            numbers = map(_number, (entry.tracked_qty, entry.qty, entry.entry, entry.stop))
            return '"A"', quoted(entry.source_id), str(entry.time_ms), *numbers
        case Overdue():
            return '"L"', quoted(entry.source_id), str(entry.time_ms), str(entry.placed_before_ms)
        case Freeze():
            return '"Z"', quoted(entry.source_id), str(entry.time_ms), quoted(entry.reason)
        case Release():
            return '"R"', quoted(entry.source_id), str(entry.time_ms)


def _fill(
    source_id: str,
    time_ms: int,
    side: str,
    qty: str,
    price: str,
    trade_id: str | None,
    intent_id: str | None,
    stop_loss: str | None,
    atr: str | None,
    fee: str | None,
    fee_asset: str | None,
) -> Fill:
    return Fill(
        source_id,
        time_ms,
        _SIDES[side],
        Decimal(qty),
        Decimal(price),
        trade_id,
        intent_id,
        None if stop_loss is None else Decimal(stop_loss),
        None if atr is None else Decimal(atr),
        None if fee is None else Decimal(fee),
        fee_asset,
    )


def _mark(source_id: str, time_ms: int, price: str, read_ms: int | None = None) -> Mark:
    return Mark(source_id, time_ms, Decimal(price), read_ms)


def _order_ended(source_id: str, time_ms: int, status: str, intent_id: str) -> OrderEnded:
    return OrderEnded(source_id, time_ms, OrderEndStatus(status), intent_id)


def _funding(source_id: str, time_ms: int, amount: str, asset: str | None) -> Funding:
    return Funding(source_id, time_ms, Decimal(amount), asset)


def _adopt(source_id: str, time_ms: int, tracked_qty: str, qty: str, entry: str, stop: str | None) -> Adopt:
    return Adopt(
        source_id, time_ms, Decimal(tracked_qty), Decimal(qty), Decimal(entry), None if stop is None else Decimal(stop)
    )


def _number(value: Decimal | None) -> str:
    return "null" if value is None else f'"{plain(value)}"'


def _word(text: str | None) -> str:
    return "null" if text is None else quoted(text)


_SIDES: Final = {side.value: side for side in Side}
_ENTRIES: Final[dict[str, Callable[..., Entry]]] = {
    "F": _fill,
    "M": _mark,
    "O": _order_ended,
    "U": _funding,
    "A": _adopt,
    "L": Overdue,
    "Z": Freeze,
    "R": Release,
}
