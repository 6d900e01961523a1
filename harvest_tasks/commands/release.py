"""`harvest release`."""

from collections.abc import Sequence

import click

from harvest_tasks.commands.formatting import printable
from harvest_tasks.commands.session import Failure, connected, parse_book, wake_workers
from harvest_tasks.fills import inbox
from harvest_tasks.fills.inbox import UnreadableBook
from harvest_tasks.operations import positions
from harvest_tasks.operations.positions import Book
from harvest_tasks.server.client import Client
from harvest_tasks.server.clock import server_ms
from harvest_tasks.wire import symbols
from harvest_tasks.wire.symbols import symbol_of


@click.command()
@click.argument("book", required=False, callback=parse_book)
@click.option("--all", "everything", is_flag=True, help="Release every book, and clear the record of lost input.")
@click.option(
    "--switch-mode", is_flag=True, help="Let the next fill of a flat symbol decide between one-way and hedge mode."
)
def release(book: str | None, everything: bool, switch_mode: bool) -> None:
    """Let a frozen book publish again.

    A book freezes when one of its entries was refused or lost, so its position may be wrong. Release it once you have
    checked that the position is right.

    The first fill of a symbol decides whether it is tracked in one-way or in hedge mode; fills of the other mode are
    dead-lettered. If the account changed its mode: `harvest release SYMBOL --switch-mode`, then
    `harvest deadletter retry --all`.
    """
    if (book is None) is not everything:
        raise click.UsageError("name one book, or give --all")
    if everything and switch_mode:
        raise click.UsageError("--switch-mode takes one symbol")
    with connected() as (_, client):
        if book is None:
            wake_workers(_release_all(client))
        elif switch_mode:
            _switch_mode(client, symbol_of(book))
        else:
            wake_workers([_release(client, book)])


def _switch_mode(client: Client, symbol: str) -> None:
    known = [name for name in symbols.possible_books(symbol) if name in inbox.known_books(client)]
    if not known:
        raise Failure(f"{symbol} is not tracked: its next fill decides the mode anyway")
    busy = inbox.forget_books(client, known)
    if busy:
        raise Failure(f"not flat, or with entries to apply: {', '.join(busy)}; only a flat symbol can change its mode")
    click.echo(f"{symbol}: the next fill decides whether it is tracked in one-way or in hedge mode.")


def _release(client: Client, name: str) -> str:
    if not positions.is_tracked(client, name):
        raise Failure(f"{name} is not tracked. Fix: choose one that harvest positions --all lists")
    (found,) = positions.read_books(client, [name])
    if isinstance(found, UnreadableBook):
        raise Failure(found.why)
    if not found.position.frozen:
        raise Failure(f"{name} is not frozen{_not_yet(found)}")
    inbox.release(client, name, server_ms(client))
    click.echo(f"{name} is released. It was frozen: {printable(found.position.frozen)}")
    return name


def _not_yet(book: Book) -> str:
    """An entry in the inbox may be a freeze."""
    return f" yet; entries that no worker has applied: {book.waiting}" if book.waiting else ""


def _release_all(client: Client) -> Sequence[str]:
    found = positions.read_books(client, inbox.known_books(client))
    frozen = [book.position for book in found if isinstance(book, Book) and book.position.frozen]
    # Those that are not frozen get it, too: a freeze may wait in an inbox.
    released = inbox.release_all(client, server_ms(client))
    click.echo(f"Books released: {len(released)}, of which frozen: {len(frozen)}")
    for position in frozen:
        click.echo(f"  {position.book}: {printable(position.frozen)}")
    return released
