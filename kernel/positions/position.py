"""A book's position as a fold over its entries: `apply(position, entry) -> position`, and nothing else writes one.

What always holds of a position:
1. Folding entries in one go or one by one gives the same position.
2. An entry that was applied before changes nothing, and the same object comes back.
3. Each open and each flip starts a new lifecycle: the epoch counts up, and holding and state start afresh.
4. Reservations never sum to more than the quantity held.
5. No quantity or price is rounded except the mean entry and a risk taken from a ratio.
6. A hedge-mode leg never crosses zero: an exit takes at most what the leg holds.
"""

from decimal import Decimal, getcontext, localcontext
from typing import NamedTuple

from kernel.positions import holding as holdings
from kernel.positions.entry import Adopt, Entry, Fill, Freeze, Funding, Mark, OrderEnded, Overdue, Release
from kernel.positions.holding import DEFAULT_TERMS, Holding, RiskTerms
from kernel.positions.ladder_state import LadderState
from kernel.positions.mark import MarkState
from kernel.positions.quantities import DIGITS, EXACT, ZERO

EntryId = tuple[int, int]


class Position(NamedTuple):
    """A tracked book.

    `banked_pnl` is the profit, net of fees, of all earlier lifecycles (quote currency); `frozen` says why the book
    publishes nothing, or is empty; `overrides` are the rules of the symbol's own that were journaled last; `applied` is
    the id of the newest source entry folded in.
    """

    book: str
    epoch: int = 0
    holding: Holding = Holding()
    mark: MarkState | None = None
    ladder_state: LadderState = LadderState()
    banked_pnl: Decimal = ZERO
    frozen: str = ""
    applied: EntryId = (0, 0)
    overrides: str = ""

    @property
    def symbol(self) -> str:
        return self.book.partition(":")[0]

    @property
    def position_side(self) -> str:
        """LONG or SHORT for a hedge-mode book, else BOTH."""
        return self.book.partition(":")[2] or "BOTH"

    @property
    def leg(self) -> int:
        """The only sign a hedge-mode book's quantity can have (+1 LONG, -1 SHORT); 0 in one-way mode."""
        return _LEGS.get(self.book.partition(":")[2], 0)

    @property
    def position_id(self) -> str:
        """Identity of the current lifecycle."""
        return f"{self.book}:{self.epoch}"

    @property
    def is_open(self) -> bool:
        return bool(self.holding.qty)

    @property
    def available(self) -> Decimal:
        """Quantity that no published intent has a claim on (>= 0)."""
        return abs(self.holding.qty) - self.ladder_state.reserved


_LEGS = {"LONG": 1, "SHORT": -1}

INTERNAL: EntryId = (0, 0)
"""The id of entries that did not come from the source stream: they are delivered once and carry no watermark."""

_NEVER_LATE = 1 << 62


def parse_id(source_id: str) -> EntryId:
    """`<ms>-<seq>` as a pair that sorts in stream order; empty text is `INTERNAL`."""
    if not source_id:
        return INTERNAL
    ms, _, seq = source_id.partition("-")
    return int(ms), int(seq)


def apply(position: Position, entry: Entry, terms: RiskTerms = DEFAULT_TERMS) -> Position:
    """`position` after one `entry`; the very same object if the entry was applied before.

    `terms` give the risk of a position that opens without a usable stop. Exact in any decimal context. Raises
    `ValueError` for a `source_id` that is no stream id.
    """
    # Not `@exact`, which costs a third of the fold of a mark: a batch of entries enters the context once.
    if getcontext().prec < DIGITS:
        with localcontext(EXACT):
            return apply(position, entry, terms)
    entry_id = parse_id(entry.source_id)
    if entry_id == INTERNAL:
        entry_id = position.applied
        seen_ms = entry.seen_ms if isinstance(entry, Mark) else None
        arrived_ms = _NEVER_LATE if seen_ms is None else seen_ms
    elif entry_id <= position.applied:
        return position
    else:
        arrived_ms = entry_id[0]
    if isinstance(entry, Fill):
        return _filled(position, entry, terms, entry_id, arrived_ms)
    if isinstance(entry, Mark):
        return _marked(position, entry, entry_id, arrived_ms)
    if isinstance(entry, Adopt):
        return _adopted(position, entry, terms)._replace(applied=entry_id)
    return _after_other(position, entry)._replace(applied=entry_id)


def _after_other(position: Position, entry: OrderEnded | Funding | Overdue | Freeze | Release) -> Position:
    """After an entry that moves neither quantity nor price."""
    match entry:
        case OrderEnded():
            return position._replace(ladder_state=position.ladder_state.released(entry.intent_id)[0])
        case Funding():
            return position._replace(holding=holdings.funded(position.holding, entry.amount, entry.asset))
        case Overdue():
            return position._replace(ladder_state=position.ladder_state.called_overdue(entry.placed_before_ms))
        case Freeze():
            return position._replace(frozen=position.frozen or entry.reason)
        case Release():
            return position._replace(frozen="")


