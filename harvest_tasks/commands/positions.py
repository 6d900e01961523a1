"""`harvest positions`."""

from collections.abc import Sequence

import click
from rich.text import Text

from harvest_tasks.commands.formatting import age, cost, figure, money, printable, r_text
from harvest_tasks.commands.session import connected
from harvest_tasks.commands.tables import Cell, Column, json_option, show, show_json
from harvest_tasks.fills.inbox import UnreadableBook, known_books, open_books
from harvest_tasks.fills.symbol_rules import SymbolRules
from harvest_tasks.operations.positions import Book, PositionRow, position_row, read_books
from harvest_tasks.server.clock import server_ms
from harvest_tasks.settings.model import Settings
from kernel.positions.holding import Origin
from kernel.positions.quantities import plain

COLUMNS = (
    Column("Book"),
    Column("Side"),
    Column("Qty", right=True),
    Column("Entry", right=True),
    Column("Mark", right=True),
    Column("Age", right=True),
    Column("R", right=True),
    Column("Unrealized", right=True),
    Column("Realized", right=True),
    Column("Fees", right=True),
    Column("Funding", right=True),
    Column("Net R", right=True),
    Column("Stop", right=True),
    Column("Spent"),
    Column("Armed"),
    Column("Reserved", right=True),
    Column("Waiting", right=True),
    Column("Origin"),
)


@click.command()
@click.option("--all", "everything", is_flag=True, help="Also show books without an open position.")
@json_option
def positions(everything: bool, as_json: bool) -> None:
    """Show the tracked positions.

    R is the move from the entry in units of the risk per unit. Spent and Armed are rungs of the ladder. Reserved is the
    quantity that published intents may still close. Waiting counts entries that no worker has applied yet. Unrealized
    and Realized are before fees, since the position opened. Net R is the realized result after fees and funding, in
    units of the risk of all that was entered. Origin is shown for a position adopted from the exchange. For closed
    positions see `harvest history`.
    """
    with connected() as (settings, client):
        names = known_books(client) if everything else open_books(client)
        now_ms = server_ms(client)
        found = read_books(client, names)
        tracked = [book for book in found if isinstance(book, Book)]
        rules = SymbolRules(client, settings).rules({book.position.symbol for book in tracked})
    rows = [position_row(book, rules[book.position.symbol], now_ms) for book in tracked]
    if as_json:
        show_json(rows)
    elif rows:
        show(COLUMNS, [_cells(row) for row in rows])
        _warn([row for row in rows if row.frozen])
    elif not found:
        click.echo(_nothing(settings, everything))
    _complain([book for book in found if isinstance(book, UnreadableBook)])


def _cells(row: PositionRow) -> Sequence[Cell]:
    """One row of the table; a flat book shows what its last position earned."""
    if row.side == "FLAT":
        return [row.book, row.side, *[""] * 6, *_earned(row), *[""] * 4, _count(row.waiting), _origin(row)]
    return [
        row.book,
        row.side,
        figure(row.qty),
        figure(row.entry),
        figure(row.mark),
        "" if row.mark_age_ms is None else age(row.mark_age_ms),
        Text(r_text(row.r), "green" if row.r > 0 else "red"),
        money(row.unrealized_pnl),
        *_earned(row),
        figure(row.stop),
        " ".join(row.rungs_spent),
        " ".join(row.rungs_armed),
        plain(row.reserved) if row.reserved else "",
        _count(row.waiting),
        _origin(row),
    ]


def _earned(row: PositionRow) -> Sequence[Cell]:
    return [money(row.realized_pnl), cost(row.fees), money(row.funding) if row.funding else "", r_text(row.net_r)]


def _origin(row: PositionRow) -> str:
    return "" if row.origin == Origin.FILLS else row.origin


def _count(n: int) -> str:
    return str(n) if n else ""


def _nothing(settings: Settings, everything: bool) -> str:
    if everything:
        return (
            f"No book is tracked yet: the first fill on {settings.stream_execution_result} starts one, if workers run."
        )
    return "No position is open: `harvest positions --all` also shows flat books."


def _warn(frozen: Sequence[PositionRow]) -> None:
    if frozen:
        click.echo()
    for row in frozen:
        click.echo(f"{row.book} is frozen: {printable(row.frozen)}")
    if frozen:
        click.echo("A frozen book publishes nothing. Fix: once its position is right, harvest release BOOK")


def _complain(unreadable: Sequence[UnreadableBook]) -> None:
    for book in unreadable:
        click.echo(f"harvest: {book.book}: {printable(book.why)}", err=True)
    if unreadable:
        raise click.exceptions.Exit(1)
