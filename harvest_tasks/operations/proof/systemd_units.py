"""Whether Harvest's systemd units are active, where they are installed."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from shutil import which
from typing import Final

from harvest_tasks.operations.diagnosis import UNITS, listed
from harvest_tasks.operations.proof.check import CheckResult, check_of, fails, not_run, passes

BOOTED: Final = Path("/run/systemd/system")
_NAMES: Final = (*dict.fromkeys(UNITS.values()), *(f"quantum-harvest-{role}" for role in ("beat", "flower", "metrics")))
ASKED: Final = ("Id", "LoadState", "ActiveState", "NRestarts")


@check_of("systemd units")
def check_units() -> CheckResult:
    """Whether each unit is active. Without systemd, the heartbeats show whether workers run."""
    if not BOOTED.is_dir() or which("systemctl") is None:
        return not_run("systemd does not run here; see workers and heartbeats")
    known = [unit for unit in systemctl_show() if unit.get("LoadState") == "loaded"]
    if not known:
        return not_run("Harvest's units are not installed here; see workers and heartbeats")
    wrong = {unit["Id"]: unit["ActiveState"] for unit in known if unit["ActiveState"] != "active"}
    if wrong:
        first = next(iter(wrong))
        seen = listed(f"{name} is {state}" for name, state in wrong.items())
        return fails(seen, f"systemctl restart {first}; journalctl -u {first}")
    restarts = sum(int(unit["NRestarts"]) for unit in known)
    return passes(f"{len(known)} active, restarted by systemd {restarts} times")


def systemctl_show() -> list[Mapping[str, str]]:
    """The properties that systemctl shows of each unit, installed or not."""
    command = ["systemctl", "show", f"--property={','.join(ASKED)}", *(f"{name}.service" for name in _NAMES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    blocks = done.stdout.strip().split("\n\n") if done.stdout.strip() else []
    return [dict(line.split("=", 1) for line in block.splitlines()) for block in blocks]
