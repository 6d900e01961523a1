"""A password is nowhere to be read while programs run, and not in what they say when they cannot log in."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cluster import inherited
from users import Users, guarded

from harvest_tasks.processes.embedded import EmbeddedServer

HARVEST = str(Path(sys.executable).with_name("harvest"))
CELERY = [sys.executable, "-m", "celery", "--app=harvest_tasks"]


@pytest.fixture(scope="module")
def place(server: EmbeddedServer) -> Iterator[tuple[EmbeddedServer, Users]]:
    with guarded(server.executable) as made:
        yield made


@pytest.fixture(params=["in the URL", "in a file"])
def given(request: pytest.FixtureRequest) -> str:
    """How the password reaches a program."""
    return str(request.param)


def environ(place: tuple[EmbeddedServer, Users], given: str, user: str) -> dict[str, str]:
    running, users = place
    if given == "in a file":
        return {**inherited(), **users.environ(running, user)}
    return {**inherited(), "REDIS_URL": users.url(running, user), "BROKER_URL": users.url(running, user, db=1)}


def said(argv: list[str], settings: dict[str, str], until: str) -> str:
    """What a program writes until it says `until`, or ends; and its command line and its children's by then."""
    with subprocess.Popen(argv, env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:  # noqa: S603 - ours
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if until in line:
                break
        lines += [path.read_text() for path in Path("/proc").glob("[0-9]*/cmdline") if _is_of(path, process.pid)]
        process.terminate()
        lines += process.stdout
    return "".join(lines)


def _is_of(path: Path, pid: int) -> bool:
    """Whether it is that process or a child of it."""
    with suppress(OSError):
        # its state, its parent, ...
        parent = (path.parent / "stat").read_text().rpartition(")")[2].split()[1]
        return str(pid) in (path.parent.name, parent)
    return False


WORKER = [*CELERY, "worker", "--queues=fills,watch,control", "--concurrency=2", "--without-gossip", "--without-mingle"]
PROGRAMS = {
    "a worker with its banner": ("harvest-brain", WORKER, "ready."),
    "beat": ("harvest-beat", [*CELERY, "beat"], "starting"),
    "flower": ("flower", [*CELERY, "flower", "--logging=debug", "--debug=true", "--port=0"], "Connected to"),
    "celery report": ("operator", [*CELERY, "report"], "THE END"),
    "harvest config": ("operator", [HARVEST, "config", "--json"], "THE END"),
    "harvest positions": ("operator", [HARVEST, "positions"], "THE END"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_program_shows_its_password(place: tuple[EmbeddedServer, Users], given: str, name: str) -> None:
    user, argv, until = PROGRAMS[name]
    shown = said(argv, {**environ(place, given, user), "LOG_LEVEL": "DEBUG"}, until)
    assert until in shown or until == "THE END", shown
    assert "Traceback" not in shown, shown
    assert place[1].password(user) not in shown


@pytest.mark.parametrize("name", ["a worker with its banner", "beat", "harvest positions"])
@pytest.mark.parametrize("trouble", ["wrong password", "no server"])
def test_nor_does_one_that_cannot_log_in(place: tuple[EmbeddedServer, Users], trouble: str, name: str) -> None:
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
    settings = environ(place, "in a file", "harvest-brain")
    with subprocess.Popen(WORKER, env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:  # noqa: S603 - ours
        assert process.stdout is not None
        for line in process.stdout:
            if b"ready." in line:
                break
        held = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/environ") if _is_of(path, process.pid)]
        process.terminate()
        process.stdout.read()
    assert len(held) > 1
    assert not any(place[1].password("harvest-brain").encode() in text for text in held)
