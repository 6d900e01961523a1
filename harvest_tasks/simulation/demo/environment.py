"""A private Redis server with a complete Harvest running on it. Nothing of it remains after the demo."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from redis.exceptions import RedisError

from harvest_tasks.processes import roles
from harvest_tasks.processes.child import Child
from harvest_tasks.processes.embedded_server import EmbeddedServer
from harvest_tasks.processes.log_relay import LogRelay
from harvest_tasks.processes.supervisor import Supervisor
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client, connect
from harvest_tasks.settings.model import CELERY_VARIABLES, Settings
from harvest_tasks.settings.variables import OWN_PREFIX
from harvest_tasks.simulation.demo.feed import Interrupted

SETTINGS: Final = {
    "SYMBOLS": "BTCUSDT,ETHUSDT",
    "PUBLISH_INTERVAL_SEC": "1",
    "POSITION_SOURCE": "tracker",
    "WATCH_SLICE_SEC": "1",
    "HARVEST_MODE": "live",
    "HARVEST_LIVE_CONFIRM": "yes",
    "HARVEST_LIVE_STOPS": "true",
    "HARVEST_MAX_ACTIONS_PER_MIN": "10000",
}
"""Live mode and a high rate limit, at many times market speed: only for the private server."""
READY_WITHIN_SEC: Final = 30.0
FILL_SLOTS: Final = 1
SERVER_SETTINGS: Final = ("REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_DB", "BROKER_URL", "RESULT_BACKEND")

T = TypeVar("T")
Action = Callable[[Client, Callable[[], bool]], T]
"""What the demo does while Harvest runs. It gets a client and a function that says whether to stop."""


@dataclass(frozen=True, slots=True)
class Environment:
    """The demo's settings and server."""

    settings: Settings
    server: EmbeddedServer

    @property
    def log(self) -> Path:
        """The log of all processes."""
        return self.server.directory / "demo.log"

    def run(self, action: Action[T], executor_options: list[str], on_signal: Callable[[], None]) -> T:
        """Run `action` while all processes run, and return its result. The first signal calls `on_signal`.

        Raises `NotReady`, `Interrupted`, and whatever `action` raises.
        """
        children = [*self._children(executor_options)]
        with self.log.open("wb") as log, connect(self.settings.redis_url) as client:
            relay = LogRelay(log.fileno(), name_width=max(len(child.name) for child in children))
            supervisor = Supervisor(children, relay, on_signal=on_signal)
            try:
                return asyncio.run(_run(supervisor, self._missing(client), action, client))
            finally:
                relay.close()

    def log_tail(self, lines: int = 15) -> list[str]:
        """The last lines that the processes logged."""
        return self.log.read_text(errors="replace").splitlines()[-lines:] if self.log.exists() else []

    def _children(self, executor_options: list[str]) -> Iterator[Child]:
        yield roles.server(self.server)
        yield from roles.workers(FILL_SLOTS, self.settings, watched=False)
        yield roles.beat()
        yield roles.command("paper", *executor_options)

    def _missing(self, client: Client) -> Callable[[], str | None]:
        readiness = roles.readiness(client, self.settings, None)
        return lambda: readiness.missing() or _missing_executor(client, self.settings.stream_trade_intent)


@contextmanager
def private_environment() -> Iterator[Environment]:
    """Start a private server, and replace all settings in the environment of this process with the demo's."""
    for name in inherited_settings():
        del os.environ[name]
    server = EmbeddedServer()
    try:
        os.environ.update(SETTINGS, REDIS_URL=server.url())
        yield Environment(Settings.from_env(os.environ), server)
    finally:
        server.close()


def inherited_settings() -> list[str]:
    """Names of environment variables that Harvest or Celery would read."""
    ours = {name.upper() for name in Settings.model_fields} | set(CELERY_VARIABLES)
    return sorted(name for name in os.environ if name in ours or name.upper().startswith(OWN_PREFIX))


def _missing_executor(client: Client, stream: str) -> str | None:
    """Why the executor is not ready; None if it is."""
    try:
        groups = client.xinfo_groups(stream) if client.exists(stream) else []
    except RedisError as error:
        return str(error)
    return (
        None if any(group["name"] == keys.PAPER_GROUP for group in groups) else "the executor has not started to read"
    )


async def _run(supervisor: Supervisor, missing: Callable[[], str | None], action: Action[T], client: Client) -> T:
    running: list[asyncio.Task[T]] = []

    async def run_and_stop() -> T:
        try:
            return await asyncio.to_thread(action, client, lambda: supervisor.is_stopping)
        except RedisError:
            # The server stops last, but after a second Ctrl-C everything stops at once.
            if supervisor.is_stopping:
                raise Interrupted from None
            raise
        finally:
            supervisor.stop()

    def begin() -> None:
        running.append(asyncio.create_task(run_and_stop()))

    await supervisor.run(missing, begin, ready_within=READY_WITHIN_SEC)
    if not running:
        raise Interrupted
    return await running[0]
