"""NautilusTrader's position, fed the same fills. Runs by itself, in an environment that has `nautilus_trader`.

Reads JSON from stdin: {"fills": [[side, qty, price, fee], ...], "repeat": n}. Prints JSON: {"version": ..., "seconds":
[...], "qty": ..., "avg": ..., "realized": ...}. The events are made beforehand: only `Position(...)` and its `apply`
are timed, by processor time.
"""

import json
import sys
from time import process_time


def main() -> None:
    import nautilus_trader

    given = json.load(sys.stdin)
    instrument, events = _events(given["fills"])
    seconds = []
    for _ in range(given["repeat"]):
        took, position = _fold(instrument, events)
        seconds.append(took)
    result = {
        "version": nautilus_trader.__version__,
        "seconds": seconds,
        "qty": float(position.signed_qty),
        "avg": float(position.avg_px_open),
        "realized": position.realized_pnl.as_double(),
    }
    print(json.dumps(result))


def _fold(instrument, events):  # type: ignore[no-untyped-def]  # of another environment
    from nautilus_trader.model.position import Position

    started = process_time()
    position = Position(instrument, events[0])
    for event in events[1:]:
        position.apply(event)
    return process_time() - started, position


def _events(fills):  # type: ignore[no-untyped-def]  # of another environment
    """The instrument and one `OrderFilled` for each fill."""
    from nautilus_trader.core.uuid import UUID4
    from nautilus_trader.model.enums import LiquiditySide, OrderSide, OrderType
    from nautilus_trader.model.events import OrderFilled
    from nautilus_trader.model.identifiers import (
        AccountId,
        ClientOrderId,
        PositionId,
        StrategyId,
        TradeId,
        TraderId,
        VenueOrderId,
    )
    from nautilus_trader.model.objects import Money, Price, Quantity
    from nautilus_trader.test_kit.providers import TestInstrumentProvider

    instrument = TestInstrumentProvider.btcusdt_perp_binance()
    usdt = instrument.quote_currency
    ids = TraderId("BENCH-001"), StrategyId("S-001"), instrument.id
    account, position = AccountId("BINANCE-001"), PositionId("P-1")
    sides = {"BUY": OrderSide.BUY, "SELL": OrderSide.SELL}
    return instrument, [
        OrderFilled(
            *ids,
            ClientOrderId(f"O-{n // 5}"),
            VenueOrderId(f"V-{n // 5}"),
            account,
            TradeId(str(n)),
            position,
            sides[side],
            OrderType.LIMIT,
            Quantity.from_str(qty),
            Price.from_str(price),
            usdt,
            Money(float(fee), usdt),
            LiquiditySide.TAKER,
            UUID4(),
            n,
            n,
        )
        for n, (side, qty, price, fee) in enumerate(fills)
    ]


if __name__ == "__main__":
    main()
