"""`harvest reconcile`."""

from collections.abc import Collection, Iterator, Sequence

import click
from rich.text import Text

from harvest_tasks.commands.formatting import figure, printable
from harvest_tasks.commands.session import Failure, connected, wake_workers
from harvest_tasks.commands.tables import Cell, Column, json_option, show, show_json
from harvest_tasks.reconciling.audit import audit_all
from harvest_tasks.reconciling.settlement import (
    ComparedRow,
    SettledBook,
    Settlement,
    UnreadInput,
    comparison_rows,
    is_named,
    settle,
)
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings

COLUMNS = (
    Column("Book"),
    Column("Tracked", right=True),
    Column("Exchange", right=True),
    Column("Difference", right=True),
    Column("Entry", right=True),
    Column("Exch. entry", right=True),
    Column("Result"),
    Column("Waiting", right=True),
    Column("Frozen", wraps=True),
)
NO_RECORD = f"the exchange's positions are not known: no service writes {keys.POSITION_STATE_PREFIX}<SYMBOL>"


@click.command()
@click.argument("books", nargs=-1, metavar="[BOOK]...")
@click.option("--adopt", is_flag=True, help="Adopt the exchange's position where it differs, and release the book.")
@json_option
def reconcile(books: Sequence[str], adopt: bool, as_json: bool) -> None:
    """Compare the tracked positions with the exchange's.

    Another service writes the exchange's positions to Redis. It may lag behind fills, and so may Harvest while entries
    wait (Waiting): run this twice before you adopt. Quantities of shorts are negative. Difference is Tracked minus
    Exchange. A symbol as BOOK selects both of its legs.

    Exit code 1 if a book differs, or could not be adopted.
    """
    names = {book.upper() for book in books}
    with connected() as (settings, client):
        audit = audit_all(client, settings)
        rows = [row for row in comparison_rows(audit) if is_named(row.book, names)]
        if not audit.has_snapshots:
            raise Failure(NO_RECORD)
        _refuse_strangers(names, rows)
        is_behind = not audit.input_progress.has_reached(audit.input_progress.newest_id)
        is_fine = _settle(client, settings, names, as_json) if adopt else _show(rows, is_behind, as_json)
    raise click.exceptions.Exit(int(not is_fine))


def _refuse_strangers(names: Collection[str], rows: Sequence[ComparedRow]) -> None:
    for name in sorted(names):
        if not any(is_named(row.book, [name]) for row in rows):
            raise Failure(f"{printable(name)} is neither tracked nor open on the exchange")


def _show(rows: Sequence[ComparedRow], is_behind: bool, as_json: bool) -> bool:
    """Print the comparison; return whether all agree."""
    if as_json:
        show_json(rows)
    elif rows:
        show(COLUMNS, [_cells(row) for row in rows])
        lines = [*_reasons(rows), *_advice(rows, is_behind)]
        click.echo("".join(f"\n{line}" for line in lines), nl=bool(lines))
    else:
        click.echo("No book is tracked, and no position is open on the exchange.")
    return all(row.result == "agrees" for row in rows)


def _cells(row: ComparedRow) -> Sequence[Cell]:
    return [
        row.book,
        figure(row.tracked),
        figure(row.exchange),
        figure(row.difference),
        figure(row.entry),
        figure(row.exchange_entry),
        Text(row.result, "green" if row.result == "agrees" else "red"),
        str(row.waiting) if row.waiting else "",
        row.frozen,
    ]


def _reasons(rows: Sequence[ComparedRow]) -> Iterator[str]:
    return (f"{row.book}: {printable(row.why)}" for row in rows if row.why)


def _advice(rows: Sequence[ComparedRow], is_behind: bool) -> Iterator[str]:
    if is_behind:
        yield "Some of the input has not been applied yet: what differs may agree soon."
    if any(row.result == "differs" and not row.why for row in rows):
        yield "`harvest reconcile --adopt [BOOK]...` adopts the exchange's position, and releases the book."
    if any(row.result == "agrees" and row.frozen for row in rows):
        yield "A frozen book publishes nothing. `harvest reconcile --adopt` releases those that agree."


def _settle(client: Client, settings: Settings, names: Collection[str], as_json: bool) -> bool:
    """Adopt and release; return whether no book was refused."""
    try:
        settlement = settle(client, settings, names)
    except UnreadInput as error:
        raise Failure(
            f"{error}, so positions are out of date. Fix: start workers (`harvest up`), then try again"
        ) from error
    if as_json:
        show_json(settlement)
    else:
        _report(settlement)
    wake_workers([result.book for result in settlement.settled if result.done != "refused"])
    return all(result.done != "refused" for result in settlement.settled)


def _report(settlement: Settlement) -> None:
    if not settlement.settled:
        click.echo("Nothing to adopt: all books agree, and none is frozen.")
    for result in settlement.settled:
        click.echo(_line(result))
    if settlement.forgot_loss:
        click.echo("Every book is right, so the record of lost input is cleared: new books start unfrozen.")


def _line(result: SettledBook) -> str:
    match result:
        case SettledBook(book, "adopted", tracked, exchange):
            return f"{book}: adopted {figure(exchange)}, was {figure(tracked)}; released"
        case SettledBook(book, "released", why=why):
            return f"{book}: agrees; released, was frozen: {printable(why)}"
        case _:
            return f"{result.book}: refused: {printable(result.why)}"
