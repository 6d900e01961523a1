"""Prometheus's own judge of metrics and rules, where it is installed."""

import shutil
import subprocess
from pathlib import Path

import pytest

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not installed: apt-get install prometheus, or put it on the PATH"
)


def judged(*arguments: str, text: str = "", at: Path | None = None) -> tuple[int, str]:
    """Its exit code, and all it said of `text` on its standard input; run in the directory `at`."""
    assert PROMTOOL is not None
    done = subprocess.run(  # noqa: S603 - a program of the system
        [PROMTOOL, *arguments], input=text, capture_output=True, text=True, check=False, timeout=120, cwd=at
    )
    return done.returncode, done.stdout + done.stderr
