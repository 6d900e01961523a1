"""What commands print: tables for people, JSON for programs.

In JSON, times are integers (unix ms) and every other number is text with the exact decimal.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from decimal import Decimal
from typing import Any, Final

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from harvest_tasks.commands.formatting import printable
from kernel.positions.quantities import plain

GAP: Final = 2
"""Between columns: one character of padding, and one that the box draws."""
WRAPPED: Final = 24
"""The most characters that a wrapping column asks for."""

Cell = str | Text

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON with exact numbers, for programs.")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. `wraps`: long text is broken over lines. `cut`: where not all columns fit side by side, only
    that many characters are shown. Any other column keeps its width.
    """

    title: str
    right: bool = False
    wraps: bool = False
    cut: int | None = None


def width() -> int:
    """The width of the terminal, or COLUMNS, in characters."""
    return shutil.get_terminal_size((120, 24)).columns


def console() -> Console:
    return Console(width=width(), highlight=False, markup=False, emoji=False)


def show(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> None:
    """Print a table without the columns that are empty in every row.

    Columns that do not fit the terminal follow in further tables, each starting with the first column again.
    """
    texts = [[_text(cell) for cell in row] for row in rows]
    parts = list(_parts(columns, texts))
    if len(parts) > 1:
        texts = [[_cut(cell, column) for cell, column in zip(row, columns, strict=True)] for row in texts]
        parts = list(_parts(columns, texts))
    for i, part in enumerate(parts):
        if i:
            click.echo()
        console().print(_table([columns[i] for i in part], [[row[i] for i in part] for row in texts]))


def show_json(value: object, *, on_one_line: bool = False) -> None:
    click.echo(json.dumps(value, indent=None if on_one_line else 2, default=_plain))


def _text(cell: Cell) -> Text:
    return cell if isinstance(cell, Text) else Text(printable(cell))


def _cut(cell: Text, column: Column) -> Text:
    return cell if column.cut is None else cell[: column.cut]


def _parts(columns: Sequence[Column], rows: Sequence[Sequence[Text]]) -> Iterator[list[int]]:
    """Indexes of the columns that fit side by side, each part beginning with 0."""
    widths = [_width(column, [row[i] for row in rows]) for i, column in enumerate(columns)]
    part, used = [0], widths[0]
    for i in range(1, len(columns)):
        if not any(row[i].plain for row in rows):
            continue
        if len(part) > 1 and used + GAP + widths[i] > width():
            yield part
            part, used = [0], widths[0]
        part.append(i)
        used += GAP + widths[i]
    yield part


def _width(column: Column, cells: Sequence[Text]) -> int:
    longest = max((cell.cell_len for cell in cells), default=0)
    return max(len(column.title), min(longest, WRAPPED) if column.wraps else longest)


def _table(columns: Sequence[Column], rows: Sequence[Sequence[Text]]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold", padding=(0, GAP - 1, 0, 0))
    for column in columns:
        justify: JustifyMethod = "right" if column.right else "left"
        table.add_column(column.title, justify=justify, no_wrap=not column.wraps, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return plain(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (frozenset, set)):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
