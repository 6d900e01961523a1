"""An intent: one reduce-only order, or stop move, that a book asks for. Its id is a function of its cause.

What always holds of an intent:
1. Its side opposes the position, its quantity is positive and at most the position's.
2. The same lifecycle, rungs (or stop) and attempt give the same id; anything else gives another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from enum import StrEnum
from hashlib import sha256

from kernel.positions.entry import Side
from kernel.positions.ladder_state import HARVEST_ACTION
from kernel.positions.quantities import EXACT, plain


class IntentKind(StrEnum):
    """What an intent asks for."""

    HARVEST = "HARVEST"
    """Close `qty`, reduce-only."""
    MOVE_SL_BE = "MOVE_SL_BE"
    """Move the protective stop to break-even."""
    TRAIL_UPDATE = "TRAIL_UPDATE"
    """Move the protective stop after the peak."""


@dataclass(frozen=True, slots=True)
class Intent:
    """What is asked for: `side` and `qty` (> 0, base currency), and for a move of the stop its `stop_price`.

    `mark`, `entry_price` (the mean), `stop_price` and `unrealized_pnl` are in quote currency. `action` names the rungs
    (or the stop) and the attempt; with the lifecycle (`position_id`) it identifies the intent. `time_ms` is the event
    time (unix ms) of the mark that made the intent due.
    """

    intent_id: str
    position_id: str
    kind: IntentKind
    action: str
    book: str
    side: Side
    qty: Decimal
    rungs: tuple[str, ...]
    reason: str
    mark: Decimal
    time_ms: int
    entry_price: Decimal
    unrealized_pnl: Decimal
    stop_price: Decimal | None = None

    @property
    def symbol(self) -> str:
        """The book's symbol, such as `BTCUSDT`."""
        return self.book.partition(":")[0]

    @property
    def position_side(self) -> str:
        """LONG or SHORT for a hedge-mode book, else BOTH."""
        return self.book.partition(":")[2] or "BOTH"


def intent_id(position_id: str, action: str) -> str:
    """35 characters of `[a-z0-9-]`, usable as an exchange's client order id."""
    return "hv-" + sha256(f"{position_id}|{action}".encode()).hexdigest()[:32]


def harvest_action(rungs: Sequence[str], firing: int) -> str:
    """The action of a harvest: `partial:0.5+1:2` is the second one of the rungs 0.5 and 1."""
    return f"{HARVEST_ACTION}{'+'.join(rungs)}:{firing}"


def part_of(action: str, k: int, n: int) -> str:
    """The action of part `k` (from 1) of `n`, such as `partial:0.5:1:2of3`; unchanged if there is one part."""
    return action if n == 1 else f"{action}:{k}of{n}"


def stop_action(kind: IntentKind, stop_price: Decimal) -> str:
    """The action of a move of the stop: `sl_be`, or `trail:` and the price."""
    return "sl_be" if kind is IntentKind.MOVE_SL_BE else f"trail:{plain(stop_price)}"


def resize_action(stop_price: Decimal, base_qty: Decimal, qty: Decimal) -> str:
    """The action of a stop at the same price for another `qty`. `base_qty` grows on each add, so none occurs twice."""
    return f"resize:{plain(stop_price)}:{plain(base_qty)}:{plain(qty)}"


def reason_text(r: Decimal, level: str) -> str:
    """The reason of an intent, such as `R=0.52 >= 0.5`: R is cut, never rounded up, to two decimals or the level's."""
    decimals = max(2, len(level.partition(".")[2]))
    return f"R={r.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_DOWN, context=EXACT)} >= {level}"
