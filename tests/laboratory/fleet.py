"""A server, workers and beat that are really killed: Harvest as it is deployed, with failpoints in its workers.

Each fleet has a server, a directory and processes of its own, so that several run beside each other. What is killed is
started again by `keep`, as `harvest up` and systemd do; until then it stays dead. Each process logs in as its user of
systemd/users.acl; `client` and `broker` are the server's owner, `producer` only feeds.
"""

import os
import signal
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic, time
from typing import Final, NamedTuple

from celery import Celery
from cluster import Program, inherited
from users import GuardedServer, Refusal, denied, worker_user
from waiting import wait_until

from harvest_tasks.messaging.configuration import ROUTES, configuration
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client, connect
from harvest_tasks.settings.model import Settings
from laboratory import FAILPOINTS

QUEUES: Final = "fills,watch,control"
WORKERS: Final = ("fills-1", "fills-2")
OTHER: Final = "other"
"""The worker of an observed fleet for all other queues."""
OTHER_QUEUES: Final = "proposals,adhoc"
WATCHED_APP: Final = "laboratory.failpoints"
OBSERVED_APP: Final = "laboratory.observed_app"
TESTS: Final = Path(__file__).parents[1]
READY_WITHIN_SEC: Final = 60.0
LAST_LINES: Final = 2

