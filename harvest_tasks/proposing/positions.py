"""Which position does a hash describe? Turns it into the kernel's snapshot, or into None for a closed position."""

from harvest_tasks.proposing.skip_reason import NoProposal, SkipReason, needs_usable_input
from harvest_tasks.wire.exchange_position import MAX_AGE_MS
from harvest_tasks.wire.fields import Fields
from harvest_tasks.wire.numbers import optional_float, required_float
from harvest_tasks.wire.position import read_open_figures
from kernel.proposals.snapshot import PositionSide, PositionSnapshot

CLOCK_SKEW_SEC = 60.0

_SIDES = {
    "LONG": PositionSide.LONG,
    "BUY": PositionSide.LONG,
    "SHORT": PositionSide.SHORT,
    "SELL": PositionSide.SHORT,
}


@needs_usable_input
def external_position(symbol: str, fields: Fields) -> PositionSnapshot | None:
    """The position in another program's hash or stream entry; None if it is closed. Raises `NoProposal`.

    Its `unrealized_pnl` is that of the whole position, so R needs the size: a hash without `qty` or `quantity` is
    unusable, and 0 is a closed position. A short's size may be negative.
    """
    qty = required_float(fields, "qty", "quantity")
    if qty == 0:
        return None
    side = _side(fields, qty)
    return PositionSnapshot(
        symbol=symbol,
        side=side,
        entry_price=required_float(fields, "entry_price"),
        current_price=required_float(fields, "current_price"),
        peak_price=required_float(fields, "peak_price"),
        trough_price=required_float(fields, "trough_price"),
        age_sec=_age(required_float(fields, "age_sec")),
        unrealized_pnl=required_float(fields, "unrealized_pnl"),
        current_sl=optional_float(fields, "current_sl"),
        current_tp=optional_float(fields, "current_tp"),
        qty=abs(qty),
    )


@needs_usable_input
def tracked_position(symbol: str, fields: Fields, now: float) -> PositionSnapshot | None:
    """The position in a tracked book's hash at `now` (unix seconds); None if it is closed. Raises `NoProposal`."""
    figures = read_open_figures(fields)
    if figures is None:
        return None
    return PositionSnapshot(
        symbol=symbol,
        side=PositionSide.LONG if figures.qty > 0 else PositionSide.SHORT,
        entry_price=figures.avg_entry,
        current_price=figures.mark,
        peak_price=figures.peak,
        trough_price=figures.trough,
        age_sec=_age(now - figures.opened_ms / 1000),
        unrealized_pnl=figures.qty * (figures.mark - figures.avg_entry),
        current_sl=figures.stop,
        qty=abs(figures.qty),
    )


def synthetic_position(symbol: str) -> PositionSnapshot:
    """A made-up long in profit, for trying the publisher out."""
    entry = 100.0 if "BTC" in symbol else 50.0
    current = entry * 1.05
    return PositionSnapshot(
        symbol=symbol,
        side=PositionSide.LONG,
        entry_price=entry,
        current_price=current,
        peak_price=entry * 1.06,
        trough_price=entry * 0.98,
        age_sec=3600.0,
        unrealized_pnl=current - entry,
        current_sl=entry * 0.98,
        current_tp=entry * 1.1,
    )


def _side(fields: Fields, qty: float) -> PositionSide:
    text = fields.get("side", "")
    side = _SIDES.get(text.upper())
    if side is None:
        raise NoProposal(SkipReason.BAD_SIDE, f"side is {text!a:.60}, not LONG or SHORT")
    if qty < 0 and side is PositionSide.LONG:
        raise NoProposal(SkipReason.BAD_SIDE, "a long has a negative quantity")
    return side


def _age(seconds: float) -> float:
    if not -CLOCK_SKEW_SEC <= seconds <= MAX_AGE_MS / 1000:
        raise NoProposal(SkipReason.BAD_TIME, f"an age of {seconds:.0f} s is not possible")
    return max(seconds, 0.0)
