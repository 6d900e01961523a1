"""`harvest intents`."""

from collections.abc import Sequence

import click
from rich.text import Text

from harvest_tasks.commands.formatting import figure, recent
from harvest_tasks.commands.session import connected, parse_symbol
from harvest_tasks.commands.tables import Cell, Column, json_option, show, show_json
from harvest_tasks.operations.intents import PublishedIntent, newest_intents
from harvest_tasks.settings.model import Settings

COLUMNS = (
    Column("Time (UTC)"),
    Column("Mode"),
    Column("Type"),
    Column("Book"),
    Column("Side"),
    Column("Qty", right=True),
    Column("Stop", right=True),
    Column("Reason"),
    Column("Intent", cut=13),
)


def _symbol(_ctx: click.Context, _param: click.Parameter, text: str | None) -> str | None:
    return None if text is None else parse_symbol(text)


@click.command()
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Show at most this many.")
@click.option("--symbol", callback=_symbol, help="Show only intents of this symbol.")
@json_option
def intents(limit: int, symbol: str | None, as_json: bool) -> None:
    """Show the newest intents, newest first.

    A shadow intent is a suggestion that no executor acts on. Qty is the quantity to close; for a stop move, the
    quantity that the stop protects. An Intent id that does not fit is cut.
    """
    with connected() as (settings, client):
        found = newest_intents(client, settings, limit, symbol)
    if as_json:
        show_json(found)
    elif found:
        show(COLUMNS, [_cells(intent) for intent in found])
    else:
        click.echo(_nothing(settings, symbol))


def _cells(intent: PublishedIntent) -> Sequence[Cell]:
    return [
        recent(intent.time_ms),
        Text(intent.mode, "bold" if intent.mode == "live" else ""),
        intent.intent_type,
        intent.book,
        intent.side,
        figure(intent.qty),
        figure(intent.stop_price),
        intent.reason,
        intent.intent_id,
    ]


def _nothing(settings: Settings, symbol: str | None) -> str:
    streams = f"{settings.stream_harvest_suggestions} or {settings.stream_trade_intent}"
    of = f" of {symbol}" if symbol else ""
    return f"No intent{of} in {streams}: `harvest explain BOOK` shows what a position waits for."
