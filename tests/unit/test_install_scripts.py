"""The scripts that install, roll back and uninstall Harvest, as far as they go without changing the machine."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SYSTEMD = ROOT / "systemd"


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    (tmp_path / "harvest-9.9.9-py3-none-any.whl").write_bytes(b"not really one")
    (tmp_path / "requirements.lock").write_text("none==0\n")
    return tmp_path


def ran(script: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own script
        [str(SYSTEMD / script), *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_dry_run_says_what_would_be_done_and_does_nothing(wheels: Path) -> None:
    done = ran("install.sh", "--wheels", str(wheels), "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    said = done.stdout.splitlines()
    assert all(line.startswith(("would run: ", "install.sh: ")) for line in said)
    assert any("/opt/quantum/harvest/releases/9.9.9-" in line for line in said)
    assert any(line.startswith("would run: systemctl --quiet enable quantum-harvest.target") for line in said)
    assert any(re.match(r"would run: ln -sfn /opt/\S+/9\.9\.9-\w+ /opt/quantum/harvest/current", line) for line in said)
    assert not Path("/opt/quantum/harvest/releases/9.9.9").exists()
    assert ran("install.sh", "--wheels", str(wheels), "--dry-run").stdout == done.stdout


def test_pip_takes_nothing_from_a_network_or_without_a_hash(wheels: Path) -> None:
    said = ran("install.sh", "--wheels", str(wheels), "--dry-run").stdout
    installs = [line for line in said.splitlines() if " pip " in line]
    assert len(installs) == 2
    assert all("--no-index" in line and "--isolated" in line for line in installs)
    assert "--require-hashes" in installs[0]
    assert "--no-deps" in installs[1]


def test_another_lock_or_another_wheel_is_another_release(wheels: Path) -> None:
    said = [ran("install.sh", "--wheels", str(wheels), "--dry-run").stdout]
    for changed in ("harvest-9.9.9-py3-none-any.whl", "requirements.lock"):
        (wheels / changed).write_bytes(b"something else")
        said.append(ran("install.sh", "--wheels", str(wheels), "--dry-run").stdout)
    names = [set(re.findall(r"releases/(9\.9\.9-[0-9a-f]{8})\b", output)) for output in said]
    assert [len(found) for found in names] == [1, 1, 1]
    assert len(set.union(*names)) == 3


def test_every_mistake_has_its_line(tmp_path: Path) -> None:
    lacking = tmp_path / "bin"
    lacking.mkdir()
    for program in ("bash", "dirname", "id", "env"):
        (lacking / program).symlink_to(f"/usr/bin/{program}")
    done = ran("install.sh", "--wheels", str(tmp_path), PATH=str(lacking))
    assert done.returncode == 2
    problems = [line.removeprefix("install.sh: ") for line in done.stderr.splitlines()]
    assert [line.partition(": ")[0] for line in problems if not line.startswith("needs root")] == [
        "systemctl",
        "useradd",
        "python3",
        "python3",
        str(tmp_path),
        f"{tmp_path}/requirements.lock",
    ]


def test_two_wheels_are_one_too_many(wheels: Path) -> None:
    (wheels / "harvest-9.9.8-py3-none-any.whl").touch()
    done = ran("install.sh", "--wheels", str(wheels), "--dry-run")
    assert done.returncode == 2
    assert "needs exactly one harvest-*.whl" in done.stderr


@pytest.mark.parametrize("script", ["install.sh", "rollback.sh"])
def test_an_unknown_option_is_a_usage_error(script: str) -> None:
    done = ran(script, "--dry-run", "--fast")
    assert done.returncode == 2
    assert re.fullmatch(rf"{script}: --fast: unknown option; usage: {script} .*\n", done.stderr)


def test_rollback_without_an_action_does_nothing() -> None:
    done = ran("rollback.sh", "--dry-run")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--previous" in done.stderr
    assert "--remove" in done.stderr


def test_removing_keeps_the_settings_and_says_so() -> None:
    done = ran("rollback.sh", "--remove", "--dry-run")
    assert done.returncode == 0
    removed = [line for line in done.stdout.splitlines() if " rm " in line and line.startswith("would run: ")]
    assert removed
    assert not [line for line in removed if "/etc/quantum" in line]
    assert "kept: settings and passwords in /etc/quantum; positions, streams and counters in Redis" in done.stdout


def test_the_page_on_operations_shows_what_the_scripts_print() -> None:
    text = (SYSTEMD / "install.sh").read_text() + (SYSTEMD / "rollback.sh").read_text()
    quoted = re.findall(r'say "([^"]+)"|echo "\w+\.sh: ([^"]+)"', text)
    printed = [re.sub(r"\\\$\w+", r"\\S+", re.escape(said or echoed)) for said, echoed in quoted]
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    shown = re.findall(r"^(?:install|rollback)\.sh: (.+)$", page, re.MULTILINE)
    assert [line for line in shown if not any(re.fullmatch(line_printed, line) for line_printed in printed)] == []
    units = re.findall(r"^install\.sh: (\S+\.service) active$", page, re.MULTILINE)
    listed = re.search(r"^services=\((.+)\)$", (SYSTEMD / "places.sh").read_text(), re.MULTILINE)
    assert listed
    head, roles, tail = re.split(r"[{}]", listed[1])
    assert units == [f"{head}{role}{tail}" for role in roles.split(",")]


def test_shellcheck_finds_nothing() -> None:
    scripts = sorted(map(str, SYSTEMD.glob("*.sh")))
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, *scripts], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - the same
    assert (done.returncode, done.stdout) == (0, "")
