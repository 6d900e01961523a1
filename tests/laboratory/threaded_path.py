"""The path without Celery, at full speed: a watcher and two workers in threads that begin again whatever failed.

They log in as the user of the workers that do the same.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from time import monotonic, sleep
from typing import Final

from redis.exceptions import RedisError
from users import GuardedServer, denied

from harvest_tasks.fills.brain import Brain
from harvest_tasks.fills.sweep import held_books, waiting_books
from harvest_tasks.fills.watcher import watch
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings
from laboratory.invariants import Violation

WORKERS: Final = 2
SLICE_SEC: Final = 0.5
SWEEP_SEC: Final = 0.02
AFTER_FAILURE_SEC: Final = 0.005

_log = logging.getLogger("harvest_tasks")


def not_allowed(owner: Client) -> list[Violation]:
    """What anybody was refused since the server started, in cases in which everything is allowed that is needed."""
    return [Violation("I13", "other", f"not allowed: {refusal}") for refusal in denied(owner)]


class Hands:
    """At work from the start to the end of a `with`. `failed` counts what ended a task as Redis's errors may, by type;
    `unexpected` is what no task may end with.
    """

    def __init__(self, server: GuardedServer, settings: Settings) -> None:
        self.failed: Counter[str] = Counter()
        self.unexpected: list[str] = []
        self._settings = settings
        self._clients = [server.users.client(server, "harvest-brain") for _ in range(WORKERS + 1)]
        self._bells: set[str] = set()
        self._ringing = threading.Condition()
        self._over = threading.Event()
        works: list[Callable[[Client], None]] = [self._watch, *[self._work] * WORKERS]
        self._threads = [
            threading.Thread(target=self._live, args=(client, work), daemon=True)
            for client, work in zip(self._clients, works, strict=True)
        ]

    def __enter__(self) -> "Hands":
        # That tasks fail is the point.
        _log.setLevel(logging.CRITICAL + 1)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        for client in self._clients:
            client.close()
        _log.setLevel(logging.NOTSET)

    def _live(self, client: Client, work: Callable[[Client], None]) -> None:
        while not self._over.is_set():
            try:
                work(client)
            except RedisError as error:
                self.failed[type(error).__name__] += 1
                sleep(AFTER_FAILURE_SEC)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
                self.unexpected.append(repr(error))
                return

    def _watch(self, client: Client) -> None:
        if not watch(client, self._settings, SLICE_SEC, self._ring):
            sleep(AFTER_FAILURE_SEC)

    def _work(self, client: Client) -> None:
        """What bells name, or else what a sweep finds."""
        books = self._rung() or sorted(waiting_books(client) | held_books(client))
        _, unfinished = Brain(client, self._settings).process(books, monotonic() + SLICE_SEC)
        self._ring(unfinished)

    def _ring(self, books: Sequence[str]) -> None:
        with self._ringing:
            self._bells.update(books)
            self._ringing.notify()

    def _rung(self) -> list[str]:
        with self._ringing:
            if not self._bells:
                self._ringing.wait(SWEEP_SEC)
            books = sorted(self._bells)
            self._bells.clear()
        return books
