"""`harvest explain`."""

from difflib import get_close_matches
from typing import Final

import click

from harvest_tasks.commands.explain_text import print_report
from harvest_tasks.commands.session import Failure, connected, parse_book
from harvest_tasks.commands.tables import json_option, show_json
from harvest_tasks.fills import inbox
from harvest_tasks.fills.inbox import UnreadableBook
from harvest_tasks.operations.book_report import as_dict, read_book_report
from harvest_tasks.operations.positions import Book, is_tracked, read_books
from harvest_tasks.server.client import Client

RECORDS: Final = 10


@click.command()
@click.argument("book", callback=parse_book)
@click.option(
    "--records",
    type=click.IntRange(1, 1000),
    default=RECORDS,
    show_default=True,
    help="How many journal records to show.",
)
@json_option
def explain(book: str, records: int, as_json: bool) -> None:
    """Explain BOOK: its risk and R, what each rung waits for, what holds it back, and the last decisions.

    BOOK is a symbol such as BTCUSDT, or BTCUSDT:LONG and BTCUSDT:SHORT in hedge mode. Writes nothing.
    """
    with connected() as (settings, client):
        report = read_book_report(client, settings, _found(client, book), records)
    if as_json:
        show_json(as_dict(report))
    else:
        print_report(report)


def _found(client: Client, name: str) -> Book:
    if not is_tracked(client, name):
        known = inbox.known_books(client)
        near = [book for book in known if book.startswith(f"{name}:")] or get_close_matches(name, known)
        hint = f"did you mean {' or '.join(near)}?" if near else "`harvest positions --all` lists every tracked book"
        raise Failure(f"{name} is not tracked: {hint}")
    (book,) = read_books(client, [name])
    if isinstance(book, UnreadableBook):
        raise Failure(book.why)
    return book
