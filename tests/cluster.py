"""Real programs in the shape that pytest-celery gives to Docker containers: process-backed clusters, no Docker.

All that pytest-celery asks of a container is its name, state, log, ports, and to be signalled and started again. A
`Program` answers that for a process of this machine, so that its brokers, backends and workers are the real ones:
`valkey-server` (or the server under test) and `celery worker`.
"""

import os
import shlex
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import celery
from processes import children_of
from pytest_celery import CeleryWorkerContainer, RedisContainer
from waiting import wait_until

from harvest_tasks.processes.embedded_server import LOOPBACK, EmbeddedServer
from harvest_tasks.processes.process_group import ProcessGroups, kill_group
from harvest_tasks.settings.model import Settings

READY_WITHIN_SEC = 60.0
STOP_WITHIN_SEC = 10.0


class Program:
    """A program as docker-py would describe its container; it leads a session of its own and cannot outlive us.

    What a container promises holds here, too: SIGKILL ends everything in it, and a restart keeps its name.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        environ: Mapping[str, str],
        log: Path,
        *,
        ready: Callable[["Program"], bool],
        port: int | None = None,
    ) -> None:
        self.name = name
        self.id = uuid.uuid4().hex
        self.attrs = _attributes(port)
        self._argv = argv
        self._environ = environ
        self._log = log
        self._began = 0
        self._is_ready = ready
        self._groups = ProcessGroups()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def status(self) -> str:
        return "running" if self._process is not None and self._process.poll() is None else "exited"

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    def children(self) -> list[int]:
        """The processes it forked: of a worker, its pool."""
        return [child.pid for child in children_of(self.pid) if not child.command.startswith("/bin/sh")]

    def reload(self) -> None:
        """Nothing here is a copy that grows old."""

    def logs(self) -> bytes:
        """Since the last start."""
        return self._log.read_bytes()[self._began :]

    def exec_run(self, command: str, **_: Any) -> tuple[int, bytes]:
        """On this machine, which is where the program is."""
        done = subprocess.run(shlex.split(command), capture_output=True, check=False)  # noqa: S603 - pytest-celery's own
        return done.returncode, done.stdout

    def launch(self) -> None:
        """Starts it without waiting until it is ready."""
        self._began = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = self._groups.start(self._argv, output=log.fileno(), environ=self._environ)

    def wait_until_ready(self) -> None:
        wait_until(self._ready_or_gone, READY_WITHIN_SEC, f"{self.name} is ready")
        assert self.status == "running", f"{self.name} ended: {self.logs().decode(errors='replace')[-2000:]}"

    def start(self) -> None:
        self.launch()
        self.wait_until_ready()

    def kill(self, signal: str | int | None = None) -> None:
        number = _number(signal)
        if self._process is None:
            return
        if number == _number("SIGKILL"):
            kill_group(self._process)
            self._process.wait()
        else:
            self._process.send_signal(number)

    def stop(self, timeout: float = STOP_WITHIN_SEC) -> None:
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout)
            self.kill()

    def restart(self, timeout: float = STOP_WITHIN_SEC) -> None:
        self.stop(timeout)
        self.start()

    def close(self) -> None:
        self.kill()
        self._groups.close()

    def _ready_or_gone(self) -> bool:
        return self.status == "exited" or self._is_ready(self)


class ServerContainer(RedisContainer):
    """The server's database for messages and results."""

    @property
    def port(self) -> int:
        (port,) = self.attrs["NetworkSettings"]["Ports"]
        return int(self._wait_port(port))

    @property
    def vhost(self) -> str:
        return "1"

    @property
    def url(self) -> str:
        return f"{self.prefix()}{LOOPBACK}:{self.port}/{self.vhost}"

    @property
    def host_url(self) -> str:
        return self.url

    @classmethod
    def version(cls) -> str:
        return "the server under test"


class WorkerContainer(CeleryWorkerContainer):
    """A worker of Harvest's own app instead of one that pytest-celery writes into an image."""

    def worker_name(self) -> str:
        return str(self.name)

    @classmethod
    def version(cls) -> str:
        return str(celery.__version__)


def server_program(server: EmbeddedServer, directory: Path) -> Program:
    """`server`'s command line, run by a `Program` in its place."""
    return Program(
        "server",
        server.argv,
        inherited(),
        directory / "server.log",
        ready=lambda _: server.answers(),
        port=int(server.url().rpartition(":")[2].partition("/")[0]),
    )


def worker_program(
    name: str, queues: str, slots: int, environ: Mapping[str, str], directory: Path, *options: str
) -> Program:
    """`celery worker` on `queues` with a pool of `slots` processes; its node is `name@<the first of its id>`."""
    argv = [*_celery("worker"), f"--queues={queues}", f"--concurrency={slots}", "--pool=prefork"]
    program = Program(name, argv, environ, directory / f"{name}.log", ready=lambda it: b"ready." in it.logs())
    argv += [f"--hostname={name}@{program.id[:12]}", "--without-gossip", "--without-mingle", *options]
    return program


def beat_program(name: str, environ: Mapping[str, str], directory: Path) -> Program:
    """`celery beat`."""
    return Program(name, _celery("beat"), environ, directory / f"{name}.log", ready=lambda it: b"starting" in it.logs())


def inherited() -> dict[str, str]:
    """This process's environment without any setting of Harvest's, and with logs that are written at once."""
    settings = {name.upper() for name in Settings.model_fields}
    kept = {n: value for n, value in os.environ.items() if n not in settings and not n.startswith("HARVEST_")}
    return {**kept, "PYTHONUNBUFFERED": "1"}


def _celery(role: str) -> list[str]:
    return [sys.executable, "-m", "celery", "--app=harvest_tasks", role]


def _attributes(port: int | None) -> dict[str, Any]:
    ports = {} if port is None else {f"{port}/tcp": [{"HostIp": LOOPBACK, "HostPort": str(port)}]}
    return {
        "Config": {"Hostname": LOOPBACK, "Env": []},
        "HostConfig": {"PortBindings": {}},
        "NetworkSettings": {"Networks": {"loopback": {"IPAddress": LOOPBACK}}, "Ports": ports},
    }


def _number(name: str | int | None) -> int:
    """Docker's spelling of a signal; none is SIGKILL."""
    if name is None:
        return signal.SIGKILL
    return name if isinstance(name, int) else signal.Signals[name]
