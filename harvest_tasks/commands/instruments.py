"""`harvest instruments`."""

import os
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

import click
from rich.text import Text

from harvest_tasks.commands.formatting import printable
from harvest_tasks.commands.session import parse_symbol
from harvest_tasks.commands.tables import Cell, Column, json_option, show, show_json, width
from harvest_tasks.settings.exchange_info import instrument_of
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.symbols import symbol_of
from kernel.positions.quantities import plain

COLUMNS = (
    Column("Symbol"),
    Column("Status"),
    Column("Step", right=True),
    Column("Min qty", right=True),
    Column("Min notional", right=True),
    Column("Tick", right=True),
    Column("Max per order", right=True),
)


@dataclass(frozen=True, slots=True)
class InstrumentRow:
    """The rules of a symbol. None: not listed, or for `max_qty` and `tick` no such limit."""

    symbol: str
    status: str | None
    quote_asset: str | None
    step: Decimal
    min_qty: Decimal
    min_notional: Decimal
    tick: Decimal | None
    max_qty: Decimal | None


def _symbols(_ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(parse_symbol(symbol_of(text)) for text in texts))


@click.command()
@click.argument("names", metavar="[SYMBOL]...", nargs=-1, callback=_symbols)
@click.option("--all", "everything", is_flag=True, help="Every symbol of the file.")
@json_option
def instruments(names: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Show the exchange's rules from INSTRUMENTS_FILE, for SYMBOL or the symbols of SYMBOLS.

    Quantities are multiples of Step. One market order is for at least Min qty and at most Max per order, and worth at
    least Min notional (the exchange's, or HARVEST_MIN_NOTIONAL if that is higher). Stop prices are multiples of Tick.
    With SYMBOLS=* every symbol of the file is shown.
    """
    if names and everything:
        raise click.UsageError("give symbols or --all, not both")
    settings = Settings.from_env(os.environ)
    rows = [_row(settings, name) for name in names or _asked(settings, everything)]
    if as_json:
        show_json(_as_dict(settings, rows))
    else:
        _print(settings, rows)


def _asked(settings: Settings, everything: bool) -> Sequence[str]:
    if everything or settings.symbols is None:
        return sorted(settings.instruments)
    return settings.symbols


def _row(settings: Settings, symbol: str) -> InstrumentRow:
    listing = settings.instruments.get(symbol)
    rules = instrument_of(settings.instruments, symbol, settings.harvest_min_notional)
    return InstrumentRow(
        symbol,
        None if listing is None else listing.status,
        None if listing is None else listing.quote_asset,
        rules.step,
        rules.min_qty,
        rules.min_notional,
        rules.tick,
        rules.max_qty,
    )


def _as_dict(settings: Settings, rows: Sequence[InstrumentRow]) -> dict[str, object]:
    return {
        "file": settings.instruments_file,
        "listed": len(settings.instruments),
        "skipped": settings.instruments.skipped,
        "harvest_min_notional": settings.harvest_min_notional,
        "instruments": rows,
    }


def _print(settings: Settings, rows: Sequence[InstrumentRow]) -> None:
    listed = [row for row in rows if row.status is not None]
    if listed:
        show(COLUMNS, [_cells(row) for row in listed])
        click.echo()
    for line in _notes(settings, [row.symbol for row in rows if row.status is None]):
        click.echo(textwrap.fill(printable(line), width(), break_long_words=False, break_on_hyphens=False))


def _cells(row: InstrumentRow) -> Sequence[Cell]:
    status = row.status or ""
    return [
        row.symbol,
        Text(status, "" if status == "TRADING" else "yellow"),
        plain(row.step),
        plain(row.min_qty),
        f"{plain(row.min_notional)} {row.quote_asset}",
        "" if row.tick is None else plain(row.tick),
        "none" if row.max_qty is None else plain(row.max_qty),
    ]


def _notes(settings: Settings, missing: Sequence[str]) -> Iterator[str]:
    if settings.instruments_file is None:
        yield f"INSTRUMENTS_FILE is not set. {_without_rules(settings)}"
        yield "Fix: save the response of GET /fapi/v1/exchangeInfo to a file, and set INSTRUMENTS_FILE to its path."
        return
    if missing:
        yield f"Not in the file: {', '.join(missing)}. {_without_rules(settings)}"
    skipped = settings.instruments.skipped
    aside = f", {skipped} skipped (names with characters other than A-Z and 0-9)" if skipped else ""
    yield f"{settings.instruments_file}: {len(settings.instruments)} symbols read{aside}."


def _without_rules(settings: Settings) -> str:
    least = settings.harvest_min_notional
    bound = f"an order must be worth {plain(least)} (HARVEST_MIN_NOTIONAL)" if least else "no order is too small"
    decimals = "quantities and stop prices have up to 12 decimals"
    return f"Without the exchange's rules, {decimals}, {bound}, and no order is split."
