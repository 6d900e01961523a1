"""Harvest working on a backlog: the watcher and the brain in parallel as in production, or one after the other.

The wake-ups go through a queue as long as Celery's, but not through Celery. Runs with real workers include it, see
`flower`.
"""

import multiprocessing as mp
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from time import monotonic, sleep
from typing import Final

from harvest_tasks.fills.brain import PROCESS_FOR_SEC, Brain
from harvest_tasks.fills.watcher import watch
from harvest_tasks.messaging.wakeups import BOOKS_PER_WAKEUP
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client, connect
from harvest_tasks.settings.model import Settings

# Fork is cheap, and safe here: neither parent nor child has threads.
_FORK: Final = mp.get_context("fork")
POLL_SEC: Final = 0.005


class AllApplied(Exception):
    """All entries are applied."""


class Applier:
    """Processes wake-ups until `expected` entries are applied, then raises `AllApplied`."""

    def __init__(self, settings: Settings, expected: int, on_progress: Callable[[int], None] | None = None) -> None:
        """Calls `on_progress` with the number of applied entries after each wake-up."""
        self._on_progress = on_progress
        self._brain = Brain(connect(settings.redis_url), settings)
        self._expected = expected
        self.applied = 0
        self.intents = 0

    def process(self, books: Sequence[str]) -> None:
        """Process at most `BOOKS_PER_WAKEUP` books at a time, as many as the watcher puts into one wake-up."""
        for start in range(0, len(books), BOOKS_PER_WAKEUP):
            waiting = list(books[start : start + BOOKS_PER_WAKEUP])
            while waiting:
                tally, waiting = self._brain.process(waiting, monotonic() + PROCESS_FOR_SEC)
                assert not tally["failed"], tally
                self.applied += tally["applied"] + tally["duplicate"]
                self.intents += tally["intents"]
            if self._on_progress:
                self._on_progress(self.applied)
        if self.applied >= self._expected:
            raise AllApplied


def in_one_process(settings: Settings, expected: int, on_progress: Callable[[int], None] | None = None) -> Applier:
    """Watch for a slice, then process the woken books, and so on, as a worker with one slot would."""
    applier, client = Applier(settings, expected, on_progress), connect(settings.redis_url)
    try:
        while True:
            applier.process(_watch_slice(client, settings))
    except AllApplied:
        return applier


class _AllMoved(Exception):
    """The watcher has moved all entries and would wait for more."""


def _watch_slice(client: Client, settings: Settings) -> list[str]:
    """Run one watcher slice, and return the books it woke."""
    notified: dict[str, None] = {}

    def wake(books: Sequence[str]) -> None:
        notified.update(dict.fromkeys(books))
        (group,) = client.xinfo_groups(settings.stream_execution_result)
        if not group["lag"]:
            raise _AllMoved

    with suppress(_AllMoved):
        watch(client, settings, settings.watch_slice_sec, wake)
    return list(notified)


class TwoProcesses:
    """A watcher and a brain, started before the run, so that it does not include the start of Python."""

    def __init__(self, settings: Settings, expected: int) -> None:
        wakeups: Queue[tuple[str, ...]] = _FORK.Queue()
        self._go = _FORK.Event()
        self._watcher = _FORK.Process(target=_watch, args=(settings, wakeups, self._go))
        self._brain = _FORK.Process(target=_apply, args=(settings, expected, wakeups, self._go))
        self._watcher.start()
        self._brain.start()

    def run(self) -> None:
        """Run until all entries are applied."""
        self._go.set()
        self._brain.join()
        # It waits for more input, which is not part of the run.
        self._watcher.kill()
        self._watcher.join()
        assert self._brain.exitcode == 0


def _watch(settings: Settings, wakeups: "Queue[tuple[str, ...]]", go: Event) -> None:
    client = connect(settings.redis_url)
    go.wait()
    while True:
        watch(client, settings, settings.watch_slice_sec, wakeups.put)


def _apply(settings: Settings, expected: int, wakeups: "Queue[tuple[str, ...]]", go: Event) -> None:
    applier = Applier(settings, expected)
    go.wait()
    with suppress(AllApplied):
        while True:
            applier.process(wakeups.get())


class SeveralWorkers:
    """A watcher and several brains on one queue of wake-ups, like workers on several hosts; started before a run."""

    def __init__(self, settings: Settings, brains: int) -> None:
        wakeups: Queue[tuple[str, ...]] = _FORK.Queue()
        self._client = connect(settings.redis_url)
        self._go = _FORK.Event()
        self._processes = [_FORK.Process(target=_watch, args=(settings, wakeups, self._go), daemon=True)]
        for _ in range(brains):
            self._processes.append(
                _FORK.Process(target=_apply_for_ever, args=(settings, wakeups, self._go), daemon=True)
            )
        for process in self._processes:
            process.start()

    def run(self, entries: int) -> None:
        """Run until `entries` are applied."""
        self._go.set()
        while int(self._client.hget(keys.COUNTS, "applied") or 0) < entries:
            sleep(POLL_SEC)
            assert all(process.is_alive() for process in self._processes)
        for process in self._processes:
            process.kill()
            process.join()


def _apply_for_ever(settings: Settings, wakeups: "Queue[tuple[str, ...]]", go: Event) -> None:
    _apply(settings, sys.maxsize, wakeups, go)
