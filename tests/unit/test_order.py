"""An intent as an executor reads it."""

import json
from decimal import Decimal
from typing import Any

import pytest

from harvest_tasks.simulation.paper.order import BadOrder, IntentType, parse_order
from kernel.positions.entry import Side

PAYLOAD: dict[str, Any] = {
    "intent_id": "hv-1",
    "intent_type": "REDUCE_ONLY",
    "symbol": "BTCUSDT",
    "side": "SELL",
    "action": "SELL",
    "qty": 0.25,
    "quantity": 0.25,
    "reason": "R=0.52 >= 0.5",
    "r_level": 0.5,
    "rungs": [0.5],
    "position_id": "BTCUSDT:1",
    "position_side": "BOTH",
    "reduce_only": True,
    "reduceOnly": True,
    "dry_run": False,
    "mark_price": 105.2,
    "confidence": 1.0,
    "source": "harvest_brain",
    "correlation_id": "hv-1",
    "timestamp": "2026-01-23T14:30:00.123Z",
    "expires_at": "2026-01-23T14:45:00.123Z",
}


def entry(**changed: Any) -> dict[str, str]:
    """An entry of the intent stream; None leaves a name out of its payload."""
    payload = {name: value for name, value in {**PAYLOAD, **changed}.items() if value is not None}
    flat = {name: str(payload.get(name, "")) for name in ("intent_id", "symbol", "intent_type")}
    return {"payload": json.dumps(payload), **flat}


def test_an_intent_reads_as_an_order() -> None:
    order = parse_order(entry())
    assert (order.intent_id, order.intent_type, order.book) == ("hv-1", IntentType.REDUCE_ONLY, "BTCUSDT")
    assert (order.side, order.qty, order.dry_run) == (Side.SELL, Decimal("0.25"), False)
    assert (order.position_id, order.expires_ms, order.stop_price) == ("BTCUSDT:1", 1_769_179_500_123, None)


def test_the_book_of_a_hedge_mode_intent_names_its_leg() -> None:
    assert parse_order(entry(position_side="SHORT", position_id="BTCUSDT:SHORT:4")).book == "BTCUSDT:SHORT"


def test_a_stop_move_carries_its_price() -> None:
    order = parse_order(entry(intent_type="TRAIL_UPDATE", stop_price=101.5))
    assert order.intent_type.moves_stop
    assert order.stop_price == Decimal("101.5")


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"intent_type": "FULL_CLOSE"}, "is not one of REDUCE_ONLY"),
        ({"intent_type": 7}, "is not one of REDUCE_ONLY"),
        ({"reduce_only": False}, "contradicts another reduce_only"),
        ({"reduce_only": False, "reduceOnly": False}, "never opens a position"),
        ({"reduce_only": "true", "reduceOnly": None}, "neither true nor false"),
        ({"reduce_only": None, "reduceOnly": None}, "missing: reduce_only"),
        ({"dry_run": None}, "missing: dry_run"),
        ({"dry_run": 0}, "neither true nor false"),
        ({"side": None, "action": None}, "missing: side"),
        ({"side": "BUY"}, "contradicts another side"),
        ({"quantity": 0.5}, "contradicts another qty"),
        ({"qty": -1, "quantity": -1}, "signed"),
        ({"qty": 0, "quantity": 0}, "not_positive"),
        ({"intent_id": "x" * 37, "correlation_id": None}, "over 36 characters"),
        ({"correlation_id": "hv-2"}, "contradicts another intent_id"),
        ({"symbol": "btcusdt"}, "bad_symbol"),
        ({"position_id": None, "expires_at": None}, "missing: expires_ms, position_id"),
        ({"expires_at": "soon"}, "not_a_time"),
    ],
)
def test_what_an_executor_may_not_act_on_is_refused_by_name(changed: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadOrder, match=complaint):
        parse_order(entry(**changed))


@pytest.mark.parametrize(
    "fields", [{}, {"payload": "{"}, {"payload": "[]"}, {"payload": '{"qty": NaN}'}, {"payload": "x" * 5000}]
)
def test_an_entry_that_is_not_an_intent_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(BadOrder):
        parse_order(fields)


def test_a_flat_field_that_contradicts_the_payload_is_refused() -> None:
    with pytest.raises(BadOrder, match="contradicts another symbol"):
        parse_order({**entry(), "symbol": "ETHUSDT"})
