"""`harvest doctor`."""

import logging
import os
import sys
from collections.abc import Sequence
from time import time
from typing import Final

import click

from harvest_tasks.commands import session
from harvest_tasks.commands.exit_codes import UNREACHABLE
from harvest_tasks.commands.metrics import exporting
from harvest_tasks.commands.tables import Column, json_option, show, show_json
from harvest_tasks.metrics.scrape import Scrape
from harvest_tasks.operations.diagnosis import CHECKS, Finding, diagnose
from harvest_tasks.settings.model import Settings

COLUMNS: Final = (Column("About"), Column("Wrong", wraps=True), Column("Fix", wraps=True))


@click.command()
@click.option("--all", "everything", is_flag=True, help="Show everything that is wrong, not only the first.")
@json_option
def doctor(everything: bool, as_json: bool) -> None:
    """Find the first thing that is wrong, and how to fix it.

    Checks the server, the broker, workers, beat, the input, market states and positions. It writes nothing; it asks the
    workers which queues they consume. Exit code 1 if anything is wrong, 3 without a server.
    """
    settings = Settings.from_env(os.environ)
    logging.basicConfig(level="WARNING", format="%(message)s", stream=sys.stderr)
    with exporting(settings) as exporter:
        metrics = list(exporter.collect())
        consumed = session.consumed_queues() if exporter.has_broker else None
        found = diagnose(Scrape(metrics, consumed, time()))
    if as_json:
        show_json(found)
    elif everything and found:
        show(COLUMNS, [(finding.subject, finding.problem, finding.remedy) for finding in found])
    else:
        _print(found)
    if not exporter.is_up:
        raise click.exceptions.Exit(UNREACHABLE)
    raise click.exceptions.Exit(int(bool(found)))


def _print(found: Sequence[Finding]) -> None:
    if not found:
        click.echo(f"Nothing is wrong: {len(CHECKS) + 1} checks passed.")
        return
    first, *others = found
    click.echo(f"{first.subject}: {first.problem}")
    click.echo(f"Fix: {first.remedy}")
    if others:
        click.echo(f"{len(others)} more may follow from it: run harvest doctor again, or see harvest doctor --all.")
