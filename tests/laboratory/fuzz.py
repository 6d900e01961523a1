"""Bytes made up by a coverage-guided fuzzer, as entries through the door and into a book; a process of its own.

    python -m laboratory.fuzz CORPUS [libFuzzer's flags]

It ends at the first entry that raises, that takes too long or that leaves something unbounded.
"""

import sys
from collections.abc import Iterator, Mapping
from time import thread_time
from typing import Final

NAMES: Final = (
    *("symbol", "status", "side", "action", "qty", "quantity", "filled_qty", "price", "avg_price", "entry_price"),
    *("last_price", "fill_price", "filled", "cum_qty", "executedQty", "z", "stopLoss", "sl"),
    *("position_size_usd", "position_side", "trade_id", "fill_id", "order_id", "intent_id", "correlation_id"),
    *("stop_loss", "atr", "fee", "fee_asset", "amount", "asset", "ts", "timestamp", "payload", "data", "signal"),
)
"""A field whose name is one byte, as its place in here."""
TOKENS: Final = (
    *("FILLED", "PARTIAL", "PRICE_UPDATE", "FUNDING", "REJECTED", "BUY", "SELL", "LONG", "SHORT", "BTCUSDT"),
    *("NEW", "CALCULATED", "EXPIRED_IN_MATCH", "NET", "SIDEWAYS", "None"),
    *("1e-12", "1e15", "-1", "NaN", "Infinity", "null", "true", "1700000000", "2023-11-14T22:13:20Z"),
    *('{"', '":', '"}', '{"symbol":"BTCUSDT","status":"FILLED"', "[[[[[", "\\\\ud800", "USDT", "BNB"),
)
ENTRY_ID: Final = "1700000000123-0"
SLOWEST_SEC: Final = 0.5
"""CPU of one entry; the fuzzer's instruments make it several times slower."""


def fields_of(data: bytes) -> dict[str, str]:
    """The entry that some bytes stand for: names and values in turn, each ended by a zero."""
    parts = data.split(b"\x00")
    return {_name(name): _text(value) for name, value in zip(parts[::2], parts[1::2], strict=False)}


def bytes_of(fields: Mapping[str, str]) -> bytes:
    """The same way back, of fields without a zero."""
    return b"\x00".join(_parts(fields))


def _parts(fields: Mapping[str, str]) -> Iterator[bytes]:
    for name, value in fields.items():
        yield bytes([NAMES.index(name) + 1]) if name in NAMES else name.encode("utf-8", "surrogateescape")
        yield value.encode("utf-8", "surrogateescape")


def _name(name: bytes) -> str:
    return NAMES[name[0] - 1] if len(name) == 1 and 0 < name[0] <= len(NAMES) else _text(name)


def _text(raw: bytes) -> str:
    """As the client decodes what comes from the server."""
    return raw.decode("utf-8", "surrogateescape")


def main() -> None:
    import atheris

    with atheris.instrument_imports(include=["harvest_tasks", "kernel"]):
        from laboratory import fuzz_target

    def once(data: bytes) -> None:
        began = thread_time()
        fuzz_target.through_the_door(ENTRY_ID, fields_of(data))
        if thread_time() - began > SLOWEST_SEC:
            raise AssertionError(f"it took {thread_time() - began:.2f} s")

    atheris.Setup(sys.argv, once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
