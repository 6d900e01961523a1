"""Tracked books as an operator sees them: read in one round trip, nothing written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from harvest_tasks.fills.inbox import UnreadableBook
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.numbers import stop_distance
from harvest_tasks.wire.position import UnreadablePosition, read_position
from kernel.positions.holding import RiskTerms
from kernel.positions.intent import Intent
from kernel.positions.position import Position
from kernel.positions.quantities import ZERO, exact
from kernel.positions.r_multiple import net_r, r_multiple, shown_r
from kernel.positions.rules import Rules


@dataclass(frozen=True, slots=True)
class Book:
    """A book's position, and how many entries wait in its inbox to be applied."""

    position: Position
    waiting: int


@dataclass(frozen=True, slots=True)
class PositionRow:
    """A position in numbers: quantities unsigned and in base currency, prices and money in quote currency, times in
    unix ms. `side` is LONG, SHORT or FLAT; `r` (of the mark) and `net_r` (realized, after fees and funding) are cut to
    6 decimals, never rounded up. Of a flat book, money and `net_r` are those of its last lifecycle.
    """

    book: str
    position_id: str
    side: str
    qty: Decimal
    base_qty: Decimal
    entry: Decimal
    mark: Decimal | None
    mark_ms: int | None
    mark_age_ms: int | None
    r: Decimal
    risk_per_unit: Decimal
    unrealized_pnl: Decimal
    realized_pnl: Decimal
    banked_pnl: Decimal
    fees: Decimal
    funding: Decimal
    other_fees: Mapping[str, Decimal]
    net_r: Decimal
    origin: str
    stop: Decimal | None
    break_even: bool
    rungs_spent: Sequence[str]
    rungs_armed: Sequence[str]
    reserved: Decimal
    frozen: str
    opened_ms: int
    waiting: int


def read_books(client: Client, names: Sequence[str]) -> list[Book | UnreadableBook]:
    """The books `names`, in order; a book without a record is flat."""
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.hgetall(keys.position(name))
            pipe.xlen(keys.inbox(name))
        replies = pipe.execute(raise_on_error=False)
    return [_book(name, *replies[i * 2 : i * 2 + 2]) for i, name in enumerate(names)]


def is_tracked(client: Client, name: str) -> bool:
    """Whether the book ever received an entry."""
    return bool(client.sismember(keys.BOOKS, name)) or bool(client.exists(keys.position(name)))


def _book(name: str, fields: Any, waiting: Any) -> Book | UnreadableBook:
    for reply in (fields, waiting):
        if isinstance(reply, Exception):
            return UnreadableBook(name, str(reply))
    try:
        return Book(read_position(name, fields), waiting)
    except UnreadablePosition as error:
        return UnreadableBook(name, str(error))


@exact
def position_row(book: Book, rules: Rules, now_ms: int) -> PositionRow:
    """The row of `book` at `now_ms` (unix ms, the server's clock)."""
    position = book.position
    holding, mark, state = position.holding, position.mark, position.ladder_state
    return PositionRow(
        book=position.book,
        position_id=position.position_id,
        side=("FLAT", "LONG", "SHORT")[holding.sign],
        qty=abs(holding.qty),
        base_qty=holding.base_qty,
        entry=holding.avg_entry,
        mark=mark.price if mark else None,
        mark_ms=mark.time_ms if mark else None,
        mark_age_ms=now_ms - mark.time_ms if mark else None,
        r=shown_r(r_multiple(position, rules)),
        risk_per_unit=holding.risk_per_unit,
        unrealized_pnl=holding.unrealized_pnl(mark.price) if mark else ZERO,
        realized_pnl=holding.realized_pnl,
        banked_pnl=position.banked_pnl,
        fees=holding.fees,
        funding=holding.funding,
        other_fees=dict(holding.other_fees),
        net_r=shown_r(net_r(holding)),
        origin=holding.origin.value,
        stop=state.stop,
        break_even=state.break_even,
        rungs_spent=state.spent,
        rungs_armed=tuple(rung.name for rung in rules.ladder.rungs if rung.name not in state.spent),
        reserved=state.reserved,
        frozen=position.frozen,
        opened_ms=holding.opened_ms,
        waiting=book.waiting,
    )


def risk_terms(client: Client, settings: Settings, symbol: str) -> RiskTerms:
    """What the risk of a position of `symbol` would come from, if it opened now without a stop."""
    text = client.hget(settings.riskproposal_prefix + symbol, "stop_dist_pct")
    return RiskTerms(stop_distance(text), settings.fallback_stop_pct)


def already_out(client: Client, intents: Sequence[Intent]) -> frozenset[str]:
    """The ids of those `intents` whose dedup key says that they were published."""
    with client.pipeline(transaction=False) as pipe:
        for intent in intents:
            pipe.exists(keys.dedup(intent.position_id, intent.action))
        found = pipe.execute()
    return frozenset(intent.intent_id for intent, there in zip(intents, found, strict=True) if there)
