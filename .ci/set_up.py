"""Creates or updates .venv from requirements.lock: `python .ci/set_up.py [--dev]`, in the root of the checkout.

A stamp marks a complete .venv. It is removed first and written last. Without it, an interrupted set-up may have left a
half-installed package, which pip would keep, so .venv is created again.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from lock import DEV, LOCK, SETUP, names, up_to

VENV: Final = Path(".venv")
PYTHON: Final = VENV / "bin" / "python"
STAMP: Final = VENV / ".installed"
DEV_STAMP: Final = VENV / ".installed-dev"
LOG: Final = VENV / "setup.log"
SIZE: Final = "about 100 MB on disk"
DEV_SIZE: Final = "about 600 MB on disk"
# Only wheels: to build a package, pip would fetch unpinned build tools. No compiling: pip does it on one core.
PIP_OPTIONS: Final = ("--no-input", "--no-compile", "--progress-bar=off", "--only-binary=:all:")
REPORT_EVERY_SEC: Final = 5.0
# pip's last attempt.
UNREACHABLE: Final = re.compile(
    r"^WARNING: Retrying \(Retry\(total=0,.* after connection broken by '(.+)': \S+$", re.MULTILINE
)
COLLECTED: Final = re.compile(r"^(?:Collecting|Requirement already satisfied)", re.MULTILINE)
ERROR: Final = re.compile(r"^ERROR: (.+)$", re.MULTILINE)


class SetupError(Exception):
    """The set-up failed; the message is one line with the cause and, if there is one, the fix."""


def set_up(dev: bool) -> None:
    """Leaves a complete .venv. Raises `SetupError`."""
    began = time.time()
    if not _is_complete():
        _create()
    for stamp in (DEV_STAMP, STAMP):
        stamp.unlink(missing_ok=True)
    _install_packages(up_to(DEV if dev else SETUP, LOCK.read_text()), DEV_SIZE if dev else SIZE)
    _say("compiling them")
    # On all cores. Errors are ignored: some packages contain templates that are not valid Python.
    subprocess.run([PYTHON, "-m", "compileall", "-qq", "-j", "0", VENV / "lib"], check=False)
    _say("installing Harvest itself, as it stands in this checkout")
    _pip("--no-deps", "--no-build-isolation", "--editable", ".")
    for stamp in (STAMP, DEV_STAMP) if dev else (STAMP,):
        stamp.touch()
        os.utime(stamp, (began, began))  # make must see a lock that has changed meanwhile
    _say(f"done in {time.time() - began:.0f} s: {VENV} has {_megabytes()} MB")


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
    why = " again, because the last set-up did not finish" if VENV.exists() else ""
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
        return f"installing: {VENV} has {_megabytes()} MB so far"
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
    return f"could not install packages: {errors[0] if errors else _last_line(log)} (full output: {LOG})"


def _last_line(text: str) -> str:
    return ([line.strip() for line in text.splitlines() if line.strip()] or ["no error message"])[-1]


def _megabytes() -> str:
    # du reads on where pip has moved a file meanwhile.
    argv = ["du", "-sm", str(VENV)]
    return subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False
    ).stdout.split()[0]


def _say(text: str) -> None:
    print(f"setup: {text}", flush=True)


def main() -> None:
    try:
        set_up(dev="--dev" in sys.argv[1:])
    except (SetupError, OSError) as error:
        sys.exit(f"setup: {error}")
    except KeyboardInterrupt:
        sys.exit("setup: interrupted; the next run starts from the beginning")


if __name__ == "__main__":
    main()
