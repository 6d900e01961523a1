"""How the paper executor executes an order on a tracked position: a fill or a rejection. Pure."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from hashlib import sha256
from typing import Final

from harvest_tasks.simulation.paper.order import Order
from kernel.positions.entry import Side
from kernel.positions.position import Position
from kernel.positions.quantities import exact, on_grid, plain

BASIS_POINTS: Final = 10_000
SOURCE: Final = "harvest_paper"


class Answer(StrEnum):
    """The outcome of an entry of the intent stream."""

    FILLED = "filled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    IGNORED = "ignored"
    """Acknowledged without a reply, on purpose."""
    REPEATED = "repeated"
    """Already answered."""
    SHADOW = "shadow"
    STOP_NOTED = "stop_noted"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class ExecutionTerms:
    """Costs of fills in basis points (slippage of the price, fee of the value), and shares (0..1) of failing orders."""

    slippage_bps: Decimal = Decimal(0)
    fee_bps: Decimal = Decimal(0)
    reject_share: float = 0.0
    ignore_share: float = 0.0
    seed: str = "0"

    @exact
    def price(self, mark: Decimal, side: Side) -> Decimal:
        """The price of an order on `side` at the mark price `mark`: never better, rounded to 12 decimals."""
        return on_grid(mark * (1 + side.sign * self.slippage_bps / BASIS_POINTS))

    @exact
    def fee(self, qty: Decimal, price: Decimal) -> Decimal:
        """The fee in quote currency, rounded half-even to 12 decimals."""
        return on_grid(qty * price * self.fee_bps / BASIS_POINTS)

    def failure(self, intent_id: str) -> Answer | None:
        """REJECTED or IGNORED for the shares of orders that should fail, else None. Depends on seed and id only."""
        drawn = sha256(f"{self.seed}|{intent_id}".encode()).digest()
        luck = int.from_bytes(drawn[:8], "big") / 2**64
        if luck < self.reject_share:
            return Answer.REJECTED
        return Answer.IGNORED if luck < self.reject_share + self.ignore_share else None


@dataclass(frozen=True, slots=True)
class Execution:
    """`entry` is the execution result to publish, None for an order without a reply."""

    answer: Answer
    entry: dict[str, str] | None = None


def execute(order: Order, position: Position | None, terms: ExecutionTerms, now_ms: int) -> Execution:
    """Execute `order` at `now_ms` (unix). `position` is the tracked position, None if it is unreadable."""
    mishap = terms.failure(order.intent_id)
    if mishap is Answer.IGNORED:
        return Execution(Answer.IGNORED)
    if now_ms >= order.expires_ms:
        return _refusal(Answer.EXPIRED, order, "expired", now_ms)
    if mishap is Answer.REJECTED:
        return _refusal(Answer.REJECTED, order, "chance", now_ms)
    if position is None:
        return _refusal(Answer.REJECTED, order, "position_unreadable", now_ms)
    objection = _objection(order, position)
    if objection is not None:
        return _refusal(Answer.REJECTED, order, objection, now_ms)
    return _fill(order, position, terms, now_ms)


def _objection(order: Order, position: Position) -> str | None:
    """Why filling `order` would not reduce the position it is meant for, or None."""
    if not position.is_open:
        return "nothing_left"
    if position.position_id != order.position_id:
        return "another_lifecycle"
    if order.side.sign == position.holding.sign:
        return "would_not_reduce"
    return None


def _fill(order: Order, position: Position, terms: ExecutionTerms, now_ms: int) -> Execution:
    if position.mark is None:
        raise AssertionError("an open position has seen a price")
    qty = min(order.qty, abs(position.holding.qty))
    price = terms.price(position.mark.price, order.side)
    figures = {"qty": plain(qty), "price": plain(price), "fee": plain(terms.fee(qty, price))}
    trade = {"side": order.side.value, "trade_id": f"paper-{order.intent_id}"}
    return Execution(Answer.FILLED, {"status": "FILLED", **_named(order, now_ms), **trade, **figures})


def _refusal(answer: Answer, order: Order, reason: str, now_ms: int) -> Execution:
    return Execution(answer, {"status": answer.name, **_named(order, now_ms), "reason": reason})


def _named(order: Order, now_ms: int) -> dict[str, str]:
    return {
        "symbol": order.symbol,
        "position_side": order.position_side,
        "intent_id": order.intent_id,
        "source": SOURCE,
        "ts": str(now_ms),
    }
