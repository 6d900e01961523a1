"""Harvest on a server: installed offline, booted, broken, rolled back and uninstalled. `make boot-test` runs it.

One machine for all tests, which build on each other in the order of this file.
"""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from boot.machine import Machine, machine, missing
from waiting import wait_until

from harvest_tasks.cli import COMMANDS

ROOT = Path(__file__).parents[2]
SOURCE = "/root/harvest"
"""Where an operator unpacked it."""
INSTALL = (f"{SOURCE}/systemd/install.sh",)
ROLLBACK = f"{SOURCE}/systemd/rollback.sh"
CURRENT = "/opt/quantum/harvest/current"
RELEASES = "/opt/quantum/harvest/releases"

INPUT = "quantum:stream:execution.result"
SUGGESTIONS = "quantum:stream:harvest.suggestions"
BRAIN = "quantum-harvest-brain.service"
PROPOSAL = "quantum:harvest:proposal:BTCUSDT"
MARKET = ("sigma", "0.01", "ts", "0.4", "p_trend", "0.6", "p_mr", "0.2", "p_chop", "0.2")
FILL = ("status", "FILLED", "side", "BUY", "qty", "1", "price", "100", "stop_loss", "90")

GOAL_SEC = 5.0
"""Within which a killed process is back, on a machine that is not busy. Printed, and not what a busy one fails by."""
PATIENCE_SEC = 120.0

Say = Callable[[str], None]


