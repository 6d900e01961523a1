"""Which fields may an entry of each kind have? One table a kind: field names, what each means, how its value is read.

A field that is not in the table is ignored.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, TypeAlias

from harvest_tasks.wire import symbols
from harvest_tasks.wire.numbers import non_negative_number, positive_number, signed_number
from harvest_tasks.wire.payload import Layers, Numeral, is_absent
from harvest_tasks.wire.refusal import InvalidInput, RefusalReason, shown_input
from kernel.positions.entry import Side

Fields: TypeAlias = Mapping[str, str]
"""A hash or a stream entry of Redis: text by field name."""

FieldReader: TypeAlias = Callable[[str, object], Any]
"""What a value means, or None if it says nothing. Raises `InvalidInput`."""
FieldRules: TypeAlias = Mapping[str, tuple[str, FieldReader]]
"""By field name: its meaning, and the function that reads its value. Names with the same meaning are aliases."""

_is_identifier = re.compile(r"[!-~]{1,64}").fullmatch
_is_asset = re.compile(r"[A-Z0-9]{2,16}").fullmatch
_LONGEST_WORD = 32
_SIDES = {side.value: side for side in Side}
ONE_WAY: Final = ("BOTH", "NET", "NONE")
"""What a position side says where long and short net."""
_POSITION_SIDES = {"LONG": "LONG", "SHORT": "SHORT"} | dict.fromkeys(ONE_WAY, "BOTH")
_PLACEHOLDERS = frozenset(("0", "-1", "NONE", "NULL", "N/A", "UNDEFINED", "NAN"))
"""What producers write in place of a trade or an order that has no id."""
_OPTIONAL = frozenset(("stop_loss", "atr", "fee"))
"""A fill counts without them, so two values that contradict are as absent as one that cannot be read."""


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
            if read is None:
                continue
            if meaning in values and values[meaning] != read:
                _check_optional(meaning, name, value)
                read = None
            values[meaning] = read
    return values


def _check_optional(meaning: str, name: str, value: object) -> None:
    """Raises `InvalidInput` if a fill needs the `meaning` that `value` contradicts."""
    if meaning not in _OPTIONAL:
        raise InvalidInput(RefusalReason.CONFLICTING, f"{name} {shown_input(value)} contradicts another {meaning}")


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
    position_side = _POSITION_SIDES.get(ascii_upper(value))
    if position_side is None:
        detail = f"{name} {shown_input(value)} is not LONG, SHORT, BOTH, NET or NONE"
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


def _price(name: str, value: object) -> Decimal | None:
    """A price; 0 says nothing, as beside the price of an executed market order."""
    return non_negative_number(name, value) or None


def _trade_or_order(name: str, value: object) -> str | None:
    return None if ascii_upper(value) in _PLACEHOLDERS else _identifier(name, value)


def _optional(reader: FieldReader) -> FieldReader:
    """`reader` for a field without which a fill counts, too: 0 and what cannot be read say nothing."""

    def read(name: str, value: object) -> Any:
        try:
            return reader(name, value) or None
        except InvalidInput:
            return None

    return read


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


SYMBOL: Final[FieldRules] = {"symbol": ("symbol", _symbol)}
BOOK_FIELDS: Final[FieldRules] = {**SYMBOL, "position_side": ("position_side", _position_side)}
QTY: Final[FieldRules] = {"qty": ("qty", non_negative_number), "quantity": ("qty", non_negative_number)}
FILL: Final[FieldRules] = {
    **BOOK_FIELDS,
    "side": ("side", _side),
    "action": ("side", _side),
    **QTY,
    "last_price": ("last_price", _price),
    "fill_price": ("last_price", _price),
    "price": ("price", _price),
    "avg_price": ("avg_price", _price),
    "trade_id": ("trade_id", _trade_or_order),
    "fill_id": ("trade_id", _trade_or_order),
    "order_id": ("order_id", _trade_or_order),
    "intent_id": ("intent_id", _identifier),
    "correlation_id": ("correlation_id", _identifier),
    "stop_loss": ("stop_loss", _optional(positive_number)),
    "stopLoss": ("stop_loss", _optional(positive_number)),
    "sl": ("stop_loss", _optional(positive_number)),
    "atr": ("atr", _optional(positive_number)),
    "fee": ("fee", _optional(signed_number)),
    "fee_asset": ("fee_asset", _asset),
}
FILLED_QTY: Final[FieldRules] = {"filled_qty": ("qty", non_negative_number)}
CUMULATIVE: Final[FieldRules] = dict.fromkeys(("filled", "cum_qty", "executedQty", "z"), ("qty", non_negative_number))
"""What the order executed so far, of which this fill is a part."""
STATED_PRICE: Final[FieldRules] = dict.fromkeys(
    ("last_price", "fill_price", "price", "avg_price"), ("price", positive_number)
)
PLANNED_PRICE: Final[FieldRules] = {"entry_price": ("price", positive_number)}
NOTIONAL: Final[FieldRules] = {"position_size_usd": ("notional", positive_number)}
SIGNS_OF_A_FILL: Final = (("side", "action"), (*QTY, *FILLED_QTY, *CUMULATIVE), tuple(STATED_PRICE))
"""An entry with a name of each may be a fill, whatever its status is called."""
MARK: Final[FieldRules] = {**SYMBOL, "price": ("price", positive_number)}
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
