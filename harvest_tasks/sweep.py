"""The sweep: each second, what bells may have missed, and prices that come by key instead of by stream."""

import logging
from collections import Counter
from typing import Any, cast

from harvest_tasks import keys
from harvest_tasks.brain import ring
from harvest_tasks.celery import app
from harvest_tasks.clock import server_ms
from harvest_tasks.connection import Client, shared
from harvest_tasks.settings import current
from harvest_tasks.symbols import of_book
from harvest_tasks.tracking.controls import deliver, open_books
from harvest_tasks.tracking.marks import read_marks
from kernel.entry import Mark

log = logging.getLogger(__name__)


@app.task(name="harvest_tasks.sweep.evaluate_positions", ignore_result=True)
def evaluate_positions() -> None:
    """Bring fresh marks to open positions; ring for whatever waits, and for what a guard held back."""
    client = shared(current().redis_url)
    summary = deliver_marks(client)
    books = waiting_books(client) | held_books(client)
    ring(sorted(books))
    if summary:
        log.info("evaluated rung=%d %s", len(books), " ".join(f"{k}={n}" for k, n in sorted(summary.items())))


def waiting_books(client: Client) -> set[str]:
    """Books whose inbox is not empty: their bell was lost, or is still on its way."""
    return cast("set[str]", client.smembers(keys.WAITING))


def held_books(client: Client) -> set[str]:
    """Books with a due intent whose guard may have changed its mind while the mark is still fresh."""
    now_ms = server_ms(client)
    client.zremrangebyscore(keys.HELD, "-inf", f"({now_ms}")
    return set(cast("list[str]", client.zrange(keys.HELD, 0, -1)))


def deliver_marks(client: Client) -> Counter[str]:
    """Put marks newer than the tracked ones into the inboxes of open books; what was scanned, by result."""
    books = open_books(client)
    marks = read_marks(client, sorted({of_book(book) for book in books}))
    newer: dict[str, Mark] = {}
    summary: Counter[str] = Counter()
    for book, tracked_ms in zip(books, _tracked_ms(client, books), strict=True):
        mark = marks[of_book(book)]
        if isinstance(mark, str):
            summary[f"mark_{mark}"] += 1
        elif mark.time_ms <= tracked_ms:
            summary["mark_not_newer"] += 1
        else:
            newer[book] = mark
    deliver(client, newer)
    if books:
        summary |= Counter(scanned=len(books), evaluated=len(newer))
    return summary


def _tracked_ms(client: Client, books: list[str]) -> list[int]:
    with client.pipeline(transaction=False) as pipe:
        for book in books:
            pipe.hget(keys.position(book), "mark_ms")
        replies: list[Any] = pipe.execute()
    return [int(reply or 0) for reply in replies]
