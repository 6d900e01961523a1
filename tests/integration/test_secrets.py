"""A password is nowhere to be read while programs run, and not in what they say when they cannot log in."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer

import pytest
from cluster import inherited
from users import Users, guarded

from harvest_tasks.processes.embedded_server import EmbeddedServer

HARVEST = str(Path(sys.executable).with_name("harvest"))
CELERY = [sys.executable, "-m", "celery", "--app=harvest_tasks"]


@pytest.fixture(scope="module")
def place(server: EmbeddedServer) -> Iterator[tuple[EmbeddedServer, Users]]:
    with guarded(server.executable) as made:
        yield made


def environ(place: tuple[EmbeddedServer, Users], given: str, user: str) -> dict[str, str]:
    """`given`: how the password reaches the program."""
    running, users = place
    if given == "in a file":
        return {**inherited(), **users.environ(running, user)}
    return {**inherited(), "REDIS_URL": users.url(running, user), "BROKER_URL": users.url(running, user, db=1)}


@contextmanager
def started(argv: list[str], settings: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """With all it writes on one pipe; it is gone after a minute, whatever it waits for."""
    with subprocess.Popen(argv, env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:  # noqa: S603 - ours
        end = Timer(60.0, process.kill)
        end.start()
        try:
            yield process
        finally:
            process.terminate()
            end.cancel()


def said(argv: list[str], settings: dict[str, str], until: str) -> str:
    """What a program writes until it says `until`, or ends; and its command line and its children's by then."""
    with started(argv, settings) as process:
        lines = list(_lines(process, until))
        lines += of_family(process.pid, "cmdline")
        process.terminate()
        lines += process.stdout or ()
    return "".join(lines)


def _lines(process: subprocess.Popen[str], until: str) -> Iterator[str]:
    for line in process.stdout or ():
        yield line
        if until in line:
            return


def of_family(pid: int, what: str) -> list[str]:
    """What /proc shows of a process and of its children."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            # Behind the name: its state, its parent, ...
            parent = (directory / "stat").read_text().rpartition(")")[2].split()[1]
            if str(pid) in (directory.name, parent):
                found.append((directory / what).read_text(errors="replace"))
    return found


WORKER = [*CELERY, "worker", "--queues=fills,watch,control", "--concurrency=2", "--without-gossip", "--without-mingle"]
PROGRAMS = {
    "a worker with its banner": ("harvest-brain", WORKER, "ready."),
    "beat": ("harvest-beat", [*CELERY, "beat"], "starting"),
    "flower": ("flower", [*CELERY, "flower", "--logging=debug", "--debug=true", "--port=0"], "Connected to"),
    "celery report": ("operator", [*CELERY, "report"], "THE END"),
    "harvest config": ("operator", [HARVEST, "config", "--json"], "THE END"),
    "harvest positions": ("operator", [HARVEST, "positions"], "THE END"),
}


@pytest.mark.parametrize(
    ("name", "given"), [*((name, "in a file") for name in PROGRAMS), ("a worker with its banner", "in the URL")]
)
def test_no_program_shows_its_password(place: tuple[EmbeddedServer, Users], name: str, given: str) -> None:
    user, argv, until = PROGRAMS[name]
    shown = said(argv, {**environ(place, given, user), "LOG_LEVEL": "DEBUG"}, until)
    assert until in shown or until == "THE END", shown
    assert "Traceback" not in shown, shown
    assert place[1].password(user) not in shown


@pytest.mark.parametrize(
    ("name", "trouble"),
    [("a worker with its banner", "wrong password"), ("beat", "no server"), ("harvest positions", "wrong password")],
)
def test_nor_does_one_that_cannot_log_in(place: tuple[EmbeddedServer, Users], name: str, trouble: str) -> None:
    user, argv, _ = PROGRAMS[name]
    secret = place[1].password(user)
    port = str(place[0].url().rpartition(":")[2].partition("/")[0])
    changed = {"wrong password": (secret, f"Zq{secret}"), "no server": (f":{port}/", ":1/")}[trouble]
    settings = environ(place, "in the URL", user)
    settings |= {name: settings[name].replace(*changed) for name in ("REDIS_URL", "BROKER_URL")}
    problem = {"wrong password": "invalid username-password pair", "no server": "Connection refused"}[trouble]
    shown = said(argv, settings, problem)
    assert problem in shown
    assert secret not in shown


def test_a_password_from_a_file_is_in_nobodys_environment(place: tuple[EmbeddedServer, Users]) -> None:
    with started(WORKER, environ(place, "in a file", "harvest-brain")) as process:
        assert "ready." in list(_lines(process, "ready."))[-1]
        held = of_family(process.pid, "environ")
        process.terminate()
        assert process.stdout is not None
        process.stdout.read()
    assert len(held) > 1
    assert not any(place[1].password("harvest-brain") in text for text in held)
