"""The cost of a run: wall time, and CPU time of the clients and of the server."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from harvest_tasks.server.client import Client


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of `units` of work, in seconds. `client` and `server` are CPU time."""

    units: int
    wall: float
    client: float
    server: float

    @property
    def rate(self) -> float:
        """Units per second of wall time."""
        return self.units / self.wall

    def __str__(self) -> str:
        """Microseconds per unit."""
        wall, client, server = (1e6 * part / self.units for part in (self.wall, self.client, self.server))
        return f"{wall:.1f} us each (CPU: client {client:.1f}, server {server:.1f})"


class CpuTicks(NamedTuple):
    """CPU ticks of all processors since boot: `worked`, and `steal`, which the host gave to other guests."""

    worked: int
    steal: int

    @classmethod
    def now(cls) -> "CpuTicks":
        """Read /proc/stat, see proc_stat(5); zeros if there is no such file."""
        try:
            first = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
        except FileNotFoundError:
            return cls(0, 0)
        user, nice, system, _, _, irq, softirq, steal = map(int, first.split()[1:9])
        return cls(user + nice + system + irq + softirq, steal)

    def steal_share_since(self, before: "CpuTicks") -> float:
        """CPU steal since `before`, as a share of the wanted CPU time."""
        worked, steal = self.worked - before.worked, self.steal - before.steal
        return steal / (worked + steal) if worked + steal else 0.0


def server_seconds(client: Client) -> float:
    """CPU time that the server has used so far."""
    cpu = client.info("cpu")
    return float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])


def own_seconds() -> float:
    """CPU time of this process and of its finished child processes."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def measured(client: Client, units: int, work: Callable[[], None]) -> Cost:
    """Do `work` in this process and in child processes that it waits for, and return its cost."""
    server, own, started = server_seconds(client), own_seconds(), time.perf_counter()
    work()
    wall = time.perf_counter() - started
    return Cost(units, wall, own_seconds() - own, server_seconds(client) - server)
