"""What every command needs: the settings, the server, the workers, and a way to say that it did not succeed."""

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

log = logging.getLogger(__name__)

ANSWER_SEC: Final = 1.0
"""How long workers have to say what they consume."""


class Failure(click.ClickException):
    """One line on stderr that says what is wrong and what to do; exit code 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"harvest: {self.format_message()}", file=file, err=True)


@contextmanager
def reached() -> Iterator[tuple[Settings, Client]]:
    """The settings, and a client that is closed in the end. Raises `SettingsError`."""
    settings = Settings.from_env(os.environ)
    client = connect(settings.redis_url)
    try:
        yield settings, client
    finally:
        client.close()


def wake(books: Sequence[str]) -> None:
    """Have workers look at `books`; without a broker they do by themselves."""
    from harvest_tasks import celery  # reads the environment
    from harvest_tasks.messaging import wakeups

    celery.app.set_current()
    try:
        wakeups.wake(books)
    except OperationalError:
        click.echo("The broker does not answer; workers notice by themselves within a second of running.", err=True)


def consumed() -> set[str] | None:
    """The queues that a worker consumes, as far as workers answer in time; None if nobody may ask them."""
    from harvest_tasks.celery import app  # reads the environment

    try:
        answers = app.control.inspect(timeout=ANSWER_SEC).active_queues() or {}
    except (OperationalError, ResponseError) as error:
        log.warning("workers cannot be asked what they consume: %s", error)
        return None
    return {queue["name"] for queues in answers.values() for queue in queues}
