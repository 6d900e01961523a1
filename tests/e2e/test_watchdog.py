"""What a worker and beat report to systemd: that they are at work, and nothing while their server does not answer."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from cluster import inherited
from processes import children_of, program
from users import GuardedServer, assert_nobody_is_denied, worker_user
from waiting import wait_until

from harvest_tasks.messaging.systemd import AT_WORK
from harvest_tasks.processes.embedded_server import EmbeddedServer
from harvest_tasks.processes.roles import WORKERS
from harvest_tasks.server.client import connect

PATIENCE_SEC = 60.0
SILENCE_SEC = 5.0
"""Several times as long as a process at work is silent."""


class Listener:
    """The end of systemd: a socket that hears what processes say."""

    def __init__(self, address: Path) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(address))

    def hear(self, within: float) -> str | None:
        """The next message; None if there is none for `within` seconds."""
        self._socket.settimeout(within)
        try:
            return self._socket.recv(4096).decode()
        except TimeoutError:
            return None

    def is_silent(self) -> bool:
        return self.hear(SILENCE_SEC) is None

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def own_server(server: EmbeddedServer) -> Iterator[GuardedServer]:
    """One that a test may stop."""
    with GuardedServer(server.executable) as running:
        yield running
        with closing(connect(running.url())) as owner:
            assert_nobody_is_denied(owner)


@contextmanager
def running(role: str, server: GuardedServer, directory: Path) -> Iterator[Listener]:
    """A process of a deployment, and what it reports to the process that started it."""
    listener = Listener(directory / f"{role}.notify")
    user = worker_user(WORKERS[role]) if role in WORKERS else "harvest-beat"
    environ = {**server.environ(user), "WATCH_SLICE_SEC": "1", "NOTIFY_SOCKET": str(listener.address)}
    with (directory / f"{role}.log").open("wb") as log:
        argv = [sys.executable, "-m", "harvest_tasks", "run", role]
        with program(argv, stdout=log, stderr=log, environ={**inherited(), **environ}) as process:
            try:
                yield listener
                process.terminate()
                process.wait(PATIENCE_SEC)
            finally:
                # A worker that is killed leaves its children behind.
                for child in children_of(process.pid):
                    os.kill(child.pid, signal.SIGKILL)
                listener.close()


def test_workers_and_beat_say_that_they_are_at_work_only_while_their_server_answers(
    own_server: GuardedServer, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        listeners = [stack.enter_context(running(role, own_server, tmp_path)) for role in ("fills", "adhoc", "beat")]
        for listener in listeners:
            assert listener.hear(PATIENCE_SEC) == AT_WORK
        os.kill(own_server.pid, signal.SIGSTOP)
        try:
            for listener in listeners:
                wait_until(listener.is_silent, PATIENCE_SEC, "nothing is said without a server")
        finally:
            os.kill(own_server.pid, signal.SIGCONT)
        for listener in listeners:
            assert listener.hear(PATIENCE_SEC) == AT_WORK
