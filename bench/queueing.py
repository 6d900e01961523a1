"""How much a server and its workers do together: a queueing model, from what an entry costs each of them.

A worker thinks (its own processor time) and then asks the server, which serves one at a time; so workers are the
customers of a closed network with one queue, and mean value analysis gives their throughput. The rest of the server's
work (taking entries in, moving them to inboxes) makes it slower to all of them by what it takes of its time.
Entries are moved by one watcher, so none of this is faster than it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

FULL: Final = 0.95
"""Share of the server's time from which the server is what limits."""
STEPS: Final = 60


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of processor time that an entry costs: the server to take it in, it and the watcher to move it, it and a
    worker to apply it. What a commit costs hardly depends on how many entries it has, so that number matters.
    All are more than 0, but for taking in.
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
        """Entries per second at which the server does nothing else."""
        return 1 / self.server

    def without_feeding(self) -> "Costs":
        """Of entries that are there already."""
        return replace(self, feed_server=0.0)


@dataclass(frozen=True, slots=True)
class Point:
    """So many worker processes: entries per second, the share of the server's time, and what there is too little of."""

    workers: int
    rate: float
    busy: float
    limit: str


def point(costs: Costs, workers: int) -> Point:
    """With a processor for each process."""
    by_workers = _largest(costs, lambda rate: _applied(costs, workers, rate))
    by_watcher = _largest(costs, lambda rate: _moved(costs, rate))
    rate = min(by_workers, by_watcher)
    limit = "workers" if by_workers < by_watcher else "watcher"
    busy = rate * costs.server
    return Point(workers, rate, busy, "server" if busy >= FULL else limit)


def point_on(cores: int, costs: Costs, workers: int) -> Point:
    """With so few processors for all of it, the server included."""
    free, shared = point(costs, workers), cores / costs.everywhere
    return free if free.rate <= shared else Point(workers, shared, shared * costs.server, "cores")


def throughput(customers: int, think: float, service: float) -> float:
    """Of a closed network with one queue, by mean value analysis: customers per second."""
    queue = rate = 0.0
    for n in range(1, customers + 1):
        answered = service * (1 + queue)
        rate = n / (think + answered)
        queue = rate * answered
    return rate


def _applied(costs: Costs, workers: int, rate: float) -> float:
    """What the workers could apply while the server also takes in and moves `rate` entries per second."""
    left = 1 - rate * (costs.feed_server + costs.route_server)
    return throughput(workers, costs.commit_worker, costs.commit_server / left)


def _moved(costs: Costs, rate: float) -> float:
    """What the watcher could move while the server also takes in and applies `rate` entries per second."""
    left = 1 - rate * (costs.feed_server + costs.commit_server)
    return throughput(1, costs.route_watcher, costs.route_server / left)


def _largest(costs: Costs, possible: Callable[[float], float]) -> float:
    """The largest rate that is possible while the server keeps up with it: `possible` falls as it grows."""
    low, high = 0.0, costs.ceiling
    for _ in range(STEPS):
        middle = (low + high) / 2
        if possible(middle) >= middle:
            low = middle
        else:
            high = middle
    return low
