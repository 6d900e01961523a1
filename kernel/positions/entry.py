"""Entries, from which a position is folded: fills, marks, ended orders, funding, adoptions, freezes and releases.

An entry is one immutable fact. Its `source_id` is the id of its stream entry (`<unix ms>-<seq>`), which orders the
entries of a book; it is empty for an entry that did not come from the stream. `time_ms` is the event's own time in unix
milliseconds. The parser has checked the numbers: they are finite, on the grid of 12 decimals and below 1e15.
"""

from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from kernel.positions.quantities import ZERO


class Side(StrEnum):
    """The side of an order or a fill."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """+1 for BUY, -1 for SELL."""
        return 1 if self is _BUY else -1

    @property
    def opposite(self) -> "Side":
        """The other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


# Looking up a member of an enumeration takes as long as a multiplication.
_BUY = Side.BUY


class OrderEndStatus(StrEnum):
    """How the order of an intent ended before it was filled in full."""

    REJECTED = "REJECTED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"


class Fill(NamedTuple):
    """One execution: `qty` of this fill alone (base currency, > 0) at `price` (quote currency, > 0).

    `trade_id` identifies it within its book; without one, `source_id` does. `intent_id` names the intent it executes.
    `stop_loss` is a price, `atr` a price difference. `fee` is negative for a rebate; it is in `fee_asset`, or in quote
    currency when that is None.
    """

    source_id: str
    time_ms: int
    side: Side
    qty: Decimal
    price: Decimal
    trade_id: str | None = None
    intent_id: str | None = None
    stop_loss: Decimal | None = None
    atr: Decimal | None = None
    fee: Decimal | None = None
    fee_asset: str | None = None

    @property
    def quote_fee(self) -> Decimal:
        """The fee if it is in quote currency, else 0."""
        return ZERO if self.fee is None or self.fee_asset is not None else self.fee


class Mark(NamedTuple):
    """A mark price (quote currency, > 0). `read_ms`: when it was read from a key (unix ms); None from the stream."""

    source_id: str
    time_ms: int
    price: Decimal
    read_ms: int | None = None


class OrderEnded(NamedTuple):
    """The order of the intent `intent_id` ended: it will not be filled any further."""

    source_id: str
    time_ms: int
    status: OrderEndStatus
    intent_id: str


class Funding(NamedTuple):
    """A funding payment: received when `amount` > 0, paid when < 0; in `asset`, or in quote currency when None."""

    source_id: str
    time_ms: int
    amount: Decimal
    asset: str | None = None


class Adopt(NamedTuple):
    """The exchange snapshot replaces the tracked position, if that still holds `tracked_qty`.

    Both quantities are signed (long > 0, base currency); `qty`, `entry` (the mean) and `stop` are the snapshot's, the
    last two prices (quote currency).
    """

    source_id: str
    time_ms: int
    tracked_qty: Decimal
    qty: Decimal
    entry: Decimal
    stop: Decimal | None = None


class Overdue(NamedTuple):
    """Intents published at or before `placed_before_ms` (unix ms) that have no reply yet are overdue."""

    source_id: str
    time_ms: int
    placed_before_ms: int


class Freeze(NamedTuple):
    """The position may be wrong from here on, for this `reason`: track it, publish nothing."""

    source_id: str
    time_ms: int
    reason: str


class Release(NamedTuple):
    """An operator has checked the position: publish again."""

    source_id: str
    time_ms: int


Entry = Fill | Mark | OrderEnded | Funding | Adopt | Overdue | Freeze | Release
