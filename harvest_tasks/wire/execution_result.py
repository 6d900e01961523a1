"""What does an entry of the execution stream mean? `parse` makes a kernel entry of it, refuses it, or ignores it.

Its result is complete and exact: no other module checks it again.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import partial
from typing import Any, Final, NamedTuple, NoReturn, TypeAlias

from harvest_tasks.wire import fields as wire_fields
from harvest_tasks.wire.numbers import quotient
from harvest_tasks.wire.payload import Layers, glimpse_layers, is_absent, open_layers
from harvest_tasks.wire.refusal import InvalidInput, RefusalReason
from harvest_tasks.wire.timestamps import event_time
from kernel.positions.entry import Fill, Funding, Mark, OrderEnded, OrderEndStatus


class IgnoredReason(StrEnum):
    """Why an entry says nothing about a position."""

    UNKNOWN_STATUS = "unknown_status"
    NO_EXECUTION = "no_execution"
    ZERO_QUANTITY = "zero_quantity"
    NO_INTENT_ID = "no_intent_id"
    NO_SYMBOL = "no_symbol"


class Routed(NamedTuple):
    """`entry` is for `book`, or for every book of `symbol` if `book` is None."""

    symbol: str
    book: str | None
    entry: Fill | Mark | OrderEnded | Funding


@dataclass(frozen=True, slots=True)
class Refused:
    """The entry cannot be used. If it was a fill for `book`, that book's position may be wrong from here on.

    If its position side cannot be read, `symbol` stands instead: the position of each tracked book of it may be wrong.
    """

    reason: RefusalReason
    detail: str
    book: str | None
    symbol: str | None = None


@dataclass(frozen=True, slots=True)
class Ignored:
    """The entry says nothing about a position."""

    reason: IgnoredReason


LEGS: Final = ("LONG", "SHORT")
_is_zero: Final = re.compile(r"0(?:\.0*)?").fullmatch

Parsed: TypeAlias = Routed | Refused | Ignored
_Kind: TypeAlias = Callable[[str, Layers], Routed | Ignored]


def parse(entry_id: str, fields: Mapping[str, str]) -> Parsed:
    """Parse the entry `entry_id` (`<unix ms>-<seq>`) of the execution stream. No text in `fields` makes it raise."""
    try:
        layers = open_layers(fields)
    except InvalidInput as error:
        return _refused(error, glimpse_layers(fields))
    try:
        return _kind(layers)(entry_id, layers)
    except InvalidInput as error:
        return Ignored(IgnoredReason.ZERO_QUANTITY) if _is_empty_fill(layers) else _refused(error, layers)


def _fill(entry_id: str, layers: Layers) -> Routed | Ignored:
    values = wire_fields.read_fields(layers, wire_fields.FILL)
    qty = _own_qty(layers, values)
    if qty == 0:
        return Ignored(IgnoredReason.ZERO_QUANTITY)
    symbol = values.get("symbol") or _missing("symbol")
    side = values.get("side") or _missing("side")
    price = _own_price(layers, values)
    fill = Fill(
        entry_id,
        event_time(entry_id, layers),
        side,
        qty or _qty_of_notional(layers, price),
        price,
        _trade_id(values),
        _intent_id(values),
        values.get("stop_loss"),
        values.get("atr"),
        values.get("fee"),
        _other_asset(symbol, values.get("fee_asset")),
    )
    return Routed(symbol, _book(symbol, values.get("position_side")), fill)


def _mark(entry_id: str, layers: Layers) -> Routed:
    values = wire_fields.read_fields(layers, wire_fields.MARK)
    symbol = values.get("symbol") or _missing("symbol")
    price = values.get("price") or _missing("price")
    return Routed(symbol, None, Mark(entry_id, event_time(entry_id, layers), price))


def _funding(entry_id: str, layers: Layers) -> Routed:
    values = wire_fields.read_fields(layers, wire_fields.FUNDING)
    symbol = values.get("symbol") or _missing("symbol")
    amount = values["amount"] if "amount" in values else _missing("amount")
    funding = Funding(entry_id, event_time(entry_id, layers), amount, _other_asset(symbol, values.get("asset")))
    return Routed(symbol, _book(symbol, values.get("position_side")), funding)


def _order_ended(status: OrderEndStatus, entry_id: str, layers: Layers) -> Routed | Ignored:
    values = wire_fields.read_fields(layers, wire_fields.ORDER_ENDED)
    intent_id = _intent_id(values)
    if intent_id is None:
        return Ignored(IgnoredReason.NO_INTENT_ID)
    if "symbol" not in values:
        return Ignored(IgnoredReason.NO_SYMBOL)
    symbol, position_side = values["symbol"], values.get("position_side")
    outcome = OrderEnded(entry_id, event_time(entry_id, layers), status, intent_id)
    # Without a leg it goes to every book of the symbol; only one of them has the intent.
    return Routed(symbol, _book(symbol, position_side) if position_side in LEGS else None, outcome)


def _no_execution(_entry_id: str, _layers: Layers) -> Ignored:
    return Ignored(IgnoredReason.NO_EXECUTION)


def _unknown(_entry_id: str, layers: Layers) -> Ignored:
    if _reads_like_a_fill(layers):
        raise InvalidInput(RefusalReason.UNKNOWN_STATUS, "side, quantity and price come with an unknown status")
    return Ignored(IgnoredReason.UNKNOWN_STATUS)


_FILL_WORDS: Final = (
    *("FILLED", "PARTIAL", "PARTIALLYFILLED", "PARTIALFILLED", "PARTIALFILL"),
    *("CALCULATED", "TRADE", "LIQUIDATION", "ADL"),
)
_END_WORDS: Final[Mapping[str, OrderEndStatus]] = {
    **{status.value: status for status in OrderEndStatus},
    "FAILED": OrderEndStatus.REJECTED,
    "EXPIREDINMATCH": OrderEndStatus.EXPIRED,
    **dict.fromkeys(("PARTIALLYFILLEDCANCELED", "MMPCANCELED", "DEACTIVATED"), OrderEndStatus.CANCELED),
}
_NO_EXECUTION_WORDS: Final = (
    *("NEW", "ACCEPTED", "PENDING", "PENDINGNEW", "OPEN", "CREATED", "SUBMITTED", "PLACED", "WORKING", "UNTRIGGERED"),
    *("TRIGGERED", "ACTIVE", "LIVE", "AMENDED", "REPLACED", "MODIFIED", "PENDINGCANCEL", "CANCELING"),
    "TRADEPREVENTION",
)
_KINDS: Final[Mapping[str, _Kind]] = {
    **dict.fromkeys(_FILL_WORDS, _fill),
    "PRICE_UPDATE": _mark,
    "FUNDING": _funding,
    **{word: partial(_order_ended, status) for word, status in _END_WORDS.items()},
    **dict.fromkeys(_NO_EXECUTION_WORDS, _no_execution),
}


def _kind(layers: Layers) -> _Kind:
    kinds = _kinds(layers)
    if len(kinds) > 1:
        raise InvalidInput(RefusalReason.CONFLICTING, "status has two different values")
    return kinds.pop() if kinds else _missing("status")


def _kinds(layers: Layers) -> set[_Kind]:
    kinds = set()
    for layer in layers:
        status = layer.get("status")
        if not is_absent(status):
            word = wire_fields.ascii_upper(status)
            kinds.add(_KINDS.get(word) or _KINDS.get(_one_spelling(word), _unknown))
    return kinds


def _one_spelling(word: str) -> str:
    """Exchanges differ in separators, and in CANCELLED."""
    return word.replace("_", "").replace("-", "").replace("CANCELL", "CANCEL")


def _is_fill(layers: Layers) -> bool:
    """Whether something was executed, as far as `layers` say."""
    kinds = _kinds(layers)
    return _fill in kinds or (_unknown in kinds and _reads_like_a_fill(layers))


def _reads_like_a_fill(layers: Layers) -> bool:
    """Whether a side, a quantity and a price are stated; 0 states none."""
    return all(
        any(not is_absent(layer.get(name)) and not _is_zero(str(layer[name])) for layer in layers for name in names)
        for names in wire_fields.SIGNS_OF_A_FILL
    )


def _is_empty_fill(layers: Layers) -> bool:
    """Whether `layers` are a fill of quantity 0, which executes nothing, whatever else is wrong with it."""
    try:
        return _kinds(layers) == {_fill} and _own_qty(layers, wire_fields.read_fields(layers, wire_fields.QTY)) == 0
    except InvalidInput:
        return False


def _refused(error: InvalidInput, layers: Layers) -> Refused:
    book, symbol = _doubtful(layers) if _is_fill(layers) else (None, None)
    return Refused(error.reason, error.detail, book, symbol)


def _doubtful(layers: Layers) -> tuple[str | None, str | None]:
    """The one valid book that `layers` name, or the symbol alone if they name no valid leg of it."""
    try:
        symbol = wire_fields.read_fields(layers, wire_fields.SYMBOL).get("symbol")
    except InvalidInput:
        symbol = None
    if symbol is None:
        return None, None
    try:
        values = wire_fields.read_fields(layers, wire_fields.BOOK_FIELDS)
    except InvalidInput:
        return None, symbol
    return _book(symbol, values.get("position_side")), None


def _trade_id(values: Mapping[str, Any]) -> str | None:
    """Not the id of the order, which all of its fills have."""
    trade_id: str | None = values.get("trade_id")
    return None if trade_id == values.get("order_id") else trade_id


def _intent_id(values: Mapping[str, Any]) -> str | None:
    """The intent's id. The correlation id counts only without it: beside it, it may be the producer's own."""
    return values.get("intent_id") or values.get("correlation_id")


def _missing(meaning: str) -> NoReturn:
    raise InvalidInput(RefusalReason.MISSING, f"{meaning} is missing")


def _own_price(layers: Layers, values: Mapping[str, Any]) -> Decimal:
    """The price of this fill: `price` may be the order's limit, and `avg_price` the mean of all fills of the order."""
    last: Decimal | None = values.get("last_price")
    price: Decimal | None = values.get("price")
    average: Decimal | None = values.get("avg_price")
    if last is not None:
        return last
    if price is None:
        return average or _planned_price(layers)
    if average is not None and average != price and _is_whole_order(layers):
        # It depends on the order's other fills which of the two this fill executed at.
        raise InvalidInput(RefusalReason.CONFLICTING, "avg_price contradicts price, and there is no last_price")
    return price


