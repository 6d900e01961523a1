"""Makes .venv, or brings it up to requirements.lock: `python -m tools.setup [--dev]`, from the root of the checkout.

A stamp says that .venv is complete: it goes first and comes back last. Where there is none, an interrupted set-up may
have left a package half installed, which pip would keep: .venv is then made anew.
"""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tools.lock import DEV, LOCK, SETUP, names, up_to

VENV: Final = Path(".venv")
PYTHON: Final = VENV / "bin" / "python"
STAMP: Final = VENV / ".installed"
DEV_STAMP: Final = VENV / ".installed-dev"
LOG: Final = VENV / "setup.log"
SIZE: Final = "about 100 MB on disk"
DEV_SIZE: Final = "about 600 MB on disk"
# Wheels alone: building a package would fetch what it is built with, and nothing pins that. pip compiles on one core.
PIP_OPTIONS: Final = ("--no-input", "--no-compile", "--progress-bar=off", "--only-binary=:all:")
REPORT_EVERY_SEC: Final = 5.0
UNREACHABLE: Final = re.compile(r"^WARNING: Retrying .*after connection broken by '(.+)': \S+$", re.MULTILINE)
COLLECTED: Final = re.compile(r"^(?:Collecting|Requirement already satisfied)", re.MULTILINE)
ERROR: Final = re.compile(r"^ERROR: (.+)$", re.MULTILINE)


class SetupError(Exception):
    """Nothing can be set up; the message is one line that says why and what helps."""


def set_up(dev: bool) -> None:
    """Leaves a complete .venv. Raises `SetupError`."""
    began = time.monotonic()
    if not _is_complete():
        _create()
    for stamp in (DEV_STAMP, STAMP):
        stamp.unlink(missing_ok=True)
    _install_packages(up_to(DEV if dev else SETUP, LOCK.read_text()), DEV_SIZE if dev else SIZE)
    _say("compiling them")
    # On all cores. Not each file of theirs has to be valid here: some are templates.
    subprocess.run([PYTHON, "-m", "compileall", "-qq", "-j", "0", VENV / "lib"], check=False)
    _say("installing Harvest itself, as it stands in this checkout")
    _pip("--no-deps", "--no-build-isolation", "--editable", ".")
    for stamp in (STAMP, DEV_STAMP) if dev else (STAMP,):
        stamp.touch()
    _say(f"done in {time.monotonic() - began:.0f} s: {VENV} has {_megabytes():.0f} MB")


def _is_complete() -> bool:
    if not STAMP.exists():
        return False
    try:
        return subprocess.run([PYTHON, "-c", "import pip"], capture_output=True, check=False).returncode == 0
    except OSError:  # its Python is gone
        return False


def _create() -> None:
    if not (find_spec("venv") and find_spec("ensurepip")):
        raise SetupError(f"{sys.executable} has no venv module. Fix: apt-get install python3-venv")
    why = " anew, as the last set-up did not end" if VENV.exists() else ""
    _say(f"creating {VENV}{why} (Python {sys.version.split()[0]})")
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], capture_output=True, text=True, check=False)
    if made.returncode:
        raise SetupError(f"could not create {VENV}: {_last_line(made.stderr or made.stdout)}")


def _install_packages(lock: str, size: str) -> None:
    count = len(names(lock))
    _say(f"installing {count} packages ({size})")
    pinned = VENV / "requirements.lock"
    pinned.write_text(lock)
    _pip("--require-hashes", "--requirement", str(pinned), progress=lambda: _progress(count))


def _progress(count: int) -> str:
    log = LOG.read_text()
    if "Installing collected packages" in log:
        return f"installing: {VENV} has {_megabytes():.0f} MB so far"
    return f"downloading: {len(COLLECTED.findall(log))} of {count} packages"


def _pip(*arguments: str, progress: Callable[[], str] | None = None) -> None:
    argv = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", *PIP_OPTIONS, *arguments]
    with LOG.open("w") as log, subprocess.Popen(argv, stdout=log, stderr=log) as pip:
        while pip.poll() is None:
            try:
                pip.wait(REPORT_EVERY_SEC)
            except subprocess.TimeoutExpired:
                if progress:
                    _say(progress())
    if pip.returncode:
        raise SetupError(_reason(LOG.read_text()))


def _reason(log: str) -> str:
    if unreachable := UNREACHABLE.findall(log):
        cause = re.sub(r"['\"]\)*$", "", unreachable[-1].rpartition(": ")[2])
        return f"could not download packages: {cause}. Fix: check the network and pip's settings, then run it again"
    errors = ERROR.findall(log)
    return f"could not install packages: {errors[0] if errors else _last_line(log)} (all of it: {LOG})"


def _last_line(text: str) -> str:
    return ([line.strip() for line in text.splitlines() if line.strip()] or ["it does not say why"])[-1]


def _megabytes() -> float:
    return sum(file.lstat().st_blocks for file in VENV.rglob("*")) * 512 / 2**20


def _say(text: str) -> None:
    print(f"setup: {text}", flush=True)


def main() -> None:
    try:
        set_up(dev="--dev" in sys.argv[1:])
    except SetupError as error:
        sys.exit(f"setup: {error}")
    except KeyboardInterrupt:
        sys.exit("setup: interrupted. The next run starts again")


if __name__ == "__main__":
    main()
