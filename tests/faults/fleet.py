"""A server, workers and beat that are really killed: Harvest as it is deployed, with failpoints in its workers.

Each fleet has a server, a directory and processes of its own, so that several run beside each other. What is killed is
started again by `keep`, as `harvest up` and systemd do; until then it stays dead.
"""

import os
import signal
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from time import monotonic, time
from typing import Final, NamedTuple

from celery import Celery
from cluster import Program, inherited
from waiting import wait_until

from harvest_tasks import keys
from harvest_tasks.configuration import ROUTES, configuration
from harvest_tasks.connection import connect
from harvest_tasks.environ.variables import RESERVED
from harvest_tasks.processes.embedded import EmbeddedServer
from harvest_tasks.settings import Settings

QUEUES: Final = "fills,watch,control"
WORKERS: Final = ("fills-1", "fills-2")
WATCHED_APP: Final = "harvest_tasks.failpoints"
READY_WITHIN_SEC: Final = 60.0
LAST_WORDS: Final = 300

WRITTEN_AT_ONCE: Final = ("--appendfsync", "no")
"""Each answer is in the log, as the system keeps it, before it is given: so it outlives the server's process. A server
that syncs its log each second holds it back for up to two seconds while a sync lasts, and loses that when it is killed.
"""
SETTINGS: Final = {
    "SYMBOLS": "BTCUSDT",
    "PUBLISH_INTERVAL_SEC": "100",
    "SYNTHETIC_FALLBACK": "false",
    "WATCH_SLICE_SEC": "5",
    # What is decided must depend on the entries alone, or there is nothing to compare with.
    "HARVEST_REQUIRE_FRESH_SNAPSHOT_SEC": "3600",
    "HARVEST_MAX_ACTIONS_PER_MIN": "10000",
    "HARVEST_LOCK_TTL_SEC": "1",
}


class Taken(NamedTuple):
    """The process that reached an armed step, and when (monotonic)."""

    pid: int
    at: float


class Fleet:
    """`environ` adds to the settings above; `slots` are the pool processes of each worker."""

    def __init__(self, executable: str | None, environ: Mapping[str, str], slots: int = 4) -> None:
        self.server = EmbeddedServer(executable, options=WRITTEN_AT_ONCE)
        self.failpoints = self.server.directory / "failpoints"
        self.failpoints.mkdir()
        self.environ = {"REDIS_URL": self.server.url(), **SETTINGS, **environ}
        self.settings = Settings.from_env(self.environ)
        self.client = connect(self.server.url())
        self.broker = connect(self.server.url(db=1))
        self.workers = {name: self._worker(name, slots) for name in WORKERS}
        self.beat = self._program("beat", "beat")
        self.restarts = 0
        self._app = Celery("harvest_tasks", set_as_current=False)
        self._app.conf.update(configuration(self.settings))

    @property
    def programs(self) -> dict[str, Program]:
        return {**self.workers, "beat": self.beat}

    def start(self) -> None:
        """Returns when a watcher is at work."""
        self.server.start()
        for program in self.programs.values():
            program.launch()
        try:
            wait_until(self._is_at_work, READY_WITHIN_SEC, "a watcher is at work")
        except AssertionError as error:
            raise AssertionError(f"{error}; {self._last_words()}") from None

    def _is_at_work(self) -> bool:
        return self.is_whole() and bool(self.client.exists(keys.LEASE))

    def _last_words(self) -> str:
        said = {name: program.logs()[-LAST_WORDS:] for name, program in self.programs.items()}
        return "; ".join(f"{name} said: {text.decode(errors='replace').strip()}" for name, text in said.items())

    def close(self) -> None:
        for program in self.programs.values():
            program.close()
        self._app.close()
        self.client.close()
        self.broker.close()
        self.server.close()

    def __enter__(self) -> "Fleet":
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Failpoints.

    def arm(self, step: str, order: str = "kill") -> None:
        draft = self.failpoints / f"new {step}"
        draft.write_text(order)
        draft.rename(self.failpoints / step)

    def disarm(self, step: str) -> None:
        (self.failpoints / step).unlink(missing_ok=True)

    def taken(self, step: str) -> list[Taken]:
        """Who reached `step` since it was last asked."""
        found = list(self.failpoints.glob(f"{step}.*"))
        reached = [Taken(int(file.suffix[1:]), monotonic() - (time() - file.stat().st_ctime)) for file in found]
        for file in found:
            file.unlink()
        return reached

    # Processes.

    def pools(self) -> list[int]:
        """The pool processes of all workers that run."""
        return [pid for worker in self.workers.values() if worker.status == "running" for pid in worker.children()]

    def keep(self) -> bool:
        """Start again what has ended; whether there was nothing to start."""
        ended = [program for program in self.programs.values() if program.status == "exited"]
        for program in ended:
            program.launch()
        self.restarts += len(ended)
        return not ended

    def is_whole(self) -> bool:
        """Whether everything runs and is ready; what has ended is started again."""
        return self.keep() and all(_is_ready(program) for program in self.programs.values())

    def node(self, name: str) -> list[int]:
        """All processes of one worker, its main process first."""
        worker = self.workers[name]
        return [worker.pid, *worker.children()] if worker.status == "running" else []

    def ring(self, task: str) -> None:
        """Send a bell as beat does."""
        self._app.send_task(task, queue=ROUTES[task], ignore_result=True)

    def restart_server(self) -> None:
        """SIGKILL, and the same again on what its log says."""
        self.server.kill()
        self.server.start()
        for client in (self.client, self.broker):
            client.connection_pool.disconnect()

    def rewrite_log(self) -> None:
        """Have the server's log say only what is there, so that the next start does not read the whole past."""
        self.client.bgrewriteaof()
        wait_until(lambda: not self.client.info("persistence")["aof_rewrite_in_progress"], 30.0, "the log is rewritten")

    def _worker(self, name: str, slots: int) -> Program:
        options = [f"--queues={QUEUES}", f"--concurrency={slots}", "--pool=prefork", f"--hostname={name}@fleet"]
        failpoints = {RESERVED: str(self.failpoints)}
        return self._program(name, "worker", *options, "--without-gossip", "--without-mingle", **failpoints)

    def _program(self, name: str, role: str, *options: str, **environ: str) -> Program:
        app = WATCHED_APP if RESERVED in environ else "harvest_tasks"
        argv = [sys.executable, "-m", "celery", f"--app={app}", role, *options]
        log = self.server.directory / f"{name}.log"
        return Program(name, argv, {**inherited(), **self.environ, **environ}, log, ready=_is_ready)


def signalled(pids: Iterable[int], number: signal.Signals) -> int:
    """Signal those that still run; how many there were."""
    count = 0
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            count += 1
    return count


def _is_ready(program: Program) -> bool:
    """Whether it logged so since its last start."""
    said = program.logs()
    return b"ready." in said or b"is starting" in said
