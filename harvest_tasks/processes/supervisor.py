"""Runs named children together: started in order, restarted when they die, stopped in reverse, none left behind.

Each child leads its own process group, so that nothing survives a SIGKILL of the supervisor or of a child.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from harvest_tasks.processes.child import Backoff, Child, ChildProcess, Probe
from harvest_tasks.processes.log_relay import LogRelay
from harvest_tasks.processes.process_group import ProcessGroups

_POLL_SEC: Final = 0.05
_MOST_DEATHS: Final = 3
"""After so many deaths of one child during the start, the start has failed."""


class NotReady(RuntimeError):
    """The children did not become ready in time."""


class Supervisor:
    """For one use: `run` returns when a signal or `stop` has ended it. The first signal calls `on_signal`."""

    def __init__(
        self,
        children: Sequence[Child],
        relay: LogRelay,
        backoff: Backoff | None = None,
        on_signal: Callable[[], None] = lambda: None,
    ) -> None:
        self._children = children
        self._relay = relay
        self._backoff = backoff or Backoff()
        self._report_signal = on_signal
        self._processes: list[ChildProcess] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop_asked = asyncio.Event()
        self._kill_asked = asyncio.Event()

    async def run(self, missing: Probe, announce: Callable[[], None], *, ready_within: float = 30.0) -> bool:
        """Run the children until a signal or `stop`; returns whether all ended when asked, without being killed.

        Calls `announce` once `missing` returns None. If that takes longer than `ready_within` seconds, stops all
        children and raises NotReady.
        """
        self._handle_signals()
        with ThreadPoolExecutor(len(self._children)) as waiters, ProcessGroups() as groups:
            self._processes = [
                ChildProcess(each, groups, waiters, self._relay, self._backoff) for each in self._children
            ]
            try:
                await self._run_children(missing, announce, time.monotonic() + ready_within)
            finally:
                in_time = await self._stop_all()
        return in_time

    @property
    def is_stopping(self) -> bool:
        return self._stop_asked.is_set()

    def stop(self) -> None:
        """Ask the children to stop, as the first signal does. Call it in the thread of `run`."""
        self._stop_asked.set()

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._on_signal)
        loop.add_signal_handler(signal.SIGINT, self._on_signal)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
            loop.add_signal_handler(signal.SIGHUP, self._on_signal)

    def _on_signal(self) -> None:
        """The first asks the children to stop, the second kills them."""
        if self._stop_asked.is_set():
            self._kill_asked.set()
            return
        self._stop_asked.set()
        self._report_signal()

    async def _run_children(self, missing: Probe, announce: Callable[[], None], deadline: float) -> None:
        asked = asyncio.create_task(self._stop_asked.wait())
        starting = asyncio.create_task(self._start_all(missing, deadline))
        await asyncio.wait({asked, starting}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            return
        await starting
        announce()
        ended, _ = await asyncio.wait({asked, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            await task

    async def _start_all(self, missing: Probe, deadline: float) -> None:
        for process in self._processes:
            self._tasks.add(process.start())
            if process.child.missing is not None:
                await self._wait_until_none(process.child.missing, deadline)
        await self._wait_until_none(missing, deadline)

    async def _wait_until_none(self, missing: Probe, deadline: float) -> None:
        while (lack := await asyncio.to_thread(missing)) is not None:
            for process in self._processes:
                if process.deaths >= _MOST_DEATHS:
                    raise NotReady(f"{process.child.name} died {process.deaths} times: {process.last_line}")
            if time.monotonic() > deadline:
                raise NotReady(f"not ready in time: {lack}")
            await asyncio.sleep(_POLL_SEC)

    async def _stop_all(self) -> bool:
        """Stop in reverse order; children that others waited for at the start stop after all others have ended."""
        backwards = list(reversed(self._processes))
        awaited = [process for process in backwards if process.child.missing is not None]
        others = [process.stop(self._kill_asked) for process in backwards if process.child.missing is None]
        in_time = await asyncio.gather(*others)
        return all([*in_time, *[await process.stop(self._kill_asked) for process in awaited]])
