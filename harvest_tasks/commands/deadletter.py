"""`harvest deadletter`."""

from collections.abc import Sequence
from dataclasses import asdict

import click

from harvest_tasks.commands.formatting import recent
from harvest_tasks.commands.session import Failure, reached
from harvest_tasks.commands.tables import Cell, Column, json_option, show, show_json
from harvest_tasks.operations import dead_letters, letters
from harvest_tasks.operations.dead_letters import Busy, Kept, Result, Retried, Unknown
from harvest_tasks.operations.letters import Letter
from harvest_tasks.server import keys
from harvest_tasks.settings.model import Settings

COLUMNS = (
    Column("Letter"),
    Column("Time (UTC)"),
    Column("Entry"),
    Column("Size", right=True),
    Column("Reason", wraps=True),
    Column("Begins with", wraps=True),
)
HEAD = 72
"""Characters of an entry that the table shows."""


@click.group()
def deadletter() -> None:
    """Entries that could not be used: what they were, and another try."""


@deadletter.command("list")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Show at most this many.")
@json_option
def list_letters(limit: int, as_json: bool) -> None:
    """Show the newest letters, newest first.

    Entry is the id in the input stream; Size is in bytes.
    """
    with reached() as (_, client):
        found = letters.newest(client)
    if as_json:
        show_json(found[:limit])
    elif found:
        show(COLUMNS, [_cells(letter) for letter in found[:limit]])
        if len(found) > limit:
            click.echo(f"Older letters not shown: {len(found) - limit} (--limit {len(found)})")
    else:
        click.echo(f"No letter in {keys.DEADLETTER}: every entry so far could be used or ignored.")


@deadletter.command()
@click.argument("letter", required=False)
@click.option("--all", "everything", is_flag=True, help="Every letter.")
@json_option
def retry(letter: str | None, everything: bool, as_json: bool) -> None:
    """Put the entry of a letter into the input stream again, if it would be admitted now.

    An entry is admitted at another time only when Harvest itself has changed, such as after an update. First see that
    its producer did not send the fill again by itself: without a trade id, that is another fill. A book that the entry
    froze stays frozen. Exit code 1 if a letter stays.
    """
    if (letter is None) is not everything:
        raise click.UsageError("name one letter, or give --all")
    with reached() as (settings, client):
        try:
            results = dead_letters.retry(client, settings.stream_execution_result, None if letter is None else [letter])
        except Busy as error:
            raise Failure(f"{error}; try again") from error
    if as_json:
        show_json([_as_dict(result) for result in results])
    else:
        _report(results, settings)
    raise click.exceptions.Exit(int(not all(isinstance(result, Retried) for result in results)))


def _cells(letter: Letter) -> Sequence[Cell]:
    head = letter.head.replace("\n", " ")
    head = head if len(head) <= HEAD else f"{head[:HEAD]}..."
    return [letter.letter_id, recent(letter.time_ms), letter.source_id, str(letter.size), letter.reason, head]


def _as_dict(result: Result) -> dict[str, object]:
    return {"retried": isinstance(result, Retried), **asdict(result)}


def _report(results: Sequence[Result], settings: Settings) -> None:
    if not results:
        click.echo("No letter to retry.")
    for result in results:
        click.echo(_line(result, settings))
    for book in sorted({result.book for result in results if isinstance(result, Retried) and result.book}):
        click.echo(f"Once {book} is right, `harvest release {book}` lets it publish again.")


def _line(result: Result, settings: Settings) -> str:
    match result:
        case Retried(letter_id, entry_id):
            return f"{letter_id} is entry {entry_id} of {settings.stream_execution_result}"
        case Kept(letter_id, why):
            return f"{letter_id} stays: {why}"
        case Unknown(letter_id):
            return f"{letter_id} is no letter (any more)"
