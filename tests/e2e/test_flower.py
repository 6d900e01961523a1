"""Flower as flower.conf sets it up, asked over HTTP, and looked at with a real browser where one is installed."""

import base64
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from celery import Celery
from cluster import Program, inherited, worker_program
from processes import program
from users import Users, assert_nobody_is_denied, guarded
from waiting import wait_until

from harvest_tasks.messaging.configuration import configuration
from harvest_tasks.processes.embedded_server import EmbeddedServer, free_port
from harvest_tasks.server.client import connect
from harvest_tasks.settings.model import Settings

ROOT = Path(__file__).parents[2]
LOGIN = "me:open-sesame"
CALLS = 12
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--window-size=1600,640"),
)
PAGES = ("/", "/tasks", "/broker", "/api/tasks", "/api/workers?refresh=1", "/metrics")
BUTTONS = ("/api/worker/shutdown/", "/api/worker/pool/shrink/", "/api/task/async-apply/", "/api/task/revoke/")


@dataclass(frozen=True, slots=True)
class Flower:
    port: int
    worker: str
    secrets: tuple[str, ...]
    """What no page may show."""

    def ask(self, path: str, login: str | None = LOGIN, method: str = "GET") -> tuple[int, str]:
        """Status and body."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        if login:
            request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
        try:
            with urllib.request.urlopen(request, timeout=20.0) as answer:  # noqa: S310 - to ourselves
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


def argv(port: int) -> list[str]:
    flower = [sys.executable, "-m", "celery", "--app=harvest_tasks", "flower"]
    return [*flower, f"--conf={ROOT / 'flower.conf'}", f"--port={port}"]


@pytest.fixture(scope="module")
def place(server: EmbeddedServer) -> Iterator[tuple[EmbeddedServer, Users]]:
    with guarded(server.executable) as made:
        yield made
        with connect(made[0].url()) as owner:
            assert_nobody_is_denied(owner)


@pytest.fixture(scope="module")
def worker(place: tuple[EmbeddedServer, Users], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    running, users = place
    environ = {**inherited(), **users.environ(running, "harvest-proposal"), "ADHOC_RATE_LIMIT": "100/s"}
    started = worker_program("proposals", "adhoc", 1, environ, tmp_path_factory.mktemp("worker"), "--task-events")
    started.start()
    yield started
    started.close()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def flower_environ(place: tuple[EmbeddedServer, Users], state: Path) -> dict[str, str]:
    """As systemd gives it: the login is a credential, too."""
    running, users = place
    environ = {**inherited(), **users.environ(running, "flower"), "STATE_DIRECTORY": str(state)}
    Path(environ["CREDENTIALS_DIRECTORY"], "flower-auth").write_text(f"{LOGIN}\n")
    return environ


@pytest.fixture(scope="module")
def flower(place: tuple[EmbeddedServer, Users], worker: Program, flower_environ: dict[str, str]) -> Iterator[Flower]:
    """Running, and with some tasks to show."""
    running, users = place
    port = free_port()
    secrets = users.password("flower"), users.password("harvest-proposal"), LOGIN.partition(":")[2]
    shown = Flower(port, f"proposals@{worker.id[:12]}", secrets)
    with program(argv(port), environ=flower_environ, stderr=subprocess.DEVNULL):
        wait_until(lambda: _seen(shown, "/api/workers?refresh=1", shown.worker), 60.0, "Flower sees the worker")
        _call(running)
        wait_until(lambda: _seen(shown, "/metrics", f'task="{TASK}",type="task-succeeded"'), 30.0, "the tasks")
        yield shown


TASK = "harvest_tasks.proposals.compute_proposal"


def _seen(flower: Flower, path: str, text: str) -> bool:
    with suppress(OSError):
        return text in flower.ask(path)[1]
    return False


def _call(server: EmbeddedServer) -> None:
    app = Celery("harvest_tasks", set_as_current=False)
    app.conf.update(configuration(Settings.from_env({"REDIS_URL": server.url()})))
    results = [app.send_task(TASK, ("BTCUSDT",)) for _ in range(CALLS)]
    assert all(result.get(timeout=30.0)["symbol"] == "BTCUSDT" for result in results)
    app.close()


@pytest.mark.parametrize("login", [None, "me:wrong", "me:", "you:open-sesame"])
@pytest.mark.parametrize("path", ["/", "/tasks", "/broker", "/api/workers", "/api/tasks"])
def test_without_the_password_nothing_is_shown(flower: Flower, path: str, login: str | None) -> None:
    status, body = flower.ask(path, login)
    assert status == 401
    assert "harvest" not in body.lower()


def test_pages_show_the_worker_and_its_tasks(flower: Flower) -> None:
    assert flower.worker in flower.ask("/")[1]
    assert TASK in flower.ask("/api/tasks")[1]


def test_no_page_shows_a_password(flower: Flower) -> None:
    for path in (*PAGES, f"/worker/{flower.worker}"):
        status, body = flower.ask(path)
        assert status == 200, path
        assert not any(secret in body for secret in flower.secrets), path


@pytest.mark.parametrize("button", BUTTONS)
def test_no_button_does_anything(flower: Flower, worker: Program, button: str) -> None:
    status, _ = flower.ask(button + (TASK if "async" in button else flower.worker), method="POST")
    assert status == 403
    assert worker.status == "running"


def test_runtimes_below_5_ms_are_distinguished(flower: Flower) -> None:
    metrics = flower.ask("/metrics")[1]
    buckets = {line.split('le="')[1].split('"')[0] for line in metrics.splitlines() if "runtime_seconds_bucket" in line}
    assert {"0.001", "0.002", "0.003", "0.005"} <= buckets


def test_flower_asks_the_server_for_nothing_that_it_may_not(
    flower: Flower, place: tuple[EmbeddedServer, Users]
) -> None:
    flower.ask("/broker")
    flower.ask(f"/worker/{flower.worker}")
    with connect(place[0].url()) as owner:
        refused = [entry["object"] for entry in owner.acl_log() if entry["username"] == "flower"]
    assert set(refused) <= {"client|setinfo"}


@pytest.mark.parametrize("given", [{}, {"FLOWER_BASIC_AUTH": "me"}, {"FLOWER_BASIC_AUTH": ":"}], ids=str)
def test_without_a_password_flower_does_not_start(environ: dict[str, str], given: dict[str, str]) -> None:
    done = subprocess.run(  # noqa: S603 - ours
        argv(free_port()), env={**environ, **given}, capture_output=True, text=True, timeout=60.0, check=False
    )
    assert done.returncode == os.EX_CONFIG
    assert len(done.stderr.splitlines()) == 1
    assert "FLOWER_UNAUTHENTICATED=yes" in done.stderr


def test_it_remembers_tasks_where_it_may_keep_them(flower: Flower, flower_environ: dict[str, str], state: Path) -> None:
    port = free_port()
    own = {**flower_environ, "STATE_DIRECTORY": str(state / "second")}
    (state / "second").mkdir()
    again = Flower(port, flower.worker, flower.secrets)
    with program(argv(port), environ=own, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: _seen(again, "/api/workers?refresh=1", flower.worker), 60.0, "it is up")
        process.terminate()
        process.wait(30.0)
    assert list((state / "second").iterdir())


@dataclass(frozen=True, slots=True)
class Browser:
    profile: Path

    def shows(self, url: str, *options: str) -> str:
        """The page after its scripts ran."""
        assert CHROMIUM is not None
        given = [*FLAGS, f"--user-data-dir={self.profile}", "--virtual-time-budget=8000", *options, url]
        done = subprocess.run(  # noqa: S603 - a browser
            [CHROMIUM, *given], capture_output=True, text=True, timeout=120.0, check=False
        )
        return done.stdout


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    if CHROMIUM is None:
        pytest.skip("no chromium here: apt-get install chromium")
    return Browser(tmp_path / "profile")


def test_a_browser_without_the_password_sees_nothing(flower: Flower, browser: Browser) -> None:
    assert TASK not in browser.shows(f"http://127.0.0.1:{flower.port}/tasks", "--dump-dom")


def test_a_browser_sees_tasks_with_their_retries_and_without_their_payloads(flower: Flower, browser: Browser) -> None:
    page = browser.shows(f"http://{LOGIN}@127.0.0.1:{flower.port}/tasks", "--dump-dom")
    assert page.count(TASK) >= 10
    assert "SUCCESS" in page
    assert "Retries" in page
    assert "BTCUSDT" not in page
    assert "no_market_state" not in page


def test_a_browser_sees_what_a_worker_got_through(
    flower: Flower, browser: Browser, tmp_path: Path, screenshot: Callable[[Path], None]
) -> None:
    place = f"http://{LOGIN}@127.0.0.1:{flower.port}/"
    page = browser.shows(place, "--dump-dom")
    for text in (flower.worker, "Processed", "Succeeded", f">{CALLS}<"):
        assert text in page, text
    browser.shows(f"{place}tasks", f"--screenshot={tmp_path / 'flower.png'}")
    assert (tmp_path / "flower.png").read_bytes().startswith(b"\x89PNG")
    screenshot(tmp_path / "flower.png")


@pytest.fixture
def screenshot() -> Callable[[Path], None]:
    """Keeps the picture of the docs, where SCREENSHOT names it."""

    def keep(picture: Path) -> None:
        if "SCREENSHOT" in os.environ:
            shutil.copy(picture, os.environ["SCREENSHOT"])

    return keep
