"""Wake-ups: messages that say which books to process, and nothing else."""

from collections.abc import Sequence
from typing import Final

from harvest_tasks.celery import app

BOOKS_PER_WAKEUP: Final = 200


def wake(books: Sequence[str]) -> None:
    """Have a brain worker process `books` soon."""
    for start in range(0, len(books), BOOKS_PER_WAKEUP):
        chunk = list(books[start : start + BOOKS_PER_WAKEUP])
        # By name: the module of the task imports this one.
        app.send_task("harvest_tasks.brain.process_fills", (chunk,), ignore_result=True)