def excess(position: Position, fill: Fill) -> Decimal:
    """How much of `fill` exits a leg that does not hold it (>= 0): it changes nothing, and says that something was
    missed before.
    """
    if ":" not in position.book or position.leg == fill.side.sign:
        return ZERO
    return max(ZERO, fill.qty - abs(position.holding.qty))


def _marked(position: Position, entry: Mark, entry_id: EntryId, arrived_ms: int) -> Position:
    mark = _newest(position.mark, entry.price, entry.time_ms, arrived_ms)
    return _with(position, position.holding, mark, position.ladder_state, entry_id)


def _filled(position: Position, fill: Fill, terms: RiskTerms, entry_id: EntryId, arrived_ms: int) -> Position:
    held = position.holding
    mark = _newest(position.mark, fill.price, fill.time_ms, arrived_ms)
    beyond = excess(position, fill)
    qty = fill.qty - beyond if beyond else fill.qty
    if not qty:
        return _with(position, holdings.charged(held, fill.fee, fill.fee_asset), mark, position.ladder_state, entry_id)
    if not held.qty:
        return _begun(position, held, fill, qty, terms, mark, entry_id)
    if held.sign == fill.side.sign:
        left = holdings.added(held, qty, fill.price, fill.quote_fee)
        state = _informed(position.ladder_state, fill)
    elif qty <= abs(held.qty):
        left = holdings.reduced(held, qty, fill.price, fill.quote_fee)
        state = _after_reduction(position.ladder_state, held, left, fill)
    else:
        closed = holdings.reduced(held, abs(held.qty), fill.price)
        return _begun(position, closed, fill, qty - abs(held.qty), terms, mark, entry_id)
    if fill.fee_asset is not None:
        left = holdings.charged(left, fill.fee, fill.fee_asset)
    return _with(position, left, mark, state, entry_id)


def _with(position: Position, holding: Holding, mark: MarkState, state: LadderState, entry_id: EntryId) -> Position:
    """The same lifecycle after a fill or a mark; not `replace`, which takes three times as long."""
    return Position(
        position.book,
        position.epoch,
        holding,
        mark,
        state,
        position.banked_pnl,
        position.frozen,
        entry_id,
        position.overrides,
    )


def _begun(
    position: Position,
    closed: Holding,
    fill: Fill,
    qty: Decimal,
    terms: RiskTerms,
    mark: MarkState,
    entry_id: EntryId,
) -> Position:
    """A new lifecycle of `qty` of `fill`, after `closed` is banked. A flip's fee counts in the new one."""
    stop = holdings.usable_stop(fill.price, fill.stop_loss, fill.side.sign)
    return Position(
        position.book,
        position.epoch + 1,
        holdings.charged(holdings.opened(fill, qty, terms), fill.fee, fill.fee_asset),
        mark.restarted(),
        LadderState(stop=stop, atr=fill.atr),
        position.banked_pnl + closed.net_pnl,
        position.frozen,
        entry_id,
        position.overrides,
    )


def _adopted(position: Position, adopt: Adopt, terms: RiskTerms) -> Position:
    """The exchange's record in the place of ours; unchanged if ours has moved since they were compared."""
    held = position.holding
    if held.qty != adopt.seen_qty or (held.qty, held.avg_entry) == (adopt.qty, adopt.entry):
        return position
    if not adopt.qty:
        return (
            position._replace(holding=holdings.corrected(held, adopt), ladder_state=LadderState())
            if held.qty
            else position
        )
    if held.qty * adopt.qty > 0:
        state = position.ladder_state.capped(abs(adopt.qty))
        return position._replace(holding=holdings.corrected(held, adopt), ladder_state=state)
    sign = 1 if adopt.qty > 0 else -1
    return position._replace(
        epoch=position.epoch + 1,
        holding=holdings.adopted(adopt, terms),
        mark=None if position.mark is None else position.mark.restarted(),
        ladder_state=LadderState(stop=holdings.usable_stop(adopt.entry, adopt.stop, sign)),
        banked_pnl=position.banked_pnl + held.net_pnl,
    )


def _newest(mark: MarkState | None, price: Decimal, time_ms: int, arrived_ms: int) -> MarkState:
    return MarkState(price, time_ms, price, price) if mark is None else mark.after(price, time_ms, arrived_ms)


def _informed(state: LadderState, fill: Fill) -> LadderState:
    return state if fill.atr is None else state._replace(atr=fill.atr)


def _after_reduction(state: LadderState, held: Holding, left: Holding, fill: Fill) -> LadderState:
    if not left.qty:
        return LadderState()
    if not state.reservations:
        return _informed(state, fill)
    if fill.intent_id is not None:
        pnl = left.realized_pnl - held.realized_pnl
        state = state.taken(fill.intent_id, fill.qty, fill.price, pnl)
    return _informed(state, fill).capped(abs(left.qty))
