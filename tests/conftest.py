"""The real server every test above the unit level talks to, and the check that no test leaves a process behind."""

import os
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import run_summary
from hypothesis import settings as hypothesis_settings
from processes import marked
from waiting import wait_until

from harvest_tasks.processes.embedded_server import EmbeddedError, EmbeddedServer, wheel_executable
from harvest_tasks.server.client import Client, connect

# No deadline: two shared cores say nothing about the code.
hypothesis_settings.register_profile("ci", deadline=None, derandomize=False, print_blob=True)
hypothesis_settings.load_profile("ci")


def pytest_report_header() -> str:
    try:
        executable = _executable()
    except EmbeddedError as error:
        return f"server: {error}"
    return f"server: {executable}: {_version(executable)}"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """One of several processes reports to the first what its tests counted."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output.update(run_summary.kept())


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    run_summary.add(getattr(node, "workeroutput", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How often the random tests took each branch, and what was measured, if they ran."""
    if run_summary.MEASURED:
        terminalreporter.section("seeds and times of the end-to-end tests")
        for line in run_summary.MEASURED:
            terminalreporter.write_line(line)
    if run_summary.TALLIES:
        terminalreporter.section("branches of random tests")
        for line in run_summary.lines(terminalreporter._tw.fullwidth):
            terminalreporter.write_line(line)


def _executable() -> str:
    return os.environ.get("REDIS_SERVER") or wheel_executable()


def _version(executable: str) -> str:
    shown = subprocess.run([executable, "--version"], capture_output=True, text=True, check=False)  # noqa: S603 - ours
    return shown.stdout.strip()


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Every process a test starts inherits the mark."""
    mark = uuid.uuid4().hex
    os.environ["STARTED_BY_TEST_RUN"] = mark
    yield
    try:
        wait_until(lambda: not marked(mark), 5.0, "no process is left behind")
    except AssertionError:
        left = marked(mark)
        for process in left:
            os.kill(process.pid, signal.SIGKILL)
        pytest.fail(f"the tests left processes behind: {left}")


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Notes a line for the end of the run."""
    return lambda line: run_summary.MEASURED.append(f"{request.node.name}: {line}")


@pytest.fixture(scope="session")
def server(nothing_left_behind: None) -> Iterator[EmbeddedServer]:
    """One for the whole run. A test that kills or restarts its server makes one of its own."""
    with EmbeddedServer(_executable()) as running:
        yield running


@pytest.fixture(scope="session")
def server_url(server: EmbeddedServer) -> str:
    return server.url()


@pytest.fixture
def redis(server_url: str) -> Iterator[Client]:
    """A client of the emptied server."""
    client = connect(server_url)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def url(redis: Client, server_url: str) -> str:
    """Of the emptied server."""
    return server_url


@pytest.fixture
def environ(url: str) -> dict[str, str]:
    """What a process of ours finds in its environment; tests add to it."""
    inherited = {name: value for name, value in os.environ.items() if not _is_setting(name)}
    return {**inherited, "REDIS_URL": url}


def _is_setting(name: str) -> bool:
    return name.startswith(("HARVEST_", "REDIS_")) or name == "BROKER_URL"
