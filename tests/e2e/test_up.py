"""`harvest up` as its user runs it: real server, real workers, real signals.

Its embedded server has no users: it is gone with the command, and listens on this machine alone. On a given server, all
that it starts is one user, with the rights of those who run apart elsewhere.
"""

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import inputs
import pytest
from cluster import inherited
from entries import BUY
from processes import children_of, in_session, marked, program
from users import TOGETHER, GuardedServer, for_up
from waiting import wait_until

from harvest_tasks.processes.embedded_server import EmbeddedServer, free_port
from harvest_tasks.server import keys, liveness
from harvest_tasks.server.client import Client, connect

HARVEST = str(Path(sys.executable).with_name("harvest"))
INPUT = "quantum:stream:execution.result"


@dataclass(frozen=True, slots=True)
class Up:
    process: subprocess.Popen[bytes]
    ready: str
    mark: str
    log: Path

    @property
    def redis_url(self) -> str:
        return self.ready.split("redis=")[1].split()[0]

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30.0)

    def until_gone(self) -> None:
        wait_until(lambda: not marked(self.mark), 5.0, "no process is left")

    def leader(self, name: str) -> int:
        """The newest process of this child."""
        started = re.findall(rf"{name}: started as process (\d+)", self.log.read_text())
        return int(started[-1])


Start = Callable[..., AbstractContextManager[Up]]