WRITTEN_AT_ONCE: Final = ("--appendfsync", "no")
"""Each answer is in the log, as the system keeps it, before it is given: so it outlives the server's process. A server
that syncs its log each second holds it back for up to two seconds while a sync lasts, and loses that when it is killed.
"""
SETTINGS: Final = {
    "SYMBOLS": "BTCUSDT",
    "PUBLISH_INTERVAL_SEC": "100",
    "SYNTHETIC_FALLBACK": "false",
    "WATCH_SLICE_SEC": "5",
    # Here workers are what is harmed, so bells are rung for everything.
    "WATCH_ANSWERS_UP_TO": "0",
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
    """`environ` adds to the settings above; `slots` are the pool processes of each worker.

    An `is_observed` one notes what becomes of messages (see `message_notes`), and has a worker for the other queues.
    """

    def __init__(
        self, executable: str | None, environ: Mapping[str, str], slots: int = 4, *, is_observed: bool = False
    ) -> None:
        self.server = GuardedServer(executable, options=WRITTEN_AT_ONCE)
        self.failpoints = self.server.directory / "failpoints"
        self.failpoints.mkdir()
        self.environ = {"REDIS_URL": self.server.url(), **SETTINGS, **environ}
        self.settings = Settings.from_env(self.environ)
        self.client = connect(self.server.url())
        self.broker = connect(self.server.url(db=1))
        self.producer = self.server.users.client(self.server, "producer")
        self._app_of_workers = OBSERVED_APP if is_observed else WATCHED_APP
        self.workers = {name: self._worker(name, QUEUES, slots) for name in WORKERS}
        if is_observed:
            self.workers[OTHER] = self._worker(OTHER, OTHER_QUEUES, 1)
        self.beats = {"beat": self._beat("beat")}
        self.restarts = 0
        self._denied: list[Refusal] = []
        self._app = Celery("harvest_tasks", set_as_current=False)
        self._app.conf.update(configuration(Settings.from_env(self._environ("harvest-beat"))))

    @property
    def _clients(self) -> tuple[Client, ...]:
        return self.client, self.broker, self.producer

    @property
    def programs(self) -> dict[str, Program]:
        return {**self.workers, **self.beats}

    @property
    def beat(self) -> Program:
        return self.beats["beat"]

    def start_another_beat(self) -> None:
        self.beats["beat-2"] = self._beat("beat-2")
        self.beats["beat-2"].launch()

    def start(self) -> None:
        """Returns when a watcher is at work."""
        self.server.start()
        for program in self.programs.values():
            program.launch()
        try:
            wait_until(self._is_at_work, READY_WITHIN_SEC, "a watcher is at work")
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.last_words()}") from None

    def _is_at_work(self) -> bool:
        """It made its group, and whatever was open before is adopted: from here on only what is fed comes in."""
        made = self.client.exists(keys.LEASE, self.settings.stream_execution_result) == 2
        return self.is_whole() and made and not self.client.exists(keys.ADOPTION)

    def last_words(self) -> str:
        """What each program complained of last, or else said last."""
        return "; ".join(f"{name}: {_complaint(program)}" for name, program in self.programs.items())

    def close(self) -> None:
        for program in self.programs.values():
            program.close()
        self._app.close()
        for client in self._clients:
            client.close()
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

    def are_workers_ready(self) -> bool:
        """Whether they are; nothing is started."""
        return all(worker.status == "running" and _is_ready(worker) for worker in self.workers.values())

    def has_lost(self, restarts: int) -> bool:
        """Whether a worker is dead, or was since there were so many `restarts`."""
        return self.restarts > restarts or any(worker.status == "exited" for worker in self.workers.values())

    def node(self, name: str) -> list[int]:
        """All processes of one worker, its main process first."""
        worker = self.workers[name]
        return [worker.pid, *worker.children()] if worker.status == "running" else []

    def ring(self, task: str) -> None:
        """Send a bell as beat does."""
        self._app.send_task(task, queue=ROUTES[task], ignore_result=True)

    def denied(self) -> list[Refusal]:
        """Who was refused what since the beginning, as far as the server was asked before it was killed."""
        return [*self._denied, *denied(self.client)]

    def restart_server(self, *, gently: bool = False) -> None:
        """SIGKILL, or `gently` SIGTERM, and the same again on what its log says."""
        self._denied = self.denied()
        if gently:
            self.server.stop()
        else:
            self.server.kill()
        self.server.start()
        for client in self._clients:
            client.connection_pool.disconnect()

    def rewrite_log(self) -> None:
        """Have the server's log say only what is there, so that the next start does not read the whole past."""
        self.client.bgrewriteaof()
        wait_until(lambda: not self.client.info("persistence")["aof_rewrite_in_progress"], 30.0, "the log is rewritten")

    def _worker(self, name: str, queues: str, slots: int) -> Program:
        options = [f"--queues={queues}", f"--concurrency={slots}", "--pool=prefork", f"--hostname={name}@fleet"]
        # For an app of the tests, which lie beside each other and not in a package.
        path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
        own = {FAILPOINTS: str(self.failpoints), "PYTHONPATH": path}
        more = ("--without-gossip", "--without-mingle")
        return self._program(name, worker_user(queues), "worker", *options, *more, **own)

    def _beat(self, name: str) -> Program:
        return self._program(name, "harvest-beat", "beat")

    def _environ(self, user: str) -> dict[str, str]:
        return {**self.environ, **self.server.environ(user)}

    def _program(self, name: str, user: str, role: str, *options: str, **environ: str) -> Program:
        app = self._app_of_workers if FAILPOINTS in environ else "harvest_tasks"
        argv = [sys.executable, "-m", "celery", f"--app={app}", role, *options]
        log = self.server.directory / f"{name}.log"
        return Program(name, argv, {**inherited(), **self._environ(user), **environ}, log, ready=_is_ready)


def signalled(pids: Iterable[int], number: signal.Signals) -> int:
    """Signal those that still run; how many there were."""
    count = 0
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            count += 1
    return count


def is_running(pid: int) -> bool:
    """Whether the process is neither gone nor a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def _complaint(program: Program) -> str:
    lines = program.logs().decode(errors="replace").strip().splitlines()
    complaints = [line for line in lines if "ERROR" in line or "Error" in line]
    return " | ".join((complaints or lines)[-LAST_LINES:])


def _is_ready(program: Program) -> bool:
    """Whether it logged so since its last start."""
    said = program.logs()
    return b"ready." in said or b"is starting" in said
