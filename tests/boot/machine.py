"""A Debian of its own that boots in a container: systemd, Python and Redis as a server has them, and no network.

Needs root, debootstrap and systemd-nspawn. The tree that debootstrap makes is kept in the user's cache; each machine
is a copy of it.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from processes import children_of
from waiting import wait_until

SUITE = "bookworm"
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv,redis-server"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "harvest-boot"
PATIENCE_SEC = 120.0


def missing() -> str | None:
    """What this computer lacks for the boot test, or None."""
    if os.geteuid() != 0:
        return "needs root"
    needed = {"debootstrap": "debootstrap", "systemd-nspawn": "systemd-container", "nsenter": "util-linux"}
    lacking = [package for program, package in needed.items() if shutil.which(program) is None]
    return f"needs the packages {', '.join(lacking)}" if lacking else None


def base_tree() -> Path:
    """The root file system that debootstrap makes, from the cache if possible."""
    tree = CACHE / SUITE
    if not tree.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=CACHE))
        unfinished.chmod(0o755)  # the root directory of everybody in the machine
        _do("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(unfinished), MIRROR)
        unfinished.rename(tree)
    return tree


class Machine:
    """A root file system, and the container that runs it."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self.password = ""
        """The password of the server's administrator."""
        self._process: subprocess.Popen[bytes] | None = None
        self._init = 0

    def before_boot(self, *argv: str) -> str:
        """Runs a command in the tree while nothing else runs there; its output."""
        return _do(*self._container(), *argv)

    def boot(self) -> None:
        """Returns when systemd answers and has started all its units."""
        self._process = subprocess.Popen(  # noqa: S603 - a program of this computer
            [*self._container(), "--boot", "--console=pipe"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        self._init = wait_until(self._first_process, PATIENCE_SEC, "the machine starts")
        wait_until(lambda: self.succeeds("systemctl", "--quiet", "is-active", "dbus.socket"), PATIENCE_SEC, "it boots")

    def run(self, *argv: str) -> str:
        """The output of a command in the running machine. Raises CalledProcessError."""
        return _do(*self._inside(), *argv)

    def attempt(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """The result of a command in the running machine, whether it succeeded or not."""
        return subprocess.run([*self._inside(), *argv], capture_output=True, text=True, check=False)  # noqa: S603 - the same

    def succeeds(self, *argv: str) -> bool:
        return self.attempt(*argv).returncode == 0

    def redis(self, *command: str) -> str:
        """The server's answer, as redis-cli prints it."""
        owner = ["env", f"REDISCLI_AUTH={self.password}"] if self.password else []
        return self.run(*owner, "redis-cli", "--raw", *command).strip()

    def power_off(self) -> None:
        if self._process is None:
            return
        self.attempt("systemctl", "poweroff")
        try:
            self._process.wait(PATIENCE_SEC)
        except subprocess.TimeoutExpired:
            os.kill(self._init, signal.SIGKILL)  # and with it everything in the machine
            self._process.wait()
        self._process = None

    def _first_process(self) -> int:
        assert self._process is not None
        assert self._process.poll() is None, "systemd-nspawn ended"
        return next((child.pid for child in children_of(self._process.pid) if _is_first(child.pid)), 0)

    def _container(self) -> list[str]:
        # A network of its own: its ports are not this computer's. What runs here need not be a systemd.
        place = [f"--directory={self.tree}", f"--machine=harvest-boot-{os.getpid()}", "--private-network"]
        return ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", *place]

    def _inside(self) -> list[str]:
        return ["nsenter", f"--target={self._init}", "--all", "--"]


@contextmanager
def machine() -> Iterator[Machine]:
    """A new machine, not booted yet; removed at the end."""
    directory = Path(tempfile.mkdtemp(prefix="harvest-boot-"))
    made = Machine(directory / "tree")
    try:
        _do("cp", "--archive", "--reflink=auto", str(base_tree()), str(made.tree))
        yield made
    finally:
        made.power_off()
        shutil.rmtree(directory, ignore_errors=True)


def _is_first(pid: int) -> bool:
    """Whether it is process 1 of its container, not a process that sets the container up."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # it ended meanwhile
        return False
    (numbers,) = (line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:"))
    return numbers == [str(pid), "1"]


def _do(*argv: str) -> str:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # noqa: S603 - the same
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout
