"""Harvest at work on a backlog: the watcher and the brain as a deployment runs them, or one after the other.

The bells go through a queue as long as Celery's, but not through Celery: what that adds is in the runs with real
workers, see `flower`.
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

# Cheap, and safe here: neither parent nor child has threads.
_FORK: Final = mp.get_context("fork")
LOOK_EVERY_SEC: Final = 0.005


class Applied(Exception):
    """Everything is."""


class Applier:
    """Answers bells until `expected` entries are applied. Raises `Applied` then."""

    def __init__(self, settings: Settings, expected: int, seen: Callable[[int], None] | None = None) -> None:
        """`seen` is told, after each bell, how many entries are applied."""
        self._seen = seen
        self._brain = Brain(connect(settings.redis_url), settings)
        self._expected = expected
        self.applied = 0
        self.intents = 0

    def answer(self, books: Sequence[str]) -> None:
        """One bell of at most `BOOKS_PER_BELL` books at a time, as the watcher rings them."""
        for start in range(0, len(books), BOOKS_PER_WAKEUP):
            waiting = list(books[start : start + BOOKS_PER_WAKEUP])
            while waiting:
                tally, waiting = self._brain.process(waiting, monotonic() + PROCESS_FOR_SEC)
                assert not tally["failed"], tally
                self.applied += tally["applied"] + tally["duplicate"]
                self.intents += tally["intents"]
            if self._seen:
                self._seen(self.applied)
        if self.applied >= self._expected:
            raise Applied


def in_one_process(settings: Settings, expected: int, seen: Callable[[int], None] | None = None) -> Applier:
    """Watch for a slice, then answer what it rang, and so on: as a worker with one slot would."""
    applier, client = Applier(settings, expected, seen), connect(settings.redis_url)
    try:
        while True:
            applier.answer(_watched(client, settings))
    except Applied:
        return applier


class _Through(Exception):
    """The watcher has moved all there is: it would wait for more."""


def _watched(client: Client, settings: Settings) -> list[str]:
    """The books that one slice of watching rang."""
    notified: dict[str, None] = {}

    def ring(books: Sequence[str]) -> None:
        notified.update(dict.fromkeys(books))
        (group,) = client.xinfo_groups(settings.stream_execution_result)
        if not group["lag"]:
            raise _Through

    with suppress(_Through):
        watch(client, settings, settings.watch_slice_sec, ring)
    return list(notified)


class TwoProcesses:
    """A watcher and a brain, started and waiting, so that a run does not measure how long Python takes to start."""

    def __init__(self, settings: Settings, expected: int) -> None:
        bells: Queue[tuple[str, ...]] = _FORK.Queue()
        self._go = _FORK.Event()
        self._watcher = _FORK.Process(target=_watch, args=(settings, bells, self._go))
        self._brain = _FORK.Process(target=_apply, args=(settings, expected, bells, self._go))
        self._watcher.start()
        self._brain.start()

    def run(self) -> None:
        """Until everything is applied."""
        self._go.set()
        self._brain.join()
        # It waits for more input, which is not part of the run.
        self._watcher.kill()
        self._watcher.join()
        assert self._brain.exitcode == 0


def _watch(settings: Settings, bells: "Queue[tuple[str, ...]]", go: Event) -> None:
    client = connect(settings.redis_url)
    go.wait()
    while True:
        watch(client, settings, settings.watch_slice_sec, bells.put)


def _apply(settings: Settings, expected: int, bells: "Queue[tuple[str, ...]]", go: Event) -> None:
    applier = Applier(settings, expected)
    go.wait()
    with suppress(Applied):
        while True:
            applier.answer(bells.get())


class Crew:
    """A watcher and several brains that take bells from one queue, as workers on several hosts do; started, waiting."""

    def __init__(self, settings: Settings, brains: int) -> None:
        bells: Queue[tuple[str, ...]] = _FORK.Queue()
        self._client = connect(settings.redis_url)
        self._go = _FORK.Event()
        self._processes = [_FORK.Process(target=_watch, args=(settings, bells, self._go), daemon=True)]
        for _ in range(brains):
            self._processes.append(_FORK.Process(target=_apply_for_ever, args=(settings, bells, self._go), daemon=True))
        for process in self._processes:
            process.start()

    def run(self, entries: int) -> None:
        """Until so many entries are applied."""
        self._go.set()
        while int(self._client.hget(keys.COUNTS, "applied") or 0) < entries:
            sleep(LOOK_EVERY_SEC)
            assert all(process.is_alive() for process in self._processes)
        for process in self._processes:
            process.kill()
            process.join()


def _apply_for_ever(settings: Settings, bells: "Queue[tuple[str, ...]]", go: Event) -> None:
    _apply(settings, sys.maxsize, bells, go)