def _is_whole_order(layers: Layers) -> bool:
    return any(wire_fields.ascii_upper(layer.get("status")) == "FILLED" for layer in layers)


def _planned_price(layers: Layers) -> Decimal:
    price: Decimal | None = wire_fields.read_fields(layers, wire_fields.PLANNED_PRICE).get("price")
    if price is None:
        wire_fields.read_fields(layers, wire_fields.STATED_PRICE)
        _missing("price")
    return price


def _own_qty(layers: Layers, values: Mapping[str, Any]) -> Decimal | None:
    """The quantity of this fill; None if at most a notional states it."""
    qty: Decimal | None = values.get("qty")
    if qty is None:
        qty = wire_fields.read_fields(layers, wire_fields.FILLED_QTY).get("qty")
    if qty is None and not wire_fields.read_fields(layers, wire_fields.NOTIONAL):
        qty = wire_fields.read_fields(layers, wire_fields.CUMULATIVE).get("qty")
        if qty:
            detail = "the quantity of this fill is missing, the order's total is stated"
            raise InvalidInput(RefusalReason.CUMULATIVE_QUANTITY, detail)
    return qty


def _qty_of_notional(layers: Layers, price: Decimal) -> Decimal:
    """The quantity that `position_size_usd` buys at `price`."""
    notional: Decimal | None = wire_fields.read_fields(layers, wire_fields.NOTIONAL).get("notional")
    return quotient("qty", notional or _missing("qty"), price)


def _other_asset(symbol: str, asset: str | None) -> str | None:
    """`asset`, or None if it is the quote currency of the symbol, whose name then ends in it."""
    return None if asset is None or symbol.partition("_")[0].endswith(asset) else asset


def _book(symbol: str, position_side: str | None) -> str:
    return f"{symbol}:{position_side}" if position_side in LEGS else symbol
