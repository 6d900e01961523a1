"""Where a fault class works: servers of its own, seeded chance, a scale and a time by which to be done."""

import os
import random
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Final, Self

from users import GuardedServer

from harvest_tasks.processes.embedded_server import EmbeddedServer
from harvest_tasks.server.client import Client, connect
from laboratory.report import Failure

JOBS: Final = 2
"""Processes that a class may keep busy at the same time."""
IN_MEMORY: Final = ("--appendonly", "no", "--save", "")


class Arena:
    """One run of one fault class. All it starts is gone when it is closed.

    `scale` is 1.0 for the full numbers of cases. The same seed and class give the same chances, whatever else runs.
    """

    def __init__(
        self, fault_id: str, seed: int, scale: float = 1.0, within_sec: float = 3600.0, jobs: int = JOBS
    ) -> None:
        self.fault_id = fault_id
        self.seed = seed
        self.scale = scale
        self.jobs = jobs
        self.rng = self.chance("")
        self.deadline = monotonic() + within_sec
        self._stack = ExitStack()
        self.directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="harvest-faults-")))

    def count(self, full: int) -> int:
        """How many cases at this scale of what is `full` at scale 1; never none."""
        return max(1, round(full * self.scale))

    def chance(self, name: object) -> random.Random:
        """Chance of its own for a part of the class."""
        return random.Random(f"{self.seed} {self.fault_id} {name}")  # noqa: S311 - to be repeated, not to be secret

    @property
    def left_sec(self) -> float:
        """Seconds until the class should be done (>= 0)."""
        return max(0.0, self.deadline - monotonic())

    def server(self, *, unix: bool = True, durable: bool = True, options: Sequence[str] = ()) -> GuardedServer:
        """A running server, closed with the arena: append-only file synced each second, or (`durable=False`) none."""
        given = (*(() if durable else IN_MEMORY), *options)
        return self._stack.enter_context(GuardedServer(executable(), unix=unix, options=given))

    def client(self, server: EmbeddedServer, db: int = 0) -> Client:
        """A client that is closed with the arena."""
        client = connect(server.url(db))
        self._stack.callback(client.close)
        return client

    def failure(self, what: str, schedule: str = "") -> Failure:
        return Failure(self.fault_id, self.seed, schedule, what)

    def close(self) -> None:
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def executable() -> str | None:
    """The server under test, if one is given; None stands for the wheel's."""
    return os.environ.get("REDIS_SERVER") or None