@pytest.fixture(scope="module")
def server() -> Iterator[Machine]:
    lack = missing()
    if lack:
        pytest.skip(f"boot-test: skipped: {lack}")
    with machine() as fresh:
        unpack(fresh)
        yield fresh


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Prints a line at once."""

    def show(line: str) -> None:
        with capsys.disabled():
            print(f"\n  {line}", end="", flush=True)  # noqa: T201 - it prints its figures

    return show


def unpack(server: Machine) -> None:
    """What an operator carries to a server: scripts and units, one page, and wheels."""
    place = server.tree / SOURCE.lstrip("/")
    shutil.copytree(ROOT / "systemd", place / "systemd")
    shutil.copytree(ROOT / "dist" / "wheels", place / "dist" / "wheels")
    (place / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "operations.md", place / "docs")
    places = place / "systemd" / "places.sh"
    places.write_text(re.sub(r"\{(\S+)\}\.service", f"{{{','.join(roles())}}}.service", places.read_text()))


def roles() -> list[str]:
    """The names of the units whose command there is."""
    listed = re.search(r"\{(\S+)\}\.service", (ROOT / "systemd" / "places.sh").read_text())
    assert listed
    return [role for role in listed[1].split(",") if command_of(role) in COMMANDS]


def command_of(role: str) -> str:
    started = re.search(r"bin/harvest (\w+)", (ROOT / "systemd" / f"quantum-harvest-{role}.service").read_text())
    assert started
    return started[1]


def units() -> list[str]:
    return [f"quantum-harvest-{role}.service" for role in roles()]


def shown(server: Machine, unit: str, what: str) -> str:
    """A property of a unit."""
    return server.run("systemctl", "show", "--value", f"--property={what}", unit).strip()


def main_processes(server: Machine) -> dict[str, str]:
    return {unit: shown(server, unit, "MainPID") for unit in units()}


def states(server: Machine) -> list[str]:
    """Of all units."""
    return server.run("systemctl", "show", "--value", "--property=ActiveState", *units()).split()


def until_all(server: Machine, state: str) -> None:
    wait_until(lambda: set(states(server)) == {state}, PATIENCE_SEC, f"all units are {state}")


def feed_fill(server: Machine, symbol: str) -> None:
    """A fill that becomes a position, and a price over its first rung."""
    server.redis("XADD", INPUT, "*", "symbol", symbol, *FILL)
    server.redis("XADD", INPUT, "*", "symbol", symbol, "status", "PRICE_UPDATE", "price", "105.2")


def suggested(server: Machine) -> list[str]:
    """The symbols of what was suggested."""
    lines = server.redis("XRANGE", SUGGESTIONS, "-", "+").splitlines()
    return [json.loads(line)["symbol"] for line in lines if line.startswith("{")]


def until_suggested(server: Machine, symbol: str) -> None:
    wait_until(lambda: symbol in suggested(server), PATIENCE_SEC, f"the fill of {symbol} becomes a suggestion")


def counts(server: Machine) -> dict[str, int]:
    words = server.redis("HGETALL", "quantum:harvest:counts").split()
    return {name: int(number) for name, number in zip(words[::2], words[1::2], strict=True)}


def files_outside_of_settings(server: Machine) -> str:
    """What install.sh could leave behind."""
    return server.run("sh", "-c", "find /opt /etc/systemd/system /var/lib/quantum* 2>/dev/null | sort; getent passwd")


def test_it_installs_into_a_machine_that_does_not_run_yet(server: Machine) -> None:
    server.before_boot("sh", "-c", "find /opt /etc/systemd/system | sort >/root/before; getent passwd >>/root/before")
    done = server.before_boot(*INSTALL)
    assert done.splitlines()[-1] == "install.sh: systemd is not running here: Harvest starts with the next boot"


def test_it_starts_with_the_machine(server: Machine, say: Say) -> None:
    began = time.monotonic()
    server.boot()
    until_all(server, "active")
    say(f"{len(units())} units active {time.monotonic() - began:.1f} s after the boot began")
    assert server.run("systemctl", "--failed", "--plain", "--no-legend") == ""


def test_systemd_finds_nothing_wrong_with_the_units(server: Machine) -> None:
    said = server.attempt("systemd-analyze", "verify", *units(), "quantum-harvest.target")
    assert (said.returncode, said.stdout + said.stderr) == (0, "")


def test_a_fill_becomes_a_suggestion_and_a_proposal_appears(server: Machine) -> None:
    server.redis("HSET", "quantum:marketstate:BTCUSDT", *MARKET)
    feed_fill(server, "BTCUSDT")
    until_suggested(server, "BTCUSDT")
    wait_until(lambda: server.redis("HGET", PROPOSAL, "harvest_action"), PATIENCE_SEC, "a proposal")
    assert server.redis("HGET", PROPOSAL, "position_source") == "tracker"


@pytest.mark.skipif(not (ROOT / "systemd" / "users.sh").exists(), reason="nothing makes users of the server")
def test_each_unit_works_as_a_user_of_its_own_on_the_server(server: Machine) -> None:
    server.run("sh", "-c", "echo aclfile /etc/quantum/users.acl >>/etc/redis/redis.conf")
    own = [f"/etc/quantum/{file.name}" for file in (ROOT / "systemd").glob("harvest-*.env")]
    server.run("sed", "-i", r"s/^#\(REDIS_URL\|BROKER_URL\|RESULT_BACKEND\)=/\1=/", *own)
    server.run("systemctl", "restart", "redis-server", *units())
    server.password = server.run("cat", "/etc/quantum/credentials/default").strip()
    feed_fill(server, "ASUSERS")
    until_suggested(server, "ASUSERS")
    assert server.redis("ACL", "LOG") == ""


def test_the_proof_sees_the_units_and_the_rights_of_the_users_and_rehearses(server: Machine) -> None:
    owner = f"REDIS_URL=redis://default:{server.password}@127.0.0.1:6379/0"
    settings = ("SYMBOLS=BTCUSDT", "SYNTHETIC_FALLBACK=false")
    prove = (f"{CURRENT}/bin/harvest", "proof", "--seconds=1", "--active", "--json")
    done = server.attempt("env", owner, *settings, *prove)
    verdicts = {check["subject"]: check for check in json.loads(done.stdout)}
    assert verdicts["systemd units"]["seen"].startswith(f"{len(units())} active"), verdicts["systemd units"]
    looked_at = ("calc-only code", "calc-only rights", "systemd units", "workers", "rehearsal: one cycle")
    assert [verdicts[subject]["verdict"] for subject in looked_at] == ["ok"] * len(looked_at), done.stdout


def test_no_password_is_seen_in_a_process_or_a_log(server: Machine) -> None:
    secrets = server.run("sh", "-c", "cat /etc/quantum/credentials/*").split()
    seen = server.run("journalctl", "--quiet", "--output=cat")
    for process in main_processes(server).values():
        seen += server.run("cat", f"/proc/{process}/environ", f"/proc/{process}/cmdline")
    assert "CREDENTIALS_DIRECTORY" in seen
    assert len(secrets) >= 5
    assert [secret for secret in secrets if secret in seen] == []


def test_each_main_process_that_is_killed_is_back_within_seconds(server: Machine, say: Say) -> None:
    for unit in units():
        before = shown(server, unit, "MainPID")
        server.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", unit)
        began = time.monotonic()
        wait_until(lambda: is_back(server, unit, before), PATIENCE_SEC, f"{unit} is back")  # noqa: B023 - used at once
        say(f"{unit} back {time.monotonic() - began:.1f} s after kill -9 (goal {GOAL_SEC:g} s)")
    feed_fill(server, "AFTERKILLS")
    until_suggested(server, "AFTERKILLS")


def is_back(server: Machine, unit: str, before: str) -> bool:
    return shown(server, unit, "MainPID") not in ("0", before) and shown(server, unit, "ActiveState") == "active"


def with_settings(server: Machine, unit: str, *own: str) -> None:
    """Restarts `unit` with these settings over its own, and none from before."""
    place = f"/run/systemd/system/{unit}.d"
    server.run("mkdir", "-p", place)
    (server.tree / "root" / "own").write_text("\n".join(["[Service]", *own, ""]))
    server.run("cp", "/root/own", f"{place}/own.conf")
    server.run("systemctl", "daemon-reload")
    server.run("systemctl", "restart", unit)


def test_a_worker_that_hangs_is_replaced(server: Machine, say: Say) -> None:
    unit = BRAIN
    with_settings(server, unit, "WatchdogSec=5")
    before = shown(server, unit, "MainPID")
    server.run("systemctl", "kill", "--kill-whom=main", "--signal=STOP", unit)
    began = time.monotonic()
    wait_until(lambda: is_back(server, unit, before), PATIENCE_SEC, "another worker")
    say(f"a stopped worker replaced after {time.monotonic() - began:.1f} s with WatchdogSec=5")
    assert "Watchdog timeout" in server.run("journalctl", "--quiet", "--output=cat", f"--unit={unit}")
    feed_fill(server, "AFTERHANGING")
    until_suggested(server, "AFTERHANGING")


def test_a_server_that_restarts_takes_nothing_with_it(server: Machine) -> None:
    before = main_processes(server)
    server.run("systemctl", "restart", "redis-server")
    feed_fill(server, "AFTERRESTART")
    until_suggested(server, "AFTERRESTART")
    assert main_processes(server) == before


def test_a_server_that_is_away_for_longer_than_the_watchdog_waits_is_found_again(server: Machine, say: Say) -> None:
    with_settings(server, BRAIN, "WatchdogSec=5", "TimeoutStartSec=10")
    before = int(shown(server, BRAIN, "NRestarts"))
    server.run("systemctl", "stop", "redis-server")
    wait_until(lambda: int(shown(server, BRAIN, "NRestarts")) >= before + 2, PATIENCE_SEC, "another worker, twice")
    server.run("systemctl", "start", "redis-server")
    began = time.monotonic()
    feed_fill(server, "AFTERABSENCE")
    until_suggested(server, "AFTERABSENCE")
    say(f"a fill is suggested {time.monotonic() - began:.1f} s after the server came back")
    with_settings(server, BRAIN)
    until_all(server, "active")


def test_a_unix_socket_of_the_server_will_do(server: Machine) -> None:
    path = "/run/redis/redis-server.sock"
    server.run("sh", "-c", f"printf 'unixsocket {path}\nunixsocketperm 770\n' >>/etc/redis/redis.conf")
    user = "harvest-brain@" if server.password else ""
    server.run("sh", "-c", f"echo 'REDIS_URL=unix://{user}{path}?db=0' >>/etc/quantum/harvest-brain.env")
    server.run("systemctl", "restart", "redis-server")
    with_settings(server, BRAIN, "SupplementaryGroups=redis")
    feed_fill(server, "BYSOCKET")
    until_suggested(server, "BYSOCKET")
    server.run("sed", "-i", "/^REDIS_URL=unix/d", "/etc/quantum/harvest-brain.env")
    with_settings(server, BRAIN)


def test_stopping_lets_everything_end_and_loses_nothing(server: Machine, say: Say) -> None:
    for number in range(200):
        server.redis("XADD", INPUT, "*", "symbol", f"STOP{chr(65 + number % 20)}", *FILL)
    began = time.monotonic()
    server.run("systemctl", "stop", "quantum-harvest.target")
    until_all(server, "inactive")
    say(f"all units stopped within {time.monotonic() - began:.1f} s")
    assert {unit: shown(server, unit, "Result") for unit in units()} == dict.fromkeys(units(), "success")
    server.run("systemctl", "start", "quantum-harvest.target")
    until_all(server, "active")
    wait_until(lambda: counts(server)["in"] == int(server.redis("XLEN", INPUT)), PATIENCE_SEC, "all are in")
    wait_until(lambda: counts(server)["applied"] == counts(server)["in"], PATIENCE_SEC, "all are applied")


def test_a_wrong_setting_stops_a_unit_with_one_line(server: Machine) -> None:
    unit, settings = "quantum-harvest-beat.service", "/etc/quantum/harvest-beat.env"
    server.run("sh", "-c", f"echo HARVEST_MODE=banana >>{settings}")
    assert not server.succeeds("systemctl", "restart", unit)
    assert shown(server, unit, "ActiveState") == "failed"
    log = server.run("journalctl", "--quiet", "--output=cat", "--lines=1", f"_SYSTEMD_UNIT={unit}")
    assert log == "harvest: HARVEST_MODE='banana': must be shadow or live\n"
    server.run("sed", "-i", "/banana/d", settings)
    server.run("systemctl", "restart", unit)


def test_installing_again_keeps_the_release_and_the_settings(server: Machine) -> None:
    server.run("sh", "-c", "echo LOG_LEVEL=DEBUG >>/etc/quantum/harvest.env")
    before = server.run("sh", "-c", f"readlink {CURRENT}; cat /etc/quantum/*.env /etc/quantum/credentials/*")
    assert "quantum-harvest-brain.service active" in server.run(*INSTALL)
    assert server.run("sh", "-c", f"readlink {CURRENT}; cat /etc/quantum/*.env /etc/quantum/credentials/*") == before


def test_an_upgrade_loses_no_fill_and_can_be_rolled_back(server: Machine) -> None:
    old = server.run("readlink", CURRENT)
    server.run("mkdir", f"{RELEASES}/older")
    # Other wheels or another lock are another release.
    server.run("sh", "-c", f"echo '# another release' >>{SOURCE}/dist/wheels/requirements.lock")
    inside = subprocess.Popen([*server._inside(), *INSTALL], stdout=subprocess.DEVNULL)  # noqa: S603 - in the machine
    fed = 0
    while inside.poll() is None:
        server.redis("XADD", INPUT, "*", "symbol", "MEANWHILE", *FILL)
        fed += 1
        time.sleep(0.05)
    assert inside.returncode == 0
    new = server.run("readlink", CURRENT)
    assert new != old
    assert sorted(server.run("ls", RELEASES).split()) == sorted(Path(each.strip()).name for each in (old, new))
    wait_until(lambda: held(server, "MEANWHILE") == fed, PATIENCE_SEC, f"all {fed} fills are in the position")
    server.run(ROLLBACK, "--previous")
    assert server.run("readlink", CURRENT) == old
    feed_fill(server, "AFTERROLLBACK")
    until_suggested(server, "AFTERROLLBACK")


def held(server: Machine, symbol: str) -> int:
    return int(server.redis("HGET", f"quantum:harvest:position:{symbol}", "qty") or 0)


def test_uninstalling_leaves_only_the_settings_and_the_data(server: Machine) -> None:
    said = server.run(ROLLBACK, "--remove")
    assert "kept: settings and passwords in /etc/quantum; positions, streams and counters in Redis" in said
    assert files_outside_of_settings(server) == server.run("cat", "/root/before")
    for listing in ("list-units", "list-unit-files"):
        assert server.attempt("systemctl", listing, "--plain", "--no-legend", "quantum-harvest*").stdout == ""
    assert server.attempt("sh", "-c", "grep -a -l '[/]opt/quantum' /proc/[0-9]*/cmdline").stdout == ""
    assert server.redis("EXISTS", "quantum:harvest:position:BTCUSDT") == "1"
    assert "credentials" in server.run("ls", "/etc/quantum")
