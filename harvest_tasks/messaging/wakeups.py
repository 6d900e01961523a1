"""Bells: they say which books to look at, and nothing else."""

from collections.abc import Sequence
from typing import Final

from harvest_tasks.celery import app

BOOKS_PER_WAKEUP: Final = 200


def wake(books: Sequence[str]) -> None:
    """Have `books` looked at soon."""
    for start in range(0, len(books), BOOKS_PER_WAKEUP):
        chunk = list(books[start : start + BOOKS_PER_WAKEUP])
        # By name, since the task itself stands on what calls this.
        app.send_task("harvest_tasks.brain.process_fills", (chunk,), ignore_result=True)
