"""A failed test shows what the machine logged."""

from collections.abc import Generator

import pytest

LINES = "60"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    server = getattr(item, "funcargs", {}).get("server")
    if report.failed and server is not None:
        for command in (["systemctl", "list-jobs"], ["systemctl", "--failed"], ["journalctl", "--lines", LINES]):
            shown = server.attempt(*command, "--no-pager")
            report.sections.append((" ".join(command), shown.stdout + shown.stderr))
    return report
