"""Throughput of a server with several workers: a queueing model based on the CPU cost of an entry in each of them.

A worker thinks (its own CPU time) and then asks the server, which serves one request at a time. So workers are the
customers of a closed network with one queue, and mean value analysis gives their throughput. The server's other work
(receiving entries, moving them to inboxes) slows it down by its share of the time. One watcher moves all entries, so
its speed is an upper bound.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

FULL: Final = 0.95
"""Load from which the server is the limit."""
STEPS: Final = 60


@dataclass(frozen=True, slots=True)
class Costs:
    """CPU seconds per entry: server to receive it, server and watcher to move it, server and worker to apply it.

    A commit costs about the same for any number of entries, so `entries_per_commit` matters. All costs are more than
    0, except for receiving.
    """

    books: int
    entries_per_commit: float
    feed_server: float
    route_server: float
    route_watcher: float
    commit_server: float
    commit_worker: float

    @property
    def server(self) -> float:
        return self.feed_server + self.route_server + self.commit_server

    @property
    def everywhere(self) -> float:
        return self.server + self.route_watcher + self.commit_worker

    @property
    def ceiling(self) -> float:
        """Entries per second at which the server is fully loaded."""
        return 1 / self.server

    def without_feeding(self) -> "Costs":
        """The costs for entries that are already in the stream."""
        return replace(self, feed_server=0.0)


@dataclass(frozen=True, slots=True)
class Point:
    """A prediction for `workers`: entries per second, load of the server, and the limiting part."""

    workers: int
    rate: float
    busy: float
    limit: str


def point(costs: Costs, workers: int) -> Point:
    """The prediction with one CPU core per process."""
    by_workers = _largest(costs, lambda rate: _applied(costs, workers, rate))
    by_watcher = _largest(costs, lambda rate: _moved(costs, rate))
    rate = min(by_workers, by_watcher)
    limit = "workers" if by_workers < by_watcher else "watcher"
    busy = rate * costs.server
    return Point(workers, rate, busy, "server" if busy >= FULL else limit)


def point_on(cores: int, costs: Costs, workers: int) -> Point:
    """The prediction with `cores` CPU cores for all processes and the server."""
    free, shared = point(costs, workers), cores / costs.everywhere
    return free if free.rate <= shared else Point(workers, shared, shared * costs.server, "cores")


def throughput(customers: int, think: float, service: float) -> float:
    """Customers per second of a closed network with one queue, by mean value analysis."""
    queue = rate = 0.0
    for n in range(1, customers + 1):
        answered = service * (1 + queue)
        rate = n / (think + answered)
        queue = rate * answered
    return rate


def _applied(costs: Costs, workers: int, rate: float) -> float:
    """Entries per second that the workers can apply while the server also receives and moves `rate`."""
    left = 1 - rate * (costs.feed_server + costs.route_server)
    return throughput(workers, costs.commit_worker, costs.commit_server / left)


def _moved(costs: Costs, rate: float) -> float:
    """Entries per second that the watcher can move while the server also receives and applies `rate`."""
    left = 1 - rate * (costs.feed_server + costs.commit_server)
    return throughput(1, costs.route_watcher, costs.route_server / left)


def _largest(costs: Costs, possible: Callable[[float], float]) -> float:
    """The largest rate r with `possible(r)` >= r, where `possible` falls as the rate grows."""
    low, high = 0.0, costs.ceiling
    for _ in range(STEPS):
        middle = (low + high) / 2
        if possible(middle) >= middle:
            low = middle
        else:
            high = middle
    return low
