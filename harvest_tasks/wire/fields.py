"""Which fields may an entry of each kind have? One table a kind: field names, what each means, how its value is read.

A field that is not in the table is ignored.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from harvest_tasks.wire import symbols
from harvest_tasks.wire.numbers import positive_number, signed_number
from harvest_tasks.wire.payload import Layers, Numeral, is_absent
from harvest_tasks.wire.refusal import InvalidInput, RefusalReason, shown_input
from kernel.positions.entry import Side

Fields: TypeAlias = Mapping[str, str]
"""A hash or a stream entry of Redis: text by field name."""

FieldReader: TypeAlias = Callable[[str, object], Any]
FieldRules: TypeAlias = Mapping[str, tuple[str, FieldReader]]
"""By field name: its meaning, and the function that reads its value. Names with the same meaning are aliases."""

_is_identifier = re.compile(r"[!-~]{1,64}").fullmatch
_is_asset = re.compile(r"[A-Z0-9]{2,16}").fullmatch
_LONGEST_WORD = 16
_SIDES = {side.value: side for side in Side}
_POSITION_SIDES = frozenset(("LONG", "SHORT", "BOTH"))


def read_fields(layers: Layers, rules: FieldRules) -> dict[str, Any]:
    """The values in `layers` by meaning, as `rules` read them. Raises `InvalidInput`, also if two values contradict."""
    values: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            rule = rules.get(name)
            if rule is None or (not value and is_absent(value)):
                continue
            meaning, reader = rule
            read = reader(name, value)
            if meaning in values and values[meaning] != read:
                detail = f"{name} {shown_input(value)} contradicts another {meaning}"
                raise InvalidInput(RefusalReason.CONFLICTING, detail)
            values[meaning] = read
    return values


def _symbol(name: str, value: object) -> str:
    if isinstance(value, str) and type(value) is not Numeral and symbols.is_symbol(value):
        return value
    raise InvalidInput(RefusalReason.BAD_SYMBOL, f"{name} {shown_input(value)} is not a symbol such as BTCUSDT")


def _side(name: str, value: object) -> Side:
    side = _SIDES.get(ascii_upper(value))
    if side is None:
        raise InvalidInput(RefusalReason.BAD_SIDE, f"{name} {shown_input(value)} is neither BUY nor SELL")
    return side


def _position_side(name: str, value: object) -> str:
    position_side = ascii_upper(value)
    if position_side not in _POSITION_SIDES:
        detail = f"{name} {shown_input(value)} is not LONG, SHORT or BOTH"
        raise InvalidInput(RefusalReason.BAD_POSITION_SIDE, detail)
    return position_side


def _identifier(name: str, value: object) -> str:
    """An id: text, or a JSON integer, which gives its digits."""
    if isinstance(value, str) and _is_identifier(value):
        if type(value) is not Numeral:
            return value
        if value.isdigit():
            return str(value)
    detail = f"{name} {shown_input(value)} is not 1 to 64 printable characters without spaces"
    raise InvalidInput(RefusalReason.BAD_ID, detail)


def _asset(name: str, value: object) -> str:
    asset = ascii_upper(value)
    if type(value) is not Numeral and _is_asset(asset):
        return asset
    raise InvalidInput(RefusalReason.BAD_ASSET, f"{name} {shown_input(value)} is not an asset such as USDT")


def ascii_upper(value: object) -> str:
    """A word in upper case; empty if it is not ASCII, since `str.upper` would turn even a ligature into FILLED."""
    if isinstance(value, str) and len(value) <= _LONGEST_WORD and value.isascii():
        return value.upper()
    return ""


BOOK_FIELDS: Final[FieldRules] = {
    "symbol": ("symbol", _symbol),
    "position_side": ("position_side", _position_side),
}
FILL: Final[FieldRules] = {
    **BOOK_FIELDS,
    "side": ("side", _side),
    "action": ("side", _side),
    "qty": ("qty", positive_number),
    "quantity": ("qty", positive_number),
    "filled_qty": ("qty", positive_number),
    "price": ("price", positive_number),
    "avg_price": ("price", positive_number),
    "trade_id": ("trade_id", _identifier),
    "fill_id": ("trade_id", _identifier),
    "order_id": ("order_id", _identifier),
    "intent_id": ("intent_id", _identifier),
    "correlation_id": ("correlation_id", _identifier),
    "stop_loss": ("stop_loss", positive_number),
    "atr": ("atr", positive_number),
    "fee": ("fee", signed_number),
    "fee_asset": ("fee_asset", _asset),
}
PLANNED_PRICE: Final[FieldRules] = {"entry_price": ("price", positive_number)}
NOTIONAL: Final[FieldRules] = {"position_size_usd": ("notional", positive_number)}
MARK: Final[FieldRules] = {"symbol": ("symbol", _symbol), "price": ("price", positive_number)}
FUNDING: Final[FieldRules] = {
    **BOOK_FIELDS,
    "amount": ("amount", signed_number),
    "asset": ("asset", _asset),
}
ORDER_ENDED: Final[FieldRules] = {
    **BOOK_FIELDS,
    "intent_id": ("intent_id", _identifier),
    "correlation_id": ("correlation_id", _identifier),
}
