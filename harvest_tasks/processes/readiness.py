"""Whether a set of workers really consumes, checked from outside."""

import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import kombu.exceptions
import redis.exceptions
from celery import Celery

from harvest_tasks.processes.embedded_server import LOOPBACK
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client

PING_SEC = 1.0


@dataclass(frozen=True, slots=True)
class Readiness:
    """What must be there before fills are consumed."""

    client: Client
    app: Celery
    workers: Sequence[str]
    """Node names."""
    input_stream: str
    flower_port: int | None

    def missing(self) -> str | None:
        """The first thing that is missing, in words, or None."""
        try:
            return self._silent_worker() or self._idle_watcher() or self._closed_flower()
        except (
            redis.exceptions.ConnectionError,
            redis.exceptions.TimeoutError,
            kombu.exceptions.OperationalError,
        ) as error:
            return str(error)

    def _silent_worker(self) -> str | None:
        replies: list[dict[str, Any]] = self.app.control.ping(destination=list(self.workers), timeout=PING_SEC)
        silent = set(self.workers) - {name for reply in replies for name in reply}
        return f"worker {min(silent)} does not answer" if silent else None

    def _idle_watcher(self) -> str | None:
        if not self.client.exists(keys.LEASE):
            return "no watcher holds the lease"
        if not self.client.exists(self.input_stream):
            return f"{self.input_stream} has no consumer group"
        groups = [group["name"] for group in self.client.xinfo_groups(self.input_stream)]
        return None if keys.GROUP in groups else f"{self.input_stream} has no consumer group {keys.GROUP}"

    def _closed_flower(self) -> str | None:
        if self.flower_port is None:
            return None
        with suppress(OSError), socket.create_connection((LOOPBACK, self.flower_port), timeout=PING_SEC):
            return None
        return f"Flower does not listen on port {self.flower_port}"
