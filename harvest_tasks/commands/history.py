"""`harvest history`."""

from collections.abc import Sequence

import click
from rich.text import Text

from harvest_tasks.commands.formatting import cost, duration, figure, money, r_text, recent
from harvest_tasks.commands.session import connected, parse_symbol
from harvest_tasks.commands.tables import Cell, Column, json_option, show, show_json
from harvest_tasks.fills.inbox import known_books
from harvest_tasks.operations.history import History, read_history
from harvest_tasks.wire.history import HarvestKind, HarvestRow, LifecycleRow
from harvest_tasks.wire.symbols import symbol_of
from kernel.positions.holding import Origin

HARVESTS = (
    Column("Time (UTC)"),
    Column("Lifecycle"),
    Column("Rungs"),
    Column("Qty", right=True),
    Column("Price", right=True),
    Column("R", right=True),
    Column("PnL", right=True),
    Column("Kind"),
)
LIFECYCLES = (
    Column("Closed (UTC)"),
    Column("Lifecycle"),
    Column("Side"),
    Column("Entered", right=True),
    Column("Entry", right=True),
    Column("Held", right=True),
    Column("Net", right=True),
    Column("Net R", right=True),
    Column("Realized", right=True),
    Column("Fees", right=True),
    Column("Funding", right=True),
    Column("Other fees"),
    Column("Origin"),
)


def _symbol(_ctx: click.Context, _param: click.Parameter, text: str | None) -> str | None:
    return None if text is None else parse_symbol(symbol_of(text))


@click.command()
@click.argument("symbol", required=False, callback=_symbol)
@click.option("--limit", type=click.IntRange(1, 100), default=10, show_default=True, help="Rows of each table.")
@json_option
def history(symbol: str | None, limit: int, as_json: bool) -> None:
    """Show past harvests and closed positions, of SYMBOL or of all, newest first.

    A harvest is "executed" once fills name its intent. In shadow mode it is "suggested", and its PnL is what it would
    have made at the mark. PnL and Realized are before fees. Net is after fees and funding; Net R is Net in units of the
    risk of all that was entered. The last 100 of each kind are kept per symbol.
    """
    with connected() as (_, client):
        names = [symbol] if symbol else sorted({symbol_of(book) for book in known_books(client)})
        found = read_history(client, names)
    shown = History(found.harvests[:limit], found.lifecycles[:limit], found.unreadable)
    if as_json:
        show_json(shown)
    else:
        _print(shown, symbol)


def _print(shown: History, symbol: str | None) -> None:
    if not shown.harvests and not shown.lifecycles:
        click.echo(
            f"No harvest and no closed position{f' of {symbol}' if symbol else ''} yet: see `harvest positions`."
        )
    if shown.harvests:
        show(HARVESTS, [_harvest_cells(row) for row in shown.harvests])
    if shown.harvests and shown.lifecycles:
        click.echo()
    if shown.lifecycles:
        show(LIFECYCLES, [_lifecycle_cells(row) for row in shown.lifecycles])
    if shown.unreadable:
        click.echo(f"harvest: history rows that Harvest cannot read: {shown.unreadable}", err=True)
        raise click.exceptions.Exit(1)


def _harvest_cells(row: HarvestRow) -> Sequence[Cell]:
    return [
        recent(row.time_ms),
        row.position_id,
        " ".join(row.rungs),
        figure(row.qty),
        figure(row.price),
        r_text(row.r),
        _coloured(money(row.pnl), row.pnl > 0),
        Text(row.kind.value, "bold" if row.kind is HarvestKind.EXECUTED else ""),
    ]


def _lifecycle_cells(row: LifecycleRow) -> Sequence[Cell]:
    return [
        recent(row.closed_ms),
        row.position_id,
        row.side,
        figure(row.base_qty),
        figure(row.entry),
        duration(max(0, row.closed_ms - row.opened_ms)),
        _coloured(money(row.net_pnl), row.net_pnl > 0),
        r_text(row.net_r),
        money(row.realized_pnl),
        cost(row.fees),
        money(row.funding) if row.funding else "",
        " ".join(f"{figure(amount)} {asset}" for asset, amount in row.other_fees.items()),
        "" if row.origin == Origin.FILLS else row.origin,
    ]


def _coloured(text: str, won: bool) -> Text:
    return Text(text, "green" if won else "red")
