"""What a run cost: how long it took, and how much of the processor the clients and the server used meanwhile."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from harvest_tasks.connection import Client


@dataclass(frozen=True, slots=True)
class Cost:
    """Of `units` pieces of work; all in seconds. `client` and `server` are processor time."""

    units: int
    wall: float
    client: float
    server: float

    @property
    def rate(self) -> float:
        """Units per second of wall time."""
        return self.units / self.wall

    def __str__(self) -> str:
        """Microseconds for each unit."""
        wall, client, server = (1e6 * part / self.units for part in (self.wall, self.client, self.server))
        return f"{wall:.1f} us each (processor: client {client:.1f}, server {server:.1f})"


def server_seconds(client: Client) -> float:
    """Processor time that the server has used so far."""
    cpu = client.info("cpu")
    return float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])


def own_seconds() -> float:
    """Processor time of this process and of those it started and waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def measured(client: Client, units: int, work: Callable[[], None]) -> Cost:
    """The cost of `work`, done in this process and in processes that it starts and waits for."""
    server, own, started = server_seconds(client), own_seconds(), time.perf_counter()
    work()
    wall = time.perf_counter() - started
    return Cost(units, wall, own_seconds() - own, server_seconds(client) - server)
