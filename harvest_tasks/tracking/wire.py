"""Entries as one compact JSON array of text, the form in which they wait in an inbox.

A letter for the kind comes first, then the entry's fields in their order; decimals are plain text. What is read
back was parsed at the door, so it is trusted.
"""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from kernel.entry import (
    Adopt,
    Entry,
    Fill,
    Freeze,
    Funding,
    Mark,
    Outcome,
    OutcomeStatus,
    Overdue,
    Release,
    Side,
)
from kernel.quantities import plain


class BadWire(ValueError):
    """Text that `pack` did not write. `raw` is the text."""

    def __init__(self, raw: str) -> None:
        super().__init__(f"not a packed entry: {raw[:200]!a}")
        self.raw = raw


def pack(entry: Entry) -> str:
    """`entry` as text; `unpack` gives it back."""
    return _ENCODE(_values(entry))


def unpack(text: str) -> Entry:
    """The entry that `pack` wrote. Raises `BadWire`."""
    try:
        kind, *values = _DECODE(text)
        return _ENTRIES[kind](*values)
    except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError):
        raise BadWire(text) from None


_ENCODE: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_DECODE: Final = json.JSONDecoder().decode


def _values(entry: Entry) -> tuple[str | int | None, ...]:
    match entry:
        case Fill():
            return (
                "F",
                entry.source_id,
                entry.time_ms,
                entry.side,
                plain(entry.qty),
                plain(entry.price),
                entry.trade_id,
                entry.intent_id,
                _text(entry.stop_loss),
                _text(entry.atr),
                _text(entry.fee),
                entry.fee_asset,
            )
        case Mark():
            seen = () if entry.seen_ms is None else (entry.seen_ms,)
            return "M", entry.source_id, entry.time_ms, plain(entry.price), *seen
        case Outcome():
            return "O", entry.source_id, entry.time_ms, entry.status, entry.intent_id
        case Funding():
            return "U", entry.source_id, entry.time_ms, plain(entry.amount), entry.asset
        case Adopt():
            quantities = plain(entry.seen_qty), plain(entry.qty)
            return "A", entry.source_id, entry.time_ms, *quantities, plain(entry.entry), _text(entry.stop)
        case Overdue():
            return "L", entry.source_id, entry.time_ms, entry.placed_before_ms
        case Freeze():
            return "Z", entry.source_id, entry.time_ms, entry.reason
        case Release():
            return "R", entry.source_id, entry.time_ms


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


def _mark(source_id: str, time_ms: int, price: str, seen_ms: int | None = None) -> Mark:
    return Mark(source_id, time_ms, Decimal(price), seen_ms)


def _outcome(source_id: str, time_ms: int, status: str, intent_id: str) -> Outcome:
    return Outcome(source_id, time_ms, OutcomeStatus(status), intent_id)


def _funding(source_id: str, time_ms: int, amount: str, asset: str | None) -> Funding:
    return Funding(source_id, time_ms, Decimal(amount), asset)


def _adopt(source_id: str, time_ms: int, seen_qty: str, qty: str, entry: str, stop: str | None) -> Adopt:
    return Adopt(
        source_id, time_ms, Decimal(seen_qty), Decimal(qty), Decimal(entry), None if stop is None else Decimal(stop)
    )


def _text(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)


_SIDES: Final = {side.value: side for side in Side}
_ENTRIES: Final[dict[str, Callable[..., Entry]]] = {
    "F": _fill,
    "M": _mark,
    "O": _outcome,
    "U": _funding,
    "A": _adopt,
    "L": Overdue,
    "Z": Freeze,
    "R": Release,
}
