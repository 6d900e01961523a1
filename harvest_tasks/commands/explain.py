"""`harvest explain`."""

from dataclasses import replace
from difflib import get_close_matches
from typing import Final

import click

from harvest_tasks.commands.explain_text import print_report
from harvest_tasks.commands.session import Failure, reached
from harvest_tasks.commands.tables import json_option, show_json
from harvest_tasks.fills import inbox
from harvest_tasks.fills.ledger import Ledger
from harvest_tasks.fills.symbol_rules import Reference
from harvest_tasks.operations import explanation, journal, positions
from harvest_tasks.operations.book_report import BookReport, as_dict
from harvest_tasks.operations.positions import Book, UnreadableBook
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings

RECORDS: Final = 10


@click.command()
@click.argument("book")
@click.option("--records", type=click.IntRange(1, 1000), default=RECORDS, show_default=True, help="Journal records.")
@json_option
def explain(book: str, records: int, as_json: bool) -> None:
    """Explain BOOK: its risk and R, what each rung waits for, what holds it back, and what was decided last.

    BOOK is a symbol such as BTCUSDT, or BTCUSDT:LONG and BTCUSDT:SHORT in hedge mode. Nothing is changed.
    """
    with reached() as (settings, client):
        account = _account(client, settings, _found(client, book.upper()), records)
    if as_json:
        show_json(as_dict(account))
    else:
        print_report(account)


def _found(client: Client, name: str) -> Book:
    if not positions.is_tracked(client, name):
        known = inbox.known_books(client)
        near = [book for book in known if book.startswith(f"{name}:")] or get_close_matches(name, known)
        hint = f"did you mean {' or '.join(near)}?" if near else "`harvest positions --all` lists what is"
        raise Failure(f"{name} is not tracked: {hint}")
    (book,) = positions.read_books(client, [name])
    if isinstance(book, UnreadableBook):
        raise Failure(book.problem)
    return book


def _account(client: Client, settings: Settings, book: Book, records: int) -> BookReport:
    position = book.position
    rules = Reference(client, settings).rules([position.symbol])[position.symbol]
    guards = Ledger(client, settings).load([]).guards
    terms = positions.risk_terms(client, settings, position.symbol)
    out = positions.already_out(client, explanation.wanted(position, rules, guards))
    guards = replace(guards, published=out)
    return BookReport(
        row=positions.position_row(book, rules, guards.now_ms),
        position=position,
        explained=explanation.explain(position, rules, guards, terms),
        guards=guards,
        rules=rules,
        settings=settings,
        records=journal.newest_journal_records(client, position.book, records),
    )
