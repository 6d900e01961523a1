"""Runs named children together: started in order, restarted when they die, stopped in reverse, none left behind.

Each child leads a session on a leash, so that nothing survives a SIGKILL of the supervisor or of a child.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from harvest_tasks.processes.child import Backoff, Child, Keeper, Probe
from harvest_tasks.processes.log_relay import Relay
from harvest_tasks.processes.process_group import Leash

POLL_SEC: Final = 0.05
HOPELESS: Final = 3
"""Deaths of one child before all is ready that make waiting for it pointless."""


class NotReady(RuntimeError):
    """The children did not come up in time."""


class Supervisor:
    """One use: `run` returns when a signal or `stop` has ended it."""

    def __init__(self, children: Sequence[Child], relay: Relay, backoff: Backoff | None = None) -> None:
        self._children = children
        self._relay = relay
        self._backoff = backoff or Backoff()
        self._keepers: list[Keeper] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked = asyncio.Event()
        self._at_once = asyncio.Event()

    async def run(self, missing: Probe, announce: Callable[[], None], *, ready_within: float = 30.0) -> bool:
        """Whether every child went when asked; False if one had to be killed.

        Calls `announce` once `missing` finds nothing. Raises NotReady, after stopping all, when that takes too long.
        """
        self._listen()
        with ThreadPoolExecutor(len(self._children)) as waiters, Leash() as leash:
            self._keepers = [Keeper(each, leash, waiters, self._relay, self._backoff) for each in self._children]
            try:
                await self._live(missing, announce, time.monotonic() + ready_within)
            finally:
                in_time = await self._stop_all()
        return in_time

    @property
    def is_stopping(self) -> bool:
        return self._asked.is_set()

    def stop(self) -> None:
        """Ask the children to stop, as the first signal does. To be called in the thread of `run`."""
        self._asked.set()

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._on_signal)
        loop.add_signal_handler(signal.SIGINT, self._on_signal)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
            loop.add_signal_handler(signal.SIGHUP, self._on_signal)

    def _on_signal(self) -> None:
        """The first asks the children to stop, the second kills them."""
        (self._at_once if self._asked.is_set() else self._asked).set()

    async def _live(self, missing: Probe, announce: Callable[[], None], deadline: float) -> None:
        asked = asyncio.create_task(self._asked.wait())
        rising = asyncio.create_task(self._rise(missing, deadline))
        await asyncio.wait({asked, rising}, return_when=asyncio.FIRST_COMPLETED)
        if not rising.done():
            rising.cancel()
            return
        await rising
        announce()
        ended, _ = await asyncio.wait({asked, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            await task

    async def _rise(self, missing: Probe, deadline: float) -> None:
        for keeper in self._keepers:
            self._tasks.add(keeper.start())
            if keeper.child.missing is not None:
                await self._wait_until_none(keeper.child.missing, deadline)
        await self._wait_until_none(missing, deadline)

    async def _wait_until_none(self, missing: Probe, deadline: float) -> None:
        while (lack := await asyncio.to_thread(missing)) is not None:
            for keeper in self._keepers:
                if keeper.deaths >= HOPELESS:
                    raise NotReady(f"{keeper.child.name} died {keeper.deaths} times: {keeper.last_line}")
            if time.monotonic() > deadline:
                raise NotReady(f"not ready in time: {lack}")
            await asyncio.sleep(POLL_SEC)

    async def _stop_all(self) -> bool:
        """In reverse order; the children that others waited for at the start go after all others are gone."""
        backwards = list(reversed(self._keepers))
        awaited = [keeper for keeper in backwards if keeper.child.missing is not None]
        others = [keeper.stop(self._at_once) for keeper in backwards if keeper.child.missing is None]
        in_time = await asyncio.gather(*others)
        return all([*in_time, *[await keeper.stop(self._at_once) for keeper in awaited]])
