"""`harvest proof`."""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from time import time
from typing import Final

import click

from harvest_tasks.commands import session
from harvest_tasks.commands.exit_codes import UNREACHABLE
from harvest_tasks.commands.finite import FiniteRange
from harvest_tasks.commands.metrics import exporting
from harvest_tasks.commands.session import Failure
from harvest_tasks.commands.tables import Column, json_option, show, show_json
from harvest_tasks.metrics.exporter import Exporter
from harvest_tasks.metrics.scrape import Scrape
from harvest_tasks.operations.proof import suite
from harvest_tasks.operations.proof.check import CheckResult, Verdict
from harvest_tasks.operations.proof.report import markdown, summary
from harvest_tasks.operations.proof.suite import Deployment
from harvest_tasks.server.client import connect
from harvest_tasks.settings.model import Settings

COLUMNS: Final = (Column("Check"), Column("Verdict"), Column("Seen", wraps=True))


@click.command()
@click.option(
    "--seconds", type=FiniteRange(0, 3600), default=30.0, show_default=True, help="How long to watch proposals."
)
@click.option("--active", is_flag=True, help="Also run the real code in an empty database of the server.")
@click.option(
    "--report", type=click.Path(dir_okay=False, path_type=Path), help="Also write the results as Markdown to this file."
)
@json_option
def proof(seconds: float, active: bool, report: Path | None, as_json: bool) -> None:
    """Check the whole deployment: code, rights, processes, input, proposals, intents, guards.

    Writes nothing, except with --active, which deletes its keys afterwards; asks the workers which queues they consume.
    Exit code 1 if a check failed, 3 without a server.
    """
    settings = Settings.from_env(os.environ)
    logging.basicConfig(level="WARNING", format="%(message)s", stream=sys.stderr)
    results = [*_seen(settings, seconds), *suite.rehearsal_checks(settings, os.environ, active=active)]
    if report is not None:
        _write(report, markdown(results, settings, time()))
    if as_json:
        show_json(results)
    else:
        _print(results)
    raise click.exceptions.Exit(int(bool(_failed(results))))


def _seen(settings: Settings, seconds: float) -> list[CheckResult]:
    client = connect(settings.redis_url)
    try:
        client.ping()
        with exporting(settings) as exporter:
            before = Scrape(exporter.collect(), None, time())
            if not exporter.is_up:
                click.echo(
                    "harvest: the server of REDIS_URL does not answer. Fix: start it, or correct REDIS_URL", err=True
                )
                raise click.exceptions.Exit(UNREACHABLE)
            return suite.read_only_checks(Deployment(client, settings, lambda: _scrape(exporter)), before, seconds)
    finally:
        client.close()


def _scrape(exporter: Exporter) -> Scrape:
    metrics = list(exporter.collect())
    return Scrape(metrics, session.consumed_queues() if exporter.has_broker else None, time())


def _print(results: Sequence[CheckResult]) -> None:
    show(COLUMNS, [(result.subject, result.verdict, result.seen) for result in results])
    for result in _failed(results):
        click.echo(f"{result.subject}: {result.seen}\nFix: {result.remedy}")
    click.echo(f"{summary(results)}.")


def _failed(results: Sequence[CheckResult]) -> list[CheckResult]:
    return [result for result in results if result.verdict is Verdict.FAILED]


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failure(f"{file} cannot be written: {error.strerror}. Fix: choose another file for --report") from error
