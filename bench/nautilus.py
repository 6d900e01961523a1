"""A separate virtual environment for NautilusTrader, built on demand, because its dependencies conflict with ours."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

PLACE: Final = Path(".bench/nautilus")
LOCK: Final = Path(__file__).parent / "requirements-nautilus.lock"
PEER: Final = Path(__file__).parent / "peers" / "nautilus_position.py"
UV: Final = Path(sys.executable).with_name("uv")
PINNED: Final = ("--only-binary=:all:", "--require-hashes", "-r", str(LOCK))
BUILD_WITHIN_SEC: Final = 300.0


class NoNautilus(Exception):
    """NautilusTrader cannot be installed or run here; the message says why in one line."""


def python() -> Path:
    """The Python interpreter with NautilusTrader. Raises `NoNautilus`."""
    executable = PLACE / "bin" / "python"
    stamp = PLACE / ".installed"
    if not stamp.exists() or stamp.read_bytes() != LOCK.read_bytes():
        shutil.rmtree(PLACE, ignore_errors=True)
        _run([str(UV), "venv", "--quiet", "--python", sys.executable, str(PLACE)])
        _run([str(UV), "pip", "install", "--quiet", "--python", str(executable), *PINNED])
        stamp.write_bytes(LOCK.read_bytes())
    return executable


def fold(fills: Sequence[tuple[str, str, str, str]], repeat: int) -> dict[str, Any]:
    """The result of `peers/nautilus_position.py` for `fills` (side, qty, price, fee). Raises `NoNautilus`."""
    given = json.dumps({"fills": fills, "repeat": repeat})
    result: dict[str, Any] = json.loads(_run([str(python()), str(PEER)], given))
    return result


def _run(argv: list[str], given: str = "") -> str:
    try:
        ended = subprocess.run(argv, input=given, capture_output=True, text=True, timeout=BUILD_WITHIN_SEC, check=False)
    except OSError as error:
        raise NoNautilus(f"{argv[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise NoNautilus(f"{argv[0]} took over {BUILD_WITHIN_SEC:g} s") from error
    if ended.returncode:
        errors = [line for line in ended.stderr.splitlines() if line.strip()]
        raise NoNautilus(errors[-1] if errors else f"{argv[0]} ended with {ended.returncode}")
    return ended.stdout
