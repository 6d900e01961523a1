"""Starting programs of ours, and the machine's processes as /proc shows them.

Zombies are left out: those are dead and wait for their parent.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    parent: int
    session: int
    command: str


@contextmanager
def program(
    argv: Sequence[str],
    *,
    stdout: int | IO[bytes] = subprocess.PIPE,
    stderr: int | IO[bytes] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is killed at the end, if it still runs, whatever the test did."""
    process = subprocess.Popen(argv, stdout=stdout, stderr=stderr, env=environ)  # noqa: S603 - programs of ours
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def running() -> Iterator[Process]:
    for place in Path("/proc").glob("[0-9]*"):
        process = _read(place)
        if process is not None:
            yield process


def in_session(leader: int) -> list[Process]:
    return [process for process in running() if process.session == leader]


def children_of(parent: int) -> list[Process]:
    return [process for process in running() if process.parent == parent]


def marked(mark: str) -> list[Process]:
    """Those that were started with `mark` in their environment, themselves or through a parent; not this one."""
    return [process for process in running() if process.pid != os.getpid() and _is_marked(process.pid, mark)]


def _read(place: Path) -> Process | None:
    try:
        head, _, tail = (place / "stat").read_text(errors="replace").rpartition(")")
        command = (place / "cmdline").read_text(errors="replace").replace("\0", " ").strip()
    except OSError:  # it ended meanwhile
        return None
    state, parent, _, session = tail.split()[:4]
    return None if state in "ZX" else Process(int(head.split()[0]), int(parent), int(session), command)


def _is_marked(pid: int, mark: str) -> bool:
    try:
        return mark.encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
