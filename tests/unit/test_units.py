"""The units of systemd and the files beside them, as far as they can be judged without booting."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harvest_tasks.commands.run import NAMES
from harvest_tasks.messaging.configuration import TIME_LIMIT_SEC
from harvest_tasks.settings.model import Settings

ROOT = Path(__file__).parents[2]
SYSTEMD = ROOT / "systemd"
UNITS = sorted(SYSTEMD.glob("*.service"))
SHARED = SYSTEMD / "quantum-harvest-.service.d" / "10-confinement.conf"
HIGHEST_EXPOSURE = 1.5
SETTING = re.compile(r"^#?([A-Z][A-Z0-9_]+)=(.*)$", re.MULTILINE)

each_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem.removeprefix("quantum-harvest-"))
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def values(unit: Path, name: str) -> list[str]:
    """What a unit says under `name`, in its own file and in the one that all share."""
    text = unit.read_text() + SHARED.read_text()
    return re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)


def templates() -> Iterator[tuple[str, str, str]]:
    """(file, variable, value) of each setting, whether commented out or not."""
    for file in sorted(SYSTEMD.glob("*.env")):
        for name, value in SETTING.findall(file.read_text()):
            yield file.name, name, value


@pytest.fixture
def runnable(tmp_path: Path) -> Path:
    """The units, naming a program that there is on every machine."""
    copied = shutil.copytree(SYSTEMD, tmp_path / "systemd")
    for unit in copied.glob("*.service"):
        unit.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(), flags=re.MULTILINE))
    return copied


def analyzed(*arguments: str | Path) -> tuple[int, str]:
    done = subprocess.run(  # noqa: S603 - a program of this machine
        ["systemd-analyze", *map(str, arguments)],  # noqa: S607 - wherever it is
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@needs_systemd
def test_systemd_finds_nothing_wrong(runnable: Path) -> None:
    assert analyzed("verify", *sorted(runnable.glob("*.service")), runnable / "quantum-harvest.target") == (0, "")


@needs_systemd
def test_a_misspelled_setting_would_be_found(runnable: Path) -> None:
    unit = runnable / "quantum-harvest-beat.service"
    unit.write_text(unit.read_text().replace("WatchdogSec=", "WatchdogSecs="))
    assert "WatchdogSecs" in analyzed("verify", unit)[1]


@needs_systemd
@each_unit
def test_a_unit_may_do_hardly_anything(unit: Path) -> None:
    _, said = analyzed("security", "--offline=true", "--no-pager", unit)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found, said
    assert float(found[1]) <= HIGHEST_EXPOSURE, said


@each_unit
def test_a_unit_is_restarted_whatever_ends_it_and_bound_to_nothing_but_its_target(unit: Path) -> None:
    assert values(unit, "Restart") == ["always"]
    assert values(unit, "KillMode") == ["mixed"]
    assert values(unit, "StartLimitIntervalSec") == ["0"]
    assert values(unit, "PartOf") == ["quantum-harvest.target"]
    assert [values(unit, bond) for bond in ("BindsTo", "Requires", "Requisite", "Upholds")] == [[], [], [], []]


@each_unit
def test_a_unit_that_runs_tasks_has_longer_to_stop_than_the_longest_task(unit: Path) -> None:
    (stop,) = values(unit, "TimeoutStopSec")
    (started,) = values(unit, "ExecStart")
    runs_tasks = started.split()[-1] in ("proposals", "adhoc", "fills")
    assert int(stop) > (TIME_LIMIT_SEC if runs_tasks else 0)


@each_unit
def test_a_unit_has_a_watchdog_if_its_process_can_speak_to_one(unit: Path) -> None:
    assert (values(unit, "Type") == ["notify"]) is bool(values(unit, "WatchdogSec"))
    is_silent = unit.stem in ("quantum-harvest-flower", "quantum-harvest-metrics")
    assert values(unit, "Type") == (["exec"] if is_silent else ["notify"])


@each_unit
def test_a_unit_reads_the_shared_settings_and_then_its_own(unit: Path) -> None:
    shared, own = values(unit, "EnvironmentFile")
    assert shared == "/etc/quantum/harvest.env"
    assert (SYSTEMD / Path(own).name).is_file()


def test_every_process_of_up_has_a_unit() -> None:
    started = [" ".join(values(unit, "ExecStart")) for unit in UNITS]
    assert sorted(line.split()[-1] for line in started if " run " in line) == sorted(NAMES)


def test_the_scripts_know_every_unit() -> None:
    listed = re.search(r"^services=\(quantum-harvest-\{(.*)\}\.service\)$", (SYSTEMD / "places.sh").read_text(), re.M)
    assert listed
    assert sorted(f"quantum-harvest-{role}" for role in listed[1].split(",")) == [unit.stem for unit in UNITS]


def test_the_template_has_every_setting_with_its_default() -> None:
    shared = {name: value for file, name, value in templates() if file == "harvest.env"}
    assert set(shared) == {name.upper() for name in Settings.model_fields}
    # A server that is not embedded, and no synthetic positions.
    differing = {"REDIS_URL": "redis://127.0.0.1:6379/0", "SYNTHETIC_FALLBACK": "false"}
    assert {name: value for name, value in shared.items() if name in differing} == differing
    derived = {"BROKER_URL", "RESULT_BACKEND"}
    given = {name: value for name, value in shared.items() if name not in {*derived, *differing}}
    assert shown(Settings.from_env(given)) == shown(Settings())


def shown(settings: Settings) -> dict[str, str]:
    return {name: value for name, value, _ in settings.describe()}


def test_only_what_is_not_the_default_is_set_in_a_template() -> None:
    set_there = re.findall(r"^([A-Z]\w*)=", "".join(file.read_text() for file in SYSTEMD.glob("*.env")), re.MULTILINE)
    assert sorted(set_there) == ["REDIS_URL", "SYNTHETIC_FALLBACK"]


def test_a_unit_s_own_settings_are_settings() -> None:
    names = {name for file, name, _ in templates() if file != "harvest.env"}
    assert names - {name.upper() for name in Settings.model_fields} == {"FLOWER_PORT"}
