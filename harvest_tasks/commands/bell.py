"""The bell that a command rings once it has put something into inboxes."""

from collections.abc import Sequence

import click
from kombu.exceptions import OperationalError


def ring(books: Sequence[str]) -> None:
    """Have workers look at `books`; without a broker they do by themselves."""
    from harvest_tasks import brain, celery  # reads the environment

    celery.app.set_current()
    try:
        brain.ring(books)
    except OperationalError:
        click.echo("The broker does not answer; workers notice by themselves within a second of running.", err=True)