@pytest.fixture
def own_environ(environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Without a given server; temporary directories can be seen to go; short slices stop sooner."""
    del environ["REDIS_URL"]
    return {**environ, "TMPDIR": tempfile.mkdtemp(dir=tmp_path), "WATCH_SLICE_SEC": "0.5"}


@pytest.fixture
def start(own_environ: dict[str, str], tmp_path: Path) -> Start:
    @contextmanager
    def up(*options: str, **more: str) -> Iterator[Up]:
        mark, log = f"up-{os.getpid()}-{tmp_path.name}", tmp_path / "log"
        given = {**own_environ, **more, "STARTED_BY_TEST": mark}
        with log.open("wb") as to_log, program([HARVEST, "up", *options], stderr=to_log, environ=given) as process:
            assert process.stdout is not None
            line = process.stdout.readline().decode().strip()
            assert line.startswith("ready "), log.read_text(errors="replace")[-3000:]
            yield Up(process, line, mark, log)

    return up


def refused(environ: dict[str, str], *arguments: str) -> tuple[int, str]:
    """Exit code and stderr of a command that starts nothing."""
    done = subprocess.run(  # noqa: S603 - our own program
        [HARVEST, *arguments], env=environ, capture_output=True, text=True, timeout=30.0, check=False
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def assert_it_consumes(client: Client) -> None:
    client.xadd(INPUT, {"status": "FILLED", "symbol": "BTCUSDT", "side": "BUY", "qty": "0.5", "price": "60000"})
    wait_until(lambda: client.exists(keys.position("BTCUSDT")), 10.0, "the fill reached its position")


def test_it_says_ready_when_it_consumes_and_leaves_nothing_on_sigterm(
    start: Start, own_environ: dict[str, str]
) -> None:
    with start("--no-flower") as up:
        assert re.fullmatch(r"ready redis=redis://127\.0\.0\.1:\d+/0", up.ready)
        with closing(connect(up.redis_url)) as client:
            assert_it_consumes(client)
        assert up.end() == 0
        said = up.log.read_text()
        assert said.index("| stopping; running tasks may take up to 15.5 s\n") < said.index("Warm shutdown")
        up.until_gone()
        assert list(Path(own_environ["TMPDIR"]).iterdir()) == []


def test_a_killed_worker_comes_back_and_consumes(start: Start) -> None:
    with start("--no-flower") as up:
        first = up.leader("fills")
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: up.leader("fills") != first, 10.0, "another worker")
        wait_until(lambda: not in_session(first), 5.0, "the pool of the first is gone")
        with closing(connect(up.redis_url)) as client:
            assert_it_consumes(client)
            starts = f"{liveness.STARTS_PREFIX}fills@{socket.gethostname()}"
            wait_until(lambda: client.hget(keys.COUNTS, starts) == "2", 10.0, "both its starts are counted")
        assert up.end() == 0


def test_the_doctor_finds_nothing_wrong_with_it(start: Start, given: GuardedServer) -> None:
    deployment = {"SYNTHETIC_FALLBACK": "false", "SYMBOLS": "BTCUSDT"}
    with start("--no-flower", **deployment, **given.environ(TOGETHER)) as up:
        with closing(connect(given.url())) as client:
            inputs.market_state(client, ts_timestamp=str(client.time()[0]))
            wait_until(lambda: client.hget(keys.HEARTBEAT, liveness.BEAT_MS), 20.0, "beat's heart beats")
        done = subprocess.run(  # noqa: S603 - our own program
            [HARVEST, "doctor"],
            env={**inherited(), **deployment, **given.environ("operator")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout[:16], done.stderr) == (0, "Nothing is wrong", ""), done.stdout
        assert up.end() == 0


def test_the_proof_passes_in_it(start: Start, given: GuardedServer, tmp_path: Path) -> None:
    deployment = {"SYNTHETIC_FALLBACK": "false", "SYMBOLS": "BTCUSDT,ETHUSDT", "PUBLISH_INTERVAL_SEC": "1"}
    with start("--no-flower", **deployment, **given.environ(TOGETHER)) as up:
        with closing(connect(given.url())) as client:
            for symbol in ("BTCUSDT", "ETHUSDT"):
                inputs.market_state(client, symbol, ts_timestamp=str(client.time()[0]))
            client.xadd(INPUT, dict[Any, Any](BUY))
            client.xadd(INPUT, {"status": "PRICE_UPDATE", "symbol": "BTCUSDT", "price": "105.2"})
            wait_until(lambda: client.exists("quantum:harvest:proposal:BTCUSDT"), 20.0, "a proposal is published")
            wait_until(lambda: client.hget(keys.HEARTBEAT, liveness.BEAT_MS), 20.0, "beat's heart beats")
        done = subprocess.run(  # noqa: S603 - our own program
            [HARVEST, "proof", "--seconds", "4", "--active", "--json", "--report", str(tmp_path / "proof.md")],
            # A rehearsal, and what others may do, take the owner.
            env={**inherited(), **deployment, "REDIS_URL": given.url()},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
        results = {result["subject"]: result for result in json.loads(done.stdout)}
        not_run = {subject for subject, result in results.items() if result["verdict"] != "ok"}
        assert not_run <= {"systemd units"}
        assert results["proposal rate"]["seen"].startswith("in 4 s ")
        assert results["rehearsal: kill switch"]["verdict"] == "ok"
        assert "# Proof of Harvest" in (tmp_path / "proof.md").read_text()
        assert up.end() == 0


def test_killed_by_sigkill_it_leaves_no_process(start: Start) -> None:
    with start("--no-flower") as up:
        assert len(children_of(up.process.pid)) == 5  # the server, three workers, beat
        up.end(signal.SIGKILL)
        up.until_gone()


@pytest.fixture
def given(server: EmbeddedServer) -> Iterator[GuardedServer]:
    with for_up(GuardedServer(server.executable)) as running:
        yield running


def test_with_a_given_server_it_starts_none(start: Start, given: GuardedServer) -> None:
    with (
        start("--no-flower", "--workers", "1", **given.environ(TOGETHER)) as up,
        closing(connect(given.url())) as owner,
    ):
        assert up.redis_url == given.url().replace("//", "//***@")
        assert not [child for child in children_of(up.process.pid) if "valkey" in child.command]
        assert_it_consumes(owner)
        assert up.end(signal.SIGINT) == 0
        up.until_gone()


def test_flower_listens_on_loopback_and_asks_for_the_password_it_was_given(start: Start) -> None:
    port = free_port()
    with start(FLOWER_PORT=str(port), FLOWER_BASIC_AUTH="me:secret") as up:
        address = f"http://127.0.0.1:{port}/workers"
        assert up.ready.endswith(f"flower=http://127.0.0.1:{port}")
        assert _status(address) == 401
        assert _status(address, "me:secret") == 200
        assert _listening(port) == ["0100007F"]
        assert up.end() == 0
        up.until_gone()


def test_without_a_password_it_lets_those_on_this_machine_look(start: Start, given: GuardedServer) -> None:
    port = free_port()
    with start(FLOWER_PORT=str(port), **given.environ(TOGETHER)) as up:
        assert _status(f"http://127.0.0.1:{port}/workers") == 200
        assert up.end() == 0


def _listening(port: int) -> list[str]:
    """The local addresses that accept connections on `port`, as the kernel writes them."""
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    sockets = [(*row[1].split(":"), row[3]) for row in rows]
    return [address for address, number, state in sockets if int(number, 16) == port and state == "0A"]


def _status(address: str, login: str | None = None) -> int:
    request = urllib.request.Request(address)  # noqa: S310 - http to ourselves
    if login:
        request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=10.0) as answer:  # noqa: S310 - http to ourselves
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_wrong_setting_is_one_line_and_exit_code_2(own_environ: dict[str, str]) -> None:
    code, said = refused({**own_environ, "HARVEST_MODE": "banana"}, "up")
    assert code == 2
    assert re.fullmatch(r"harvest: HARVEST_MODE='banana': .*\n", said)


def test_each_wrong_setting_has_its_line(own_environ: dict[str, str]) -> None:
    code, said = refused({**own_environ, "HARVEST_MODE": "banana", "HARVEST_REDUCE_ONLY": "false"}, "up")
    assert code == 2
    assert [line.partition("=")[0] for line in said.splitlines()] == [
        "harvest: HARVEST_MODE",
        "harvest: HARVEST_REDUCE_ONLY",
    ]


def test_a_wrong_option_exits_with_2(own_environ: dict[str, str]) -> None:
    code, said = refused(own_environ, "up", "--workers", "0")
    assert code == 2
    assert "Traceback" not in said


@pytest.mark.parametrize("name", ["REDIS_URL", "BROKER_URL"])
def test_an_unreachable_server_is_one_line_and_exit_code_3(environ: dict[str, str], name: str) -> None:
    place = f"127.0.0.1:{free_port()}/0"
    code, said = refused({**environ, name: f"redis://:secret@{place}"}, "up")
    assert code == 3
    assert said == (
        f"harvest: the server at redis://***@{place} does not answer: connection refused. "
        f"Fix: start it, or correct {name} (harvest config)\n"
    )
