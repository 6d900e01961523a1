"""Harvest over TLS, which a server of Debian or Redis speaks and the embedded one does not, and over a unix socket.

Either way it logs in with a name and a password.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from celery import Celery
from cluster import inherited
from entries import BUY
from processes import program
from users import TOGETHER, GuardedServer, Users, for_up
from waiting import wait_until

from harvest_tasks.messaging.configuration import configuration
from harvest_tasks.processes.embedded_server import LOOPBACK, EmbeddedError, EmbeddedServer, free_port
from harvest_tasks.server import keys
from harvest_tasks.server.client import connect
from harvest_tasks.settings.model import Settings

HARVEST = str(Path(sys.executable).with_name("harvest"))
INPUT = "quantum:stream:execution.result"


class Place(NamedTuple):
    """Where a server is, as its owner sees it, and who may log in there."""

    address: str
    users: Users


def certificate(directory: Path, name: str) -> Path:
    """Of a server on this machine, and its own authority; the key lies beside it."""
    tool = shutil.which("openssl")
    if tool is None:
        pytest.skip("no openssl to make a certificate with")
    made, key = directory / f"{name}.pem", directory / f"{name}.key"
    options = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    place = ["-addext", f"subjectAltName=IP:{LOOPBACK}", "-keyout", str(key), "-out", str(made)]
    subprocess.run([tool, "req", "-x509", *options, *place], check=True, capture_output=True)  # noqa: S603 - ours
    return made


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def over_tls(server: EmbeddedServer, directory: Path) -> Iterator[Place]:
    """The address of a server that speaks TLS, with the authority to trust."""
    trusted, port = certificate(directory, "server"), free_port()
    files = ["--tls-cert-file", str(trusted), "--tls-key-file", str(trusted.with_suffix(".key"))]
    options = ["--tls-port", str(port), *files, "--tls-auth-clients", "no"]
    executable = server.executable if _speaks_tls(server.executable, options) else shutil.which("redis-server")
    if executable is None or not _speaks_tls(executable, options):
        pytest.skip("no server here that speaks TLS: install redis-server, or set REDIS_SERVER")
    with for_up(GuardedServer(executable, options=options)) as running:
        yield Place(f"rediss://{LOOPBACK}:{port}/0?ssl_ca_certs={trusted}", running.users)


def _speaks_tls(executable: str, options: list[str]) -> bool:
    try:
        with EmbeddedServer(executable, options=options):
            return True
    except EmbeddedError:
        return False


@pytest.fixture(scope="module")
def over_a_socket(server: EmbeddedServer) -> Iterator[Place]:
    with for_up(GuardedServer(server.executable, unix=True)) as unix:
        yield Place(unix.url(), unix.users)


@pytest.fixture(params=["over_tls", "over_a_socket"])
def place(request: pytest.FixtureRequest) -> Place:
    made: Place = request.getfixturevalue(request.param)
    return made


def test_a_fill_reaches_its_position(place: Place) -> None:
    login = place.users.environ_at({"REDIS_URL": place.address}, TOGETHER)
    environ = {**inherited(), **login, "WATCH_SLICE_SEC": "0.5"}
    with program([HARVEST, "up", "--no-flower", "--workers", "1"], environ=environ) as up:
        assert up.stdout is not None
        assert up.stdout.readline().startswith(b"ready ")
        with closing(connect(place.address)) as client:
            client.xadd(INPUT, dict[Any, Any](BUY))
            wait_until(lambda: client.exists(keys.position("BTCUSDT")), 20.0, "the fill reached its position")
        up.terminate()
        up.wait(60.0)


def test_celery_asks_for_the_servers_certificate(over_tls: Place) -> None:
    app = Celery("harvest_tasks", set_as_current=False)
    app.conf.update(configuration(Settings.from_env({"REDIS_URL": over_tls.address})))
    with app.connection_for_write() as broker:
        for pool in (broker.default_channel.client.connection_pool, app.backend.client.connection_pool):
            assert pool.connection_kwargs["ssl_cert_reqs"] in ("required", 2)
            assert pool.connection_kwargs["ssl_ca_certs"].endswith("server.pem")


@pytest.mark.parametrize("trusting", ["the system's authorities", "another authority"])
def test_a_server_that_one_does_not_trust_is_one_line_and_exit_code_3(
    over_tls: Place, directory: Path, trusting: str
) -> None:
    place = over_tls.address.partition("?")[0]
    other = f"{place}?ssl_ca_certs={certificate(directory, 'other')}"
    environ = {**inherited(), "REDIS_URL": place if trusting.startswith("the system") else other}
    for command in ("positions", "up"):
        done = subprocess.run(  # noqa: S603 - ours
            [HARVEST, command], env=environ, capture_output=True, text=True, timeout=60.0, check=False
        )
        assert done.returncode == 3
        assert "certificate verify failed" in done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
