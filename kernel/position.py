"""A book's position as a fold over its entries: `apply(position, entry) -> position`, and nothing else writes one.

What always holds of a position:
1. Folding entries in one go or one by one gives the same position.
2. An entry that was applied before changes nothing, and the same object comes back.
3. Each open and each flip starts a new lifecycle: the epoch counts up, and holding and progress start afresh.
4. Reservations never sum to more than the quantity held.
5. No quantity or price is rounded except the mean entry and a risk taken from a ratio.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal

from kernel import holding as holdings
from kernel import quote as quotes
from kernel.entry import Entry, Fill, Freeze, Mark, Outcome, Release
from kernel.holding import Holding, RiskTerms
from kernel.progress import Progress
from kernel.quantities import ZERO, exact
from kernel.quote import Quote

EntryId = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Position:
    """A tracked book.

    `banked_pnl` is the profit, net of fees, of all earlier lifecycles (quote currency); `frozen` says why the book
    publishes nothing, or is empty; `applied` is the id of the newest source entry folded in.
    """

    book: str
    epoch: int = 0
    holding: Holding = field(default_factory=Holding)
    quote: Quote | None = None
    progress: Progress = field(default_factory=Progress)
    banked_pnl: Decimal = ZERO
    frozen: str = ""
    applied: EntryId = (0, 0)

    @property
    def symbol(self) -> str:
        return self.book.partition(":")[0]

    @property
    def position_side(self) -> str:
        """LONG or SHORT for a hedge-mode book, else BOTH."""
        return self.book.partition(":")[2] or "BOTH"

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
        return abs(self.holding.qty) - self.progress.reserved


INTERNAL: EntryId = (0, 0)
"""The id of entries that did not come from the source stream: they are delivered once and carry no watermark."""

_NEVER_LATE = 1 << 62


def parse_id(source_id: str) -> EntryId:
    """`<ms>-<seq>` as a pair that sorts in stream order; empty text is `INTERNAL`."""
    if not source_id:
        return INTERNAL
    ms, _, seq = source_id.partition("-")
    return int(ms), int(seq)


@exact
def fold(position: Position, entries: Iterable[Entry], terms: RiskTerms) -> Position:
    """`position` after all `entries`, in order."""
    for entry in entries:
        position = applied(position, entry, terms)
    return position


@exact
def apply(position: Position, entry: Entry, terms: RiskTerms) -> Position:
    """`position` after one entry; the very same object if the entry was applied before."""
    return applied(position, entry, terms)


def applied(position: Position, entry: Entry, terms: RiskTerms) -> Position:
    """`apply` for a caller that is already in the exact context."""
    entry_id = parse_id(entry.source_id)
    if entry_id == INTERNAL:
        entry_id = position.applied
        arrived_ms = _NEVER_LATE
    elif entry_id <= position.applied:
        return position
    else:
        arrived_ms = entry_id[0]
    match entry:
        case Fill():
            return _filled(position, entry, terms, entry_id, arrived_ms)
        case Mark():
            return _marked(position, entry, entry_id, arrived_ms)
        case Outcome():
            progress, _ = position.progress.released(entry.intent_id)
            return replace(position, progress=progress, applied=entry_id)
        case Freeze():
            return replace(position, frozen=position.frozen or entry.reason, applied=entry_id)
        case Release():
            return replace(position, frozen="", applied=entry_id)


def _marked(position: Position, mark: Mark, entry_id: EntryId, arrived_ms: int) -> Position:
    quote = _seen(position.quote, mark.price, mark.time_ms, arrived_ms)
    return Position(
        position.book,
        position.epoch,
        position.holding,
        quote,
        position.progress,
        position.banked_pnl,
        position.frozen,
        entry_id,
    )


def _filled(position: Position, fill: Fill, terms: RiskTerms, entry_id: EntryId, arrived_ms: int) -> Position:
    held = position.holding
    quote = _seen(position.quote, fill.price, fill.time_ms, arrived_ms)
    if not held.qty:
        return _begun(position, held, fill, fill.qty, terms, quote, entry_id)
    if held.sign == fill.side.sign:
        left = holdings.added(held, fill.qty, fill.price)
        progress = _informed(position.progress, fill)
    elif fill.qty <= abs(held.qty):
        left = holdings.reduced(held, fill.qty, fill.price)
        progress = _after_reduction(position.progress, left, fill)
    else:
        closed = holdings.reduced(held, abs(held.qty), fill.price)
        return _begun(position, closed, fill, fill.qty - abs(held.qty), terms, quote, entry_id)
    return Position(
        position.book,
        position.epoch,
        holdings.charged(left, fill.fee),
        quote,
        progress,
        position.banked_pnl,
        position.frozen,
        entry_id,
    )


def _begun(
    position: Position,
    closed: Holding,
    fill: Fill,
    qty: Decimal,
    terms: RiskTerms,
    quote: Quote,
    entry_id: EntryId,
) -> Position:
    """A new lifecycle of `qty` of `fill`, after `closed` is banked. A flip's fee counts in the new one."""
    return Position(
        position.book,
        position.epoch + 1,
        holdings.charged(holdings.opened(fill, qty, terms), fill.fee),
        quote.restarted(),
        Progress(stop=holdings.usable_stop(fill), atr=fill.atr),
        position.banked_pnl + closed.realized_pnl - closed.fees,
        position.frozen,
        entry_id,
    )


def _seen(quote: Quote | None, price: Decimal, time_ms: int, arrived_ms: int) -> Quote:
    return quotes.first(price, time_ms) if quote is None else quote.seen(price, time_ms, arrived_ms)


def _informed(progress: Progress, fill: Fill) -> Progress:
    return progress if fill.atr is None else replace(progress, atr=fill.atr)


def _after_reduction(progress: Progress, left: Holding, fill: Fill) -> Progress:
    if not left.qty:
        return Progress()
    if fill.intent_id is not None:
        progress = progress.taken(fill.intent_id, fill.qty)
    return _informed(progress, fill).clamped(abs(left.qty))
