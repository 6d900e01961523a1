"""The bell that a command rings once it has put something into inboxes."""

from collections.abc import Sequence

import click
from kombu.exceptions import OperationalError


def ring(books: Sequence[str]) -> None:
    """Have workers look at `books`; without a broker they do by themselves."""
    from harvest_tasks import celery  # reads the environment
    from harvest_tasks.messaging import wakeups

    celery.app.set_current()
    try:
        wakeups.ring(books)
    except OperationalError:
        click.echo("The broker does not answer; workers notice by themselves within a second of running.", err=True)
