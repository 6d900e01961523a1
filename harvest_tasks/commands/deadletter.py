"""`harvest deadletter`."""

from collections.abc import Sequence
from dataclasses import asdict

import click

from harvest_tasks.commands.formatting import recent
from harvest_tasks.commands.session import Failure, connected
from harvest_tasks.commands.tables import Cell, Column, json_option, show, show_json
from harvest_tasks.operations.dead_letters import (
    DeadLetterMessage,
    Kept,
    NotFound,
    Retried,
    RetryResult,
    StreamBusy,
    newest_dead_letters,
    retry_dead_letters,
)
from harvest_tasks.server import keys
from harvest_tasks.settings.model import Settings

COLUMNS = (
    Column("Id"),
    Column("Time (UTC)"),
    Column("Entry"),
    Column("Size", right=True),
    Column("Reason", wraps=True),
    Column("Begins with", wraps=True),
)
SHOWN_CHARS = 72
"""Characters of an entry that the table shows."""


@click.group()
def deadletter() -> None:
    """Entries that Harvest could not use: list them, and retry them."""


@deadletter.command("list")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Show at most this many.")
@json_option
def list_messages(limit: int, as_json: bool) -> None:
    """Show the newest dead-letter messages, newest first.

    Id is the message's own id, for `harvest deadletter retry`. Entry is the refused entry's id in the input stream.
    Size is in bytes.
    """
    with connected() as (_, client):
        found = newest_dead_letters(client)
    if as_json:
        show_json(found[:limit])
    elif found:
        show(COLUMNS, [_cells(message) for message in found[:limit]])
        if len(found) > limit:
            click.echo(f"Older messages not shown: {len(found) - limit} (--limit {len(found)})")
    else:
        click.echo(f"No message in {keys.DEADLETTER}: every entry so far was applied or ignored.")


@deadletter.command()
@click.argument("message_id", metavar="[ID]", required=False)
@click.option("--all", "everything", is_flag=True, help="Every dead-letter message.")
@json_option
def retry(message_id: str | None, everything: bool, as_json: bool) -> None:
    """Retry the entry of dead-letter message ID.

    Adds it to the input stream again, if Harvest would accept it now. A refused entry is accepted later only after a
    change of Harvest itself, such as an update. First check that its producer has not sent the fill again: without a
    trade id, that counts as another fill. A book that the entry froze stays frozen. Exit code 1 if a message cannot be
    retried.
    """
    if (message_id is None) is not everything:
        raise click.UsageError("name one message, or give --all")
    message_ids = None if message_id is None else [message_id]
    with connected() as (settings, client):
        try:
            results = retry_dead_letters(client, settings.stream_execution_result, message_ids)
        except StreamBusy as error:
            raise Failure(f"{error}. Fix: try again") from error
    if as_json:
        show_json([_as_dict(result) for result in results])
    else:
        _print(results, settings)
    raise click.exceptions.Exit(int(not all(isinstance(result, Retried) for result in results)))


def _cells(message: DeadLetterMessage) -> Sequence[Cell]:
    head = message.head.replace("\n", " ")
    head = head if len(head) <= SHOWN_CHARS else f"{head[:SHOWN_CHARS]}..."
    time = recent(message.time_ms)
    return [message.letter_id, time, message.source_id, str(message.size), message.reason, head]


def _as_dict(result: RetryResult) -> dict[str, object]:
    return {"retried": isinstance(result, Retried), **asdict(result)}


def _print(results: Sequence[RetryResult], settings: Settings) -> None:
    if not results:
        click.echo("No dead-letter message to retry.")
    for result in results:
        click.echo(_line(result, settings))
    for book in sorted({result.book for result in results if isinstance(result, Retried) and result.book}):
        click.echo(f"Once the position of {book} is right, `harvest release {book}` lets it publish again.")


def _line(result: RetryResult, settings: Settings) -> str:
    match result:
        case Retried(message_id, entry_id):
            return f"{message_id}: retried as entry {entry_id} of {settings.stream_execution_result}"
        case Kept(message_id, why):
            return f"{message_id}: not retried: {why}"
        case NotFound(message_id):
            return f"{message_id}: no such dead-letter message; it may have been retried before"
