"""What commands share: symbols and books as arguments, settings and a client, waking workers, and how commands fail."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, Final

import click
from kombu.exceptions import OperationalError
from redis.exceptions import ResponseError

from harvest_tasks.server.client import Client, connect
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.symbols import InvalidBook, InvalidSymbol, valid_book, valid_symbol

log = logging.getLogger(__name__)

REPLY_SEC: Final = 1.0
"""How long workers have to answer which queues they consume."""


class Failure(click.ClickException):
    """One line on stderr that says what is wrong and what to do; exit code 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"harvest: {self.format_message()}", file=file, err=True)


def parse_symbol(text: str) -> str:
    """The symbol that a user typed, in either case. Raises click's `BadParameter`."""
    try:
        return valid_symbol(text.upper())
    except InvalidSymbol as error:
        raise click.BadParameter(str(error)) from error


def parse_book(_ctx: click.Context, _param: click.Parameter, text: str | None) -> str | None:
    """The book that a user typed, in either case; the callback of an argument. Raises click's `BadParameter`."""
    try:
        return None if text is None else valid_book(text.upper())
    except InvalidBook as error:
        raise click.BadParameter(str(error)) from error


@contextmanager
def connected() -> Iterator[tuple[Settings, Client]]:
    """The settings and a client of the server, closed at the end. Raises `SettingsError`."""
    settings = Settings.from_env(os.environ)
    client = connect(settings.redis_url)
    try:
        yield settings, client
    finally:
        client.close()


def wake_workers(books: Sequence[str]) -> None:
    """Ask workers to look at `books` now; without a broker they do so within a second anyway."""
    from harvest_tasks import celery  # reads the environment
    from harvest_tasks.messaging import wakeups

    celery.app.set_current()
    try:
        wakeups.wake(books)
    except OperationalError:
        click.echo("The broker does not answer. Running workers notice the change within a second anyway.", err=True)


def consumed_queues() -> set[str] | None:
    """The queues that workers consume, by those that answer in time; None where they cannot be asked."""
    from harvest_tasks.celery import app  # reads the environment

    try:
        replies = app.control.inspect(timeout=REPLY_SEC).active_queues() or {}
    except (OperationalError, ResponseError) as error:
        log.warning("cannot ask workers which queues they consume: %s", error)
        return None
    return {queue["name"] for queues in replies.values() for queue in queues}
