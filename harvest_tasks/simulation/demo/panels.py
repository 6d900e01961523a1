"""The panels of the demo's screen: progress, positions, proposals, newest intents, and totals."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harvest_tasks.simulation.demo.live_state import LiveState, SentIntent
from harvest_tasks.wire.fields import Fields
from kernel.positions.position import Position
from kernel.positions.quantities import plain
from kernel.positions.r_multiple import r_multiple
from kernel.positions.rules import Rules

FIXED_LINES: Final = 15
"""Lines of the screen without the newest intents."""
ANSWER_STYLES: Final = {"filled": "green", "rejected": "yellow", "expired": "yellow"}


def render_screen(state: LiveState, rules: Rules, height: int) -> RenderableType:
    """The screen in `height` lines, with at least one for an intent."""
    return Group(
        _progress(state),
        Text(),
        _positions(state, rules),
        Text(),
        _proposals(state),
        Text(),
        _intents(state.intents, max(1, height - FIXED_LINES)),
        Text(),
        _totals(state),
    )


def _progress(state: LiveState) -> RenderableType:
    line = Table.grid(padding=(0, 1), expand=True)
    line.add_column(no_wrap=True)
    line.add_column(ratio=1)
    line.add_column(no_wrap=True, justify="right")
    bar = ProgressBar(total=state.minutes, completed=state.minute)
    line.add_row(Text("harvest demo", style="bold"), bar, f"minute {state.minute} of {state.minutes}")
    return line


def _table(**columns: int) -> Table:
    """A table with the minimum width of each column; a negative width aligns right. Fixed widths prevent jumping."""
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), header_style="bold cyan", pad_edge=False)
    for name, width in columns.items():
        title = name.replace("_", " ").strip()
        table.add_column(title, justify="right" if width < 0 else "left", min_width=abs(width), no_wrap=True)
    return table


def _positions(state: LiveState, rules: Rules) -> Table:
    table = _table(Position=8, _=5, Quantity=-8, Entry=-9, Mark=-9, R=-5, Stop=-9, Rungs=5, USDT=-8)
    for position in state.positions.values():
        table.add_row(*_position(position, rules))
    return table


def _position(position: Position, rules: Rules) -> Iterator[RenderableType]:
    holding, mark, state = position.holding, position.mark, position.ladder_state
    yield position.symbol
    if not holding.qty or mark is None:
        yield Text("flat", style="dim")
        return
    yield "long" if holding.qty > 0 else "short"
    yield plain(abs(holding.qty).quantize(Decimal("0.0001")))
    yield f"{holding.avg_entry:,.2f}"
    yield f"{mark.price:,.2f}"
    yield _colored(r_multiple(position, rules))
    yield Text("-" if state.stop is None else f"{state.stop:,.2f}", style="bold" if state.break_even else "")
    yield Text("".join("●" if rung.name in state.spent else "○" for rung in rules.ladder.rungs))
    yield _colored(holding.unrealized_pnl(mark.price) + holding.net_pnl)


def _proposals(state: LiveState) -> Table:
    table = _table(Proposal=8, Action=19, R_net=-5, K=-4, New_stop=-9, Reasons=24)
    for symbol, fields in state.proposals.items():
        table.add_row(symbol, *_proposal(fields))
    return table


def _proposal(fields: Fields) -> Iterator[RenderableType]:
    if not fields:
        yield Text("none", style="dim")
        return
    yield Text(fields["harvest_action"], style="" if fields["harvest_action"] != "NONE" else "dim")
    yield _colored(Decimal(fields["R_net"]))
    yield f"{float(fields['kill_score']):.2f}"
    yield f"{float(fields['new_sl_proposed']):,.2f}" if fields["new_sl_proposed"] else ""
    # Redundant: the action already says that the kill score triggered.
    yield Text(fields["reason_codes"].replace("kill_score_triggered,", "").replace(",", " "), style="dim")


def _intents(sent: Sequence[SentIntent], rows: int) -> Table:
    table = _table(Intent=8, _=16, Quantity=-8, Price=-9, Reason=14, Answer=8)
    for each in sent[:rows]:
        table.add_row(*_intent(each))
    for _ in range(rows - len(sent)):
        table.add_row("")
    return table


def _intent(sent: SentIntent) -> Iterator[RenderableType]:
    intent = sent.intent
    moves_stop = "stop_price" in intent
    yield intent["symbol"]
    yield intent["intent_type"] if moves_stop else f"{intent['intent_type']} {intent['side']}"
    yield "" if moves_stop else plain(Decimal(intent["qty"]).quantize(Decimal("0.0001")))
    yield f"{Decimal(intent['stop_price' if moves_stop else 'mark_price']):,.2f}"
    yield intent["reason"]
    yield Text("noted", style="dim") if moves_stop else Text(sent.answer, style=ANSWER_STYLES.get(sent.answer, ""))


def _totals(state: LiveState) -> Table:
    counts = state.counts
    rungs = ", ".join(f"{n} at {rung} R" for rung, n in state.by_rung.items())
    proposals = ", ".join(f"{counts.get(f'proposals:{name}', 0)} {name}" for name in ("published", "unchanged"))
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(style="bold cyan", no_wrap=True)
    table.add_column(ratio=1, no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    harvested = counts.get("paper:filled", 0)
    fills = f"{state.opened} opened, {harvested} harvested, {state.closed} closed"
    table.add_row("Fills", fills, Text.assemble("realized ", _colored(state.realized)))
    table.add_row("Intents", f"{rungs}; {state.stop_moves} stop moves")
    table.add_row("Proposals", proposals, f"{counts.get('applied', 0):,} applied")
    return table


def _colored(value: Decimal) -> Text:
    return Text(format_signed(value), style="green" if value > 0 else "red" if value < 0 else "dim")


def format_signed(value: Decimal) -> str:
    return f"{value:+,.2f}"
