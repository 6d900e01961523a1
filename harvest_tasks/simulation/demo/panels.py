"""The parts of the demo's screen: progress, positions, proposals, the newest intents, and the totals."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harvest_tasks.simulation.demo.live_state import Board, Fields, Sent
from kernel.positions.position import Position
from kernel.positions.quantities import plain
from kernel.positions.r_multiple import r_multiple
from kernel.positions.rules import Rules

TAKEN_UP: Final = 15
"""Lines of the screen besides the newest intents."""
ANSWER_STYLES: Final = {"filled": "green", "rejected": "yellow", "expired": "yellow"}


def screen(board: Board, rules: Rules, height: int) -> RenderableType:
    """As many lines as `height`, but at least one with an intent."""
    return Group(
        _progress(board),
        Text(),
        _positions(board, rules),
        Text(),
        _proposals(board),
        Text(),
        _intents(board.intents, max(1, height - TAKEN_UP)),
        Text(),
        _totals(board),
    )


def _progress(board: Board) -> RenderableType:
    line = Table.grid(padding=(0, 1), expand=True)
    line.add_column(no_wrap=True)
    line.add_column(ratio=1)
    line.add_column(no_wrap=True, justify="right")
    bar = ProgressBar(total=board.minutes, completed=board.minute)
    line.add_row(Text("harvest demo", style="bold"), bar, f"minute {board.minute} of {board.minutes}")
    return line


def _table(**columns: int) -> Table:
    """Columns by name with their least width, so that nothing moves about; those of a negative one end flush right."""
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), header_style="bold cyan", pad_edge=False)
    for name, width in columns.items():
        title = name.replace("_", " ").strip()
        table.add_column(title, justify="right" if width < 0 else "left", min_width=abs(width), no_wrap=True)
    return table


def _positions(board: Board, rules: Rules) -> Table:
    table = _table(Position=8, _=5, Quantity=-8, Entry=-9, Mark=-9, R=-5, Stop=-9, Rungs=5, USDT=-8)
    for position in board.positions.values():
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
    yield _coloured(r_multiple(position, rules))
    yield Text("-" if state.stop is None else f"{state.stop:,.2f}", style="bold" if state.break_even else "")
    yield Text("".join("●" if rung.name in state.spent else "○" for rung in rules.ladder.rungs))
    yield _coloured(holding.unrealized_pnl(mark.price) + holding.net_pnl)


def _proposals(board: Board) -> Table:
    table = _table(Proposal=8, Action=19, R_net=-5, K=-4, New_stop=-9, Reasons=24)
    for symbol, fields in board.proposals.items():
        table.add_row(symbol, *_proposal(fields))
    return table


def _proposal(fields: Fields) -> Iterator[RenderableType]:
    if not fields:
        yield Text("none", style="dim")
        return
    yield Text(fields["harvest_action"], style="" if fields["harvest_action"] != "NONE" else "dim")
    yield _coloured(Decimal(fields["R_net"]))
    yield f"{float(fields['kill_score']):.2f}"
    yield f"{float(fields['new_sl_proposed']):,.2f}" if fields["new_sl_proposed"] else ""
    # What triggered says more than that something did, which the action says already.
    yield Text(fields["reason_codes"].replace("kill_score_triggered,", "").replace(",", " "), style="dim")


def _intents(sent: Sequence[Sent], rows: int) -> Table:
    table = _table(Intent=8, _=16, Quantity=-8, Price=-9, Because=14, Answer=8)
    for each in sent[:rows]:
        table.add_row(*_intent(each))
    for _ in range(rows - len(sent)):
        table.add_row("")
    return table


def _intent(sent: Sent) -> Iterator[RenderableType]:
    intent = sent.intent
    moves_stop = "stop_price" in intent
    yield intent["symbol"]
    yield intent["intent_type"] if moves_stop else f"{intent['intent_type']} {intent['side']}"
    yield "" if moves_stop else plain(Decimal(intent["qty"]).quantize(Decimal("0.0001")))
    yield f"{Decimal(intent['stop_price' if moves_stop else 'mark_price']):,.2f}"
    yield intent["reason"]
    yield Text("noted", style="dim") if moves_stop else Text(sent.answer, style=ANSWER_STYLES.get(sent.answer, ""))


def _totals(board: Board) -> Table:
    counts = board.counts
    rungs = ", ".join(f"{n} at {rung} R" for rung, n in board.by_rung.items())
    proposals = ", ".join(f"{counts.get(f'proposals:{name}', 0)} {name}" for name in ("published", "unchanged"))
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(style="bold cyan", no_wrap=True)
    table.add_column(ratio=1, no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    harvested = counts.get("paper:filled", 0)
    fills = f"{board.opened} opened, {harvested} harvested, {board.closed} closed"
    table.add_row("Fills", fills, Text.assemble("realized ", _coloured(board.realized)))
    table.add_row("Intents", f"{rungs}; {board.stop_moves} stop moves")
    table.add_row("Proposals", proposals, f"{counts.get('applied', 0):,} applied")
    return table


def _coloured(value: Decimal) -> Text:
    return Text(signed(value), style="green" if value > 0 else "red" if value < 0 else "dim")


def signed(value: Decimal) -> str:
    return f"{value:+,.2f}"
