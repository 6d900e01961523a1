"""What a run cost: how long it took, and how much of the processor the clients and the server used meanwhile."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from harvest_tasks.server.client import Client


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


class Ticks(NamedTuple):
    """Of all processors since the machine started: `worked`, and wanted but `stolen` by other guests of its host."""

    worked: int
    stolen: int

    @classmethod
    def now(cls) -> "Ticks":
        """By /proc/stat, see proc_stat(5); none where there is no such file."""
        try:
            first = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
        except FileNotFoundError:
            return cls(0, 0)
        user, nice, system, _, _, irq, softirq, stolen = map(int, first.split()[1:9])
        return cls(user + nice + system + irq + softirq, stolen)

    def stolen_since(self, before: "Ticks") -> float:
        """The share of what was wanted since `before`."""
        worked, stolen = self.worked - before.worked, self.stolen - before.stolen
        return stolen / (worked + stolen) if worked + stolen else 0.0


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
