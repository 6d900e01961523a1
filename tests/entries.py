"""Raw entries of the input stream as producers write them, and the kernel entries that the parser makes of them."""

from decimal import Decimal

from kernel.positions.entry import Fill, Mark, OrderEnded, OrderEndStatus, Side

ENTRY_ID = "1700000000123-0"
TIME_MS = 1_700_000_000_123

BUY = {"symbol": "BTCUSDT", "status": "FILLED", "side": "BUY", "qty": "1", "price": "100", "stop_loss": "90"}
"""The raw fill with which most stories begin: a long of 1 from 100 whose R is 10."""

Number = Decimal | int | str


def price(value: str, symbol: str = "BTCUSDT", **fields: str) -> dict[str, str]:
    """A raw mark price."""
    return {"symbol": symbol, "status": "PRICE_UPDATE", "price": value, **fields}


def fill_fields(**overrides: str | None) -> dict[str, str]:
    """The flat fields of a fill; None leaves a field out."""
    return _overridden(
        {"symbol": "BTCUSDT", "status": "FILLED", "side": "BUY", "qty": "0.5", "price": "60000"}, overrides
    )


def mark_fields(**overrides: str | None) -> dict[str, str]:
    """The flat fields of a mark price."""
    return _overridden({"symbol": "BTCUSDT", "status": "PRICE_UPDATE", "price": "60000"}, overrides)


def outcome_fields(**overrides: str | None) -> dict[str, str]:
    """The flat fields of an intent's end."""
    return _overridden({"symbol": "BTCUSDT", "status": "REJECTED", "intent_id": "h-1"}, overrides)


def fill(
    side: Side = Side.BUY,
    qty: Number = "0.5",
    price: Number = 60_000,
    *,
    source_id: str = ENTRY_ID,
    time_ms: int = TIME_MS,
    trade_id: str | None = None,
    intent_id: str | None = None,
    stop_loss: Number | None = None,
    atr: Number | None = None,
    fee: Number | None = None,
) -> Fill:
    return Fill(
        source_id,
        time_ms,
        side,
        Decimal(qty),
        Decimal(price),
        trade_id,
        intent_id,
        _decimal(stop_loss),
        _decimal(atr),
        _decimal(fee),
    )


def mark(price: Number = 60_000, *, source_id: str = ENTRY_ID, time_ms: int = TIME_MS) -> Mark:
    return Mark(source_id, time_ms, Decimal(price))


def outcome(
    status: OrderEndStatus = OrderEndStatus.REJECTED,
    intent_id: str = "h-1",
    *,
    source_id: str = ENTRY_ID,
    time_ms: int = TIME_MS,
) -> OrderEnded:
    return OrderEnded(source_id, time_ms, status, intent_id)


def _overridden(fields: dict[str, str], overrides: dict[str, str | None]) -> dict[str, str]:
    merged = {**fields, **overrides}
    return {name: value for name, value in merged.items() if value is not None}


def _decimal(value: Number | None) -> Decimal | None:
    return None if value is None else Decimal(value)
