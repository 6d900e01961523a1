"""Turns: a watcher, a sweep and a worker, one after the other, until nothing is left to do; here, or in a process of
its own that takes one for each line it reads and then tells the time it believes it is.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from time import monotonic, time
from types import TracebackType
from typing import Final, Self

from harvest_tasks.fills.brain import Brain
from harvest_tasks.fills.stream import InputStream
from harvest_tasks.fills.sweep import held_books, sweep, unblock, waiting_books
from harvest_tasks.fills.watcher import watch
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client, connect
from harvest_tasks.settings.model import Settings

SLICE_SEC: Final = 0.004
"""Long enough to read once."""
PATIENCE_SEC: Final = 20.0


class StandsStill(AssertionError):
    """Something waits, and nobody gets on with it."""


def turn(client: Client, settings: Settings) -> None:
    """Everything that came is moved and applied, and what is held back was looked at again."""
    InputStream(client, settings).ensure_group()
    deadline = monotonic() + PATIENCE_SEC
    while _is_unread(client, settings.stream_execution_result):
        watch(client, settings, SLICE_SEC, lambda _: None)
        if monotonic() > deadline:
            raise StandsStill("entries of the input are not moved")
    sweep(client, settings)
    unblock(client, sorted(waiting_books(client)), settings.harvest_lock_ttl_sec * 1000)
    _, left = Brain(client, settings).process(sorted(waiting_books(client) | held_books(client)), deadline)
    if left:
        raise StandsStill(f"there is no end to {left}")


def _is_unread(client: Client, source: str) -> bool:
    groups = client.xinfo_groups(source)
    ours = next(group for group in groups if group["name"] == keys.GROUP)
    newest = client.xinfo_stream(source)["last-generated-id"]
    return bool(ours["pending"]) or ours["last-delivered-id"] != newest


class Elsewhere:
    """Turns of a process with its own idea of the time."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        paths = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "laboratory.sequential_path"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environ, "PYTHONPATH": paths},
            text=True,
        )

    def turn(self) -> float:
        """Unix seconds by its clock after it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("turn\n")
        self._process.stdin.flush()
        told = self._process.stdout.readline()
        if not told:
            raise StandsStill("the process ended in the middle of a turn")
        return float(told)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """It ends with its input."""
        self._process.communicate()


def main() -> None:
    settings = Settings.from_env(os.environ)
    client = connect(settings.redis_url)
    for _ in sys.stdin:
        turn(client, settings)
        sys.stdout.write(f"{time()}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
