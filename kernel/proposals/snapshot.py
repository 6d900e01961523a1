"""A position at one time, as the proposal formulas see it."""

from dataclasses import dataclass
from enum import StrEnum

from kernel.errors import InvalidSide
from kernel.proposals import bounds

_PRICES = ("entry_price", "current_price", "peak_price", "trough_price")
_STOPS = ("current_sl", "current_tp")


class PositionSide(StrEnum):
    """The side of a position."""

    LONG = "LONG"
    SHORT = "SHORT"

    @property
    def sign(self) -> int:
        """+1 for LONG, -1 for SHORT."""
        return 1 if self is PositionSide.LONG else -1


@dataclass(frozen=True, slots=True)
class PositionSnapshot:
    """An open position of `qty` units (base currency). Prices are in quote currency.

    `peak_price` and `trough_price` are the extremes since the open, `age_sec` the seconds since then. `unrealized_pnl`
    is the profit of all `qty` units (quote currency), before costs. `current_sl` and `current_tp` are the prices of the
    stop and the take-profit, None without one. Raises `InvalidSide` or `InvalidNumber`.
    """

    symbol: str
    side: PositionSide
    entry_price: float
    current_price: float
    peak_price: float
    trough_price: float
    age_sec: float
    unrealized_pnl: float
    current_sl: float | None = None
    current_tp: float | None = None
    qty: float = 1.0

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "side", PositionSide(self.side))
        except ValueError:
            raise InvalidSide(f"side must be LONG or SHORT, not {self.side!r}") from None
        bounds.PRICE.check(self, _PRICES)
        bounds.PRICE.check_given(self, _STOPS)
        bounds.QUANTITY.check(self, ("qty",))
        bounds.NON_NEGATIVE.check(self, ("age_sec",))
        bounds.MONEY.check(self, ("unrealized_pnl",))
