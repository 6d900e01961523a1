"""Mark prices that other services keep in Redis: `quantum:ticker:<SYMBOL>`, then `quantum:market:<SYMBOL>`."""

from collections.abc import Sequence
from typing import Any

from harvest_tasks.server import keys
from harvest_tasks.server.client import Client, Command, paced_round_trips
from harvest_tasks.wire.numbers import positive_number
from harvest_tasks.wire.refusal import InvalidInput
from harvest_tasks.wire.timestamps import TIME_NAMES, unix_ms
from kernel.positions.entry import Mark
from kernel.positions.mark import FUTURE_TOLERANCE_MS


def read_marks(client: Client, symbols: Sequence[str], now_ms: int) -> dict[str, Mark | str]:
    """The newest usable mark of each symbol at `now_ms` (unix ms), or the reason why there is none.

    A mark from the future is used only when there is no other. The keys are read in pieces with pauses, so that fills
    do not wait.
    """
    commands: list[Command] = []
    for symbol in symbols:
        commands += (
            ("HMGET", keys.ticker(symbol), "markPrice", *TIME_NAMES),
            ("HMGET", keys.market(symbol), "price", *TIME_NAMES),
        )
    replies = paced_round_trips(client, commands)
    return {symbol: _newest(replies[i * 2 : i * 2 + 2], now_ms) for i, symbol in enumerate(symbols)}


def _newest(replies: Sequence[Any], now_ms: int) -> Mark | str:
    found = [_mark(reply, now_ms) for reply in replies]
    usable = [mark for mark in found if isinstance(mark, Mark)]
    if usable:
        # `max` keeps the first of equals: the ticker wins a tie.
        return max(usable, key=lambda mark: (mark.time_ms <= now_ms + FUTURE_TOLERANCE_MS, mark.time_ms))
    reasons = [reason for reason in found if isinstance(reason, str) and reason != "missing"]
    return reasons[0] if reasons else "missing"


def _mark(reply: Any, now_ms: int) -> Mark | str:
    if isinstance(reply, Exception):
        return "wrong_type"
    price, *times = reply
    if not price:
        return "missing"
    stated = next(filter(None, times), None)
    if stated is None:
        # The age of a price without a time is not known, so it cannot count as fresh.
        return "no_time"
    try:
        return Mark("", unix_ms("ts", stated), positive_number("price", price), now_ms)
    except InvalidInput as error:
        return error.reason.value
