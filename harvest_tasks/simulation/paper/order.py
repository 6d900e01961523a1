"""An intent as an executor reads it: an entry of the intent stream, fully validated before it is executed."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from harvest_tasks.wire import fields as wire_fields
from harvest_tasks.wire.numbers import positive_number
from harvest_tasks.wire.payload import open_layers
from harvest_tasks.wire.refusal import InvalidInput, shown_input
from harvest_tasks.wire.timestamps import unix_ms
from kernel.positions.entry import Side

LONGEST_ID: Final = 36
"""Most characters that exchanges allow in a client order id."""


class BadOrder(ValueError):
    """An entry that is not an intent, or one that an executor must not execute."""


class IntentType(StrEnum):
    REDUCE_ONLY = "REDUCE_ONLY"
    HARVEST_PARTIAL = "HARVEST_PARTIAL"
    MOVE_SL_BE = "MOVE_SL_BE"
    TRAIL_UPDATE = "TRAIL_UPDATE"

    @property
    def moves_stop(self) -> bool:
        return self in (IntentType.MOVE_SL_BE, IntentType.TRAIL_UPDATE)


@dataclass(frozen=True, slots=True)
class Order:
    """A request to reduce the lifecycle `position_id` of `book` by `qty` (> 0, base currency) until `expires_ms`.

    A stop move asks for `stop_price` instead. A `dry_run` must not be executed. Times are in unix ms.
    """

    intent_id: str
    intent_type: IntentType
    symbol: str
    position_side: str
    position_id: str
    side: Side
    qty: Decimal
    dry_run: bool
    expires_ms: int
    stop_price: Decimal | None

    @property
    def book(self) -> str:
        return self.symbol if self.position_side == "BOTH" else f"{self.symbol}:{self.position_side}"


def parse_order(fields: Mapping[str, str]) -> Order:
    """Parse the intent in `fields`.

    Raises `BadOrder` if a field is missing or contradictory, or if the order could open a position.
    """
    try:
        values = wire_fields.read_fields(open_layers(fields), _INTENT)
    except InvalidInput as flaw:
        raise BadOrder(f"{flaw.reason}: {flaw.detail}") from None
    if missing := _REQUIRED - set(values):
        raise BadOrder(f"missing: {', '.join(sorted(missing))}")
    if not values.pop("reduce_only"):
        raise BadOrder("reduce_only is false: this executor never opens a position")
    return Order(**{"stop_price": None, **values})


def _intent_id(name: str, value: object) -> str:
    text: str = _identifier(name, value)
    if len(text) > LONGEST_ID:
        raise BadOrder(f"{name} {shown_input(value)} is over {LONGEST_ID} characters")
    return text


def _intent_type(name: str, value: object) -> IntentType:
    if type(value) is str and value in set(IntentType):
        return IntentType(value)
    raise BadOrder(f"{name} {shown_input(value)} is not one of {', '.join(IntentType)}")


def _flag(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise BadOrder(f"{name} {shown_input(value)} is neither true nor false")


_identifier: Final = wire_fields.ORDER_ENDED["intent_id"][1]
_FILL_NAMES: Final = ("symbol", "position_side", "side", "action")
_INTENT: Final[dict[str, tuple[str, Any]]] = {
    **{name: wire_fields.FILL[name] for name in _FILL_NAMES},
    "qty": ("qty", positive_number),
    "quantity": ("qty", positive_number),
    "intent_id": ("intent_id", _intent_id),
    "correlation_id": ("intent_id", _intent_id),
    "intent_type": ("intent_type", _intent_type),
    "position_id": ("position_id", _identifier),
    "reduce_only": ("reduce_only", _flag),
    "reduceOnly": ("reduce_only", _flag),
    "dry_run": ("dry_run", _flag),
    "expires_at": ("expires_ms", unix_ms),
    "stop_price": ("stop_price", positive_number),
}
_REQUIRED: Final = {meaning for meaning, _ in _INTENT.values()} - {"stop_price"}
