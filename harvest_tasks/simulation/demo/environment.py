"""The private server of a demo with a whole Harvest at work on it, all gone at the end."""

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
from harvest_tasks.settings.model import OVERRIDES, Settings
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
"""Live, and at many times the speed of a market: for this server alone."""
READY_WITHIN_SEC: Final = 30.0
FILL_SLOTS: Final = 1
SERVER_NAMES: Final = ("REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_DB", "BROKER_URL", "RESULT_BACKEND")

T = TypeVar("T")
Act = Callable[[Client, Callable[[], bool]], T]
"""What happens on the stage: given a client and a way to see that it should end."""


@dataclass(frozen=True, slots=True)
class Stage:
    settings: Settings
    server: EmbeddedServer

    @property
    def log(self) -> Path:
        """What all processes said."""
        return self.server.directory / "demo.log"

    def perform(self, act: Act[T], executor_options: list[str]) -> T:
        """What `act` returns, played while everything runs. Raises `NotReady`, `Interrupted` or what `act` does."""
        children = [*self._children(executor_options)]
        with self.log.open("wb") as log, connect(self.settings.redis_url) as client:
            relay = LogRelay(log.fileno(), name_width=max(len(child.name) for child in children))
            try:
                return asyncio.run(_perform(Supervisor(children, relay), self._missing(client), act, client))
            finally:
                relay.close()

    def last_words(self, lines: int = 15) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()[-lines:] if self.log.exists() else []

    def _children(self, executor_options: list[str]) -> Iterator[Child]:
        yield roles.server(self.server)
        yield from roles.workers(FILL_SLOTS, self.settings, watched=False)
        yield roles.beat()
        yield roles.command("paper", *executor_options)

    def _missing(self, client: Client) -> Callable[[], str | None]:
        crew_at_work = roles.readiness(client, self.settings, None)
        return lambda: crew_at_work.missing() or _missing_executor(client, self.settings.stream_trade_intent)


@contextmanager
def private_stage() -> Iterator[Stage]:
    """Rids this process of every setting from outside, and makes a server of its own."""
    for name in outside_settings():
        del os.environ[name]
    server = EmbeddedServer()
    try:
        os.environ.update(SETTINGS, REDIS_URL=server.url())
        yield Stage(Settings.from_env(os.environ), server)
    finally:
        server.close()


def outside_settings() -> list[str]:
    """Names in the environment that Harvest or Celery would obey."""
    ours = {name.upper() for name in Settings.model_fields} | set(OVERRIDES)
    return sorted(name for name in os.environ if name in ours or name.upper().startswith(OWN_PREFIX))


def _missing_executor(client: Client, stream: str) -> str | None:
    try:
        groups = client.xinfo_groups(stream) if client.exists(stream) else []
    except RedisError as error:
        return str(error)
    return None if any(group["name"] == keys.PAPER_GROUP for group in groups) else "the executor does not read"


async def _perform(supervisor: Supervisor, missing: Callable[[], str | None], act: Act[T], client: Client) -> T:
    acting: list[asyncio.Task[T]] = []

    async def act_and_stop() -> T:
        try:
            return await asyncio.to_thread(act, client, lambda: supervisor.is_stopping)
        except RedisError:
            # The server goes last, but a second Ctrl-C waits for nothing.
            if supervisor.is_stopping:
                raise Interrupted from None
            raise
        finally:
            supervisor.stop()

    def begin() -> None:
        acting.append(asyncio.create_task(act_and_stop()))

    await supervisor.run(missing, begin, ready_within=READY_WITHIN_SEC)
    if not acting:
        raise Interrupted
    return await acting[0]
