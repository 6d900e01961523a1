"""What does an entry of the execution stream mean? `parse` makes a kernel entry of it, refuses it, or ignores it.

Its result is complete and exact: no other module checks it again.
"""

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
    NO_INTENT_ID = "no_intent_id"
    NO_SYMBOL = "no_symbol"


class Routed(NamedTuple):
    """`entry` is for `book`, or for every book of `symbol` if `book` is None."""

    symbol: str
    book: str | None
    entry: Fill | Mark | OrderEnded | Funding


@dataclass(frozen=True, slots=True)
class Refused:
    """The entry cannot be used. If it was a fill for `book`, that book's position may be wrong from here on."""

    reason: RefusalReason
    detail: str
    book: str | None


@dataclass(frozen=True, slots=True)
class Ignored:
    """The entry says nothing about a position."""

    reason: IgnoredReason


LEGS: Final = ("LONG", "SHORT")

Parsed: TypeAlias = Routed | Refused | Ignored
_Kind: TypeAlias = Callable[[str, Layers], Routed | Ignored]


def parse(entry_id: str, fields: Mapping[str, str]) -> Parsed:
    """Parse the entry `entry_id` (`<unix ms>-<seq>`) of the execution stream. No text in `fields` makes it raise."""
    try:
        layers = open_layers(fields)
    except InvalidInput as error:
        return Refused(error.reason, error.detail, _book_of_fill(glimpse_layers(fields)))
    try:
        return _kind(layers)(entry_id, layers)
    except InvalidInput as error:
        return Refused(error.reason, error.detail, _book_of_fill(layers))


def _fill(entry_id: str, layers: Layers) -> Routed:
    values = wire_fields.read_fields(layers, wire_fields.FILL)
    symbol = values.get("symbol") or _missing("symbol")
    side = values.get("side") or _missing("side")
    price = values.get("price") or _planned_price(layers)
    qty = values.get("qty") or _qty_of_notional(layers, price)
    fill = Fill(
        entry_id,
        event_time(entry_id, layers),
        side,
        qty,
        price,
        values.get("trade_id"),
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


def _unknown(_entry_id: str, _layers: Layers) -> Ignored:
    return Ignored(IgnoredReason.UNKNOWN_STATUS)


_KINDS: Mapping[str, _Kind] = {
    "FILLED": _fill,
    "PARTIAL": _fill,
    "PARTIALLY_FILLED": _fill,
    "PRICE_UPDATE": _mark,
    "FUNDING": _funding,
    **{status.value: partial(_order_ended, status) for status in OrderEndStatus},
    "CANCELLED": partial(_order_ended, OrderEndStatus.CANCELED),
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
            kinds.add(_KINDS.get(wire_fields.ascii_upper(status), _unknown))
    return kinds


def _book_of_fill(layers: Layers) -> str | None:
    """The one valid book that `layers` name, if one of them says that the entry is a fill; else None."""
    if _fill not in _kinds(layers):
        return None
    try:
        values = wire_fields.read_fields(layers, wire_fields.BOOK_FIELDS)
    except InvalidInput:
        return None
    return _book(values["symbol"], values.get("position_side")) if "symbol" in values else None


def _intent_id(values: Mapping[str, Any]) -> str | None:
    """The intent's id. The correlation id counts only without it: beside it, it may be the producer's own."""
    return values.get("intent_id") or values.get("correlation_id")


def _missing(meaning: str) -> NoReturn:
    raise InvalidInput(RefusalReason.MISSING, f"{meaning} is missing")


def _planned_price(layers: Layers) -> Decimal:
    price: Decimal | None = wire_fields.read_fields(layers, wire_fields.PLANNED_PRICE).get("price")
    return price or _missing("price")


def _qty_of_notional(layers: Layers, price: Decimal) -> Decimal:
    """The quantity that `position_size_usd` buys at `price`."""
    notional: Decimal | None = wire_fields.read_fields(layers, wire_fields.NOTIONAL).get("notional")
    return quotient("qty", notional or _missing("qty"), price)


def _other_asset(symbol: str, asset: str | None) -> str | None:
    """`asset`, or None if it is the quote currency of the symbol, whose name then ends in it."""
    return None if asset is None or symbol.partition("_")[0].endswith(asset) else asset


def _book(symbol: str, position_side: str | None) -> str:
    return f"{symbol}:{position_side}" if position_side in LEGS else symbol
