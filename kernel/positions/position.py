"""A book's position as a fold over its entries: `apply(position, entry) -> position`.

`apply` folds in what happened, `decision.decide` what is published or held back. Nothing else changes a position,
except its `overrides`, which the caller sets.

What always holds of a position:
1. Folding entries in one go or one by one gives the same position.
2. An entry that was applied before changes nothing, and the same object comes back.
3. Each open and each flip starts a new lifecycle: the epoch counts up, and holding and ladder state start anew.
4. Reservations never sum to more than the quantity held.
5. Only the mean entry, and a risk computed from a ratio, are rounded (half-even to 12 decimals).
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
    """The position of one book: `BTCUSDT`, or in hedge mode `BTCUSDT:LONG` and `BTCUSDT:SHORT`.

    `epoch` counts its lifecycles. `mark` is None until a price is known. `banked_pnl` is the profit of all earlier
    lifecycles, after fees and funding (quote currency). `frozen` says why nothing is published, or is empty. `applied`
    is the id of the newest stream entry folded in. `overrides` is the text of the symbol's own rules journaled last.
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
        """The book's symbol, such as `BTCUSDT`."""
        return self.book.partition(":")[0]

    @property
    def position_side(self) -> str:
        """LONG or SHORT for a hedge-mode book, else BOTH."""
        return self.book.partition(":")[2] or "BOTH"

    @property
    def leg(self) -> int:
        """The only sign that the quantity of a hedge-mode book can have (+1 LONG, -1 SHORT); 0 in one-way mode."""
        return _LEGS.get(self.book.partition(":")[2], 0)

    @property
    def position_id(self) -> str:
        """The id of the current lifecycle: book and epoch, such as `BTCUSDT:1`."""
        return f"{self.book}:{self.epoch}"

    @property
    def is_open(self) -> bool:
        """Whether any quantity is held."""
        return bool(self.holding.qty)

    @property
    def available(self) -> Decimal:
        """The quantity held that no published intent reserves (>= 0, base currency)."""
        return abs(self.holding.qty) - self.ladder_state.reserved


_LEGS = {"LONG": 1, "SHORT": -1}

INTERNAL: EntryId = (0, 0)
"""The id of entries that did not come from the stream: they are delivered once, and `applied` stays."""

_NEVER_LATE = 1 << 62


def parse_id(source_id: str) -> EntryId:
    """`<ms>-<seq>` as a pair that sorts in stream order; empty text is `INTERNAL`. Raises `ValueError`."""
    if not source_id:
        return INTERNAL
    ms, _, seq = source_id.partition("-")
    return int(ms), int(seq)


def apply(position: Position, entry: Entry, terms: RiskTerms = DEFAULT_TERMS) -> Position:
    """`position` after `entry`; the same object if the entry was applied before.

    `terms` give the risk of a position that opens without a usable stop (a ratio of the entry, 2 % by default). Exact
    in any decimal context. Raises `ValueError` if the entry's `source_id` is not a stream id.
    """
    # Not `@exact`: a batch enters the context once, and entering it takes as long as folding a mark.
    if getcontext().prec < DIGITS:
        with localcontext(EXACT):
            return apply(position, entry, terms)
    entry_id = parse_id(entry.source_id)
    if entry_id == INTERNAL:
        entry_id = position.applied
        read_ms = entry.read_ms if isinstance(entry, Mark) else None
        arrived_ms = _NEVER_LATE if read_ms is None else read_ms
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
    """`position` after an entry that changes neither quantity nor price."""
    match entry:
        case OrderEnded():
            return position._replace(ladder_state=position.ladder_state.released(entry.intent_id)[0])
        case Funding():
            return position._replace(holding=holdings.funded(position.holding, entry.amount, entry.asset))
        case Overdue():
            return position._replace(ladder_state=position.ladder_state.marked_overdue(entry.placed_before_ms))
        case Freeze():
            return position._replace(frozen=position.frozen or entry.reason)
        case Release():
            return position._replace(frozen="")


def excess(position: Position, fill: Fill) -> Decimal:
    """The quantity of `fill` (>= 0, base currency) by which it exits more than the leg holds; 0 in one-way mode.

    It changes nothing. It means that an earlier fill is missing.
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
    """`position` in the same lifecycle after a fill or a mark; `_replace` would take three times as long."""
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
    """A new lifecycle of `qty` of `fill`; `closed` is banked. The fee of a flip counts in the new lifecycle."""
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
    """`position` as the exchange snapshot has it; unchanged if its quantity changed since the two were compared."""
    held = position.holding
    if held.qty != adopt.tracked_qty or (held.qty, held.avg_entry) == (adopt.qty, adopt.entry):
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
