"""Starts and stops the processes of a measurement."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

READY_WITHIN_SEC: Final = 60.0
SIGNALS_APART_SEC: Final = 0.3


class NotStarted(Exception):
    """A process did not start in time."""


def environ(url: str, **more: str) -> dict[str, str]:
    """The environment of a process that works on the server at `url`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("REDIS_", "HARVEST_"))}
    return {**inherited, "REDIS_URL": url, "LOG_LEVEL": "WARNING", **more}


@contextmanager
def running(argv: list[str], env: Mapping[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `python -m ...` in the background; terminate it at the end, and kill it if that fails."""
    process = subprocess.Popen(
        [sys.executable, "-m", *argv],
        env=dict(env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(is_so: Callable[[], bool], what: str, within: float = READY_WITHIN_SEC, poll: float = 0.01) -> None:
    """Wait until a condition holds. Raises `NotStarted` naming `what` after the timeout."""
    deadline = time.monotonic() + within
    while not is_so():
        if time.monotonic() > deadline:
            raise NotStarted(f"{what}: not within {within:g} s")
        time.sleep(poll)


def processor_seconds(pid: int) -> float:
    """CPU seconds of the process `pid` and of its living descendants."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") + sum(map(processor_seconds, children(pid)))


def children(pid: int) -> list[int]:
    """The running child processes of the main thread of `pid`."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def resident_mb(pid: int) -> float:
    """Resident memory of the process `pid`, including shared memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def harvest_up(*options: str, url: str = "", **more: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `harvest up` on the server at `url`, or on its embedded one. It may not be ready yet."""
    env = environ(url, **more)
    if not url:
        del env["REDIS_URL"]
    with running(["harvest_tasks", "up", *options], env) as process:
        yield process
        # Asked twice, by `running` again, it does not wait for the watcher's slice to end.
        process.terminate()
        time.sleep(SIGNALS_APART_SEC)


def ready(up: "subprocess.Popen[bytes]") -> str:
    """Wait until `harvest up` is ready, and return the URL of its server. Raises `NotStarted`."""
    line = up.stdout.readline().decode() if up.stdout else ""
    if not line.startswith("ready"):
        raise NotStarted(f"harvest up: {line!r}")
    return next(word.removeprefix("redis=") for word in line.split() if word.startswith("redis="))
