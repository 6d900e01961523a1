"""Jobs spread over processes, each with a server and a stage of its own."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from typing import Any, Final, TypeVar

from harvest_tasks.processes.embedded_server import EmbeddedServer
from laboratory.actors import Stage, Switch
from laboratory.arena import Arena
from laboratory.prepared_scenario import Prepared, bytes_client, prepare
from laboratory.scenarios import Scenario
from laboratory.steps import stretched

Job = TypeVar("Job")
Done = TypeVar("Done")


class Site:
    """Where one process plays: a stage, and what was prepared there already."""

    def __init__(self, path: str) -> None:
        self.stage = Stage(path)
        self._dumps = bytes_client(path)
        self._prepared: dict[Any, Prepared] = {}

    def prepared(self, scenario: Scenario, roles: Sequence[str], switches: Mapping[str, Switch]) -> Prepared:
        key = scenario.name, tuple(roles), tuple(switches)
        if key not in self._prepared:
            self._prepared[key] = prepare(self.stage, self._dumps, scenario, roles, switches)
        return self._prepared[key]

    def close(self) -> None:
        self.stage.close()
        self._dumps.close()


def spread(arena: Arena, work: Callable[[Site, Job], Done], jobs: Sequence[Job]) -> Iterator[Done]:
    """What came of each of `jobs`, in no order; `work` is a module's own function, its arguments can be pickled."""
    paths = [socket_of(arena.server(durable=False)) for _ in range(min(arena.jobs, len(jobs)))]
    if len(paths) == 1:
        with site_at(paths[0]) as site:
            yield from (work(site, job) for job in jobs)
        return
    fresh = get_context("spawn")
    queue = fresh.SimpleQueue()
    for path in paths:
        queue.put(path)
    with ProcessPoolExecutor(len(paths), fresh, _take_place, (queue,)) as pool:
        try:
            for future in as_completed([pool.submit(_at_work, work, job) for job in jobs]):
                yield future.result()
        finally:
            # After a failure nobody waits for the rest.
            pool.shutdown(wait=False, cancel_futures=True)


def socket_of(server: EmbeddedServer) -> str:
    return str(server.directory / "server.sock")


@contextmanager
def site_at(path: str) -> Iterator[Site]:
    """A site on the server at the socket `path`, with the timers of plays."""
    with stretched():
        site = Site(path)
        try:
            yield site
        finally:
            site.close()


_PLACE: Final[list[Site]] = []
"""This process's, when it is one of a crew."""
_KEPT: Final = ExitStack()
"""What lasts as long as the process."""


def _take_place(queue: Any) -> None:
    _PLACE.append(_KEPT.enter_context(site_at(queue.get())))


def _at_work(work: Callable[[Site, Job], Done], job: Job) -> Done:
    return work(_PLACE[0], job)
