"""One child process that is kept running: its log, its restarts, its end."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from harvest_tasks.processes.log_relay import LineSplitter, LogRelay
from harvest_tasks.processes.process_group import ProcessGroups, kill_group

Probe: TypeAlias = Callable[[], str | None]
"""Returns what is still missing, in words, or None. Runs in a thread; may block for a second or two."""


@dataclass(frozen=True, slots=True)
class Child:
    """What to run. Children after it start only once `missing` returns None."""

    name: str
    argv: Sequence[str]
    environ: Mapping[str, str]
    missing: Probe | None = None
    stop_within: float = 10.0
    """Seconds from SIGTERM to SIGKILL."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds to wait before a dead child is restarted: doubling, until a child has run for `steady` seconds."""

    first: float = 0.5
    most: float = 30.0
    steady: float = 60.0

    def delay(self, deaths_in_a_row: int) -> float:
        return min(self.most, self.first * 2.0 ** min(deaths_in_a_row - 1, 30))


class ChildProcess:
    """Starts a child, and restarts it whenever it ends, until `stop`."""

    def __init__(
        self, child: Child, groups: ProcessGroups, waiters: Executor, relay: LogRelay, backoff: Backoff
    ) -> None:
        self.child = child
        self.deaths = 0
        self.last_line = "it logged nothing"
        self._groups = groups
        self._waiters = waiters
        self._relay = relay
        self._backoff = backoff
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def start(self) -> asyncio.Task[None]:
        """Returns a task that ends only after `stop`, or by a bug."""
        self._running = asyncio.create_task(self._keep_running())
        return self._running

    async def stop(self, at_once: asyncio.Event) -> bool:
        """Stop the child; returns whether SIGTERM was enough, within its deadline and before `at_once`."""
        self._stopping.set()
        if self._running is None:
            return True
        if self._process is not None:
            self._process.terminate()
        in_time = await _ends(self._running, within=self.child.stop_within, unless=at_once)
        if not in_time and self._process is not None:
            self._log("did not stop: killed")
            kill_group(self._process)
        await self._running
        return in_time

    async def _keep_running(self) -> None:
        in_a_row = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            code = await self._run_once()
            if self._stopping.is_set():
                return
            self.deaths += 1
            in_a_row = 1 if time.monotonic() - began >= self._backoff.steady else in_a_row + 1
            await self._pause(code, self._backoff.delay(in_a_row))

    async def _run_once(self) -> int:
        """Run the child once; returns its exit code when neither it nor anything it forked still runs."""
        reading, writing = os.pipe()
        try:
            process = self._groups.start(self.child.argv, output=writing, environ=self.child.environ)
        finally:
            os.close(writing)
        self._process = process
        self._log(f"started as process {process.pid}")
        lines = await self._relay_lines(reading)
        code = await asyncio.get_running_loop().run_in_executor(self._waiters, process.wait)
        kill_group(process)
        self._process = None
        # A process that left the session may keep the pipe open for ever.
        with suppress(TimeoutError):
            await asyncio.wait_for(lines.ended.wait(), 1.0)
        return code

    async def _relay_lines(self, reading: int) -> LineSplitter:
        pipe = os.fdopen(reading, "rb", 0)
        _, lines = await asyncio.get_running_loop().connect_read_pipe(lambda: LineSplitter(self._line), pipe)
        return lines

    async def _pause(self, code: int, seconds: float) -> None:
        self._log(f"{_describe(code)}, restarts in {seconds:g} s")
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    def _line(self, text: bytes) -> None:
        if text.strip():
            self.last_line = text.decode(errors="replace").strip()
        self._relay.line(self.child.name, text)

    def _log(self, text: str) -> None:
        self._relay.line("harvest", f"{self.child.name}: {text}".encode())


async def _ends(task: asyncio.Task[None], *, within: float, unless: asyncio.Event) -> bool:
    interrupt = asyncio.create_task(unless.wait())
    done, _ = await asyncio.wait({task, interrupt}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    interrupt.cancel()
    return task in done


def _describe(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
