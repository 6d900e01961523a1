"""The supervisor as a process of its own, with real children."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from processes import in_session, marked, program
from waiting import wait_until

PROGRAM = Path(__file__).parent.parent / "supervised_program.py"
PROMPT_SEC = 30.0
"""A deadline, not a pause: on a starved machine even a killed process takes its time to go."""
DONE_SEC = 60.0
"""The same, of programs that have to start first."""

PATIENT = "import signal; print('here', flush=True); signal.pause()"
# Blocked until it is waited for: a handler could run in the middle of the first print, and then print nothing.
POLITE = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
print('here', flush=True)
signal.sigwait({signal.SIGTERM})
print('bye', flush=True)
"""
DEAF = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('here', flush=True)
while True:
    signal.pause()
"""
PARENT = """
import signal, subprocess, sys
subprocess.Popen([sys.executable, '-I', '-S', '-c', 'import signal; signal.pause()'])
print('here', flush=True)
signal.pause()
"""
DYING = "import sys; print('out of luck', flush=True); sys.exit(3)"
STUTTERING = """
import os, signal, sys
for _ in range(200):
    for _ in range(50):
        os.write(1, sys.argv[1].encode() * 20)
    os.write(1, b'\\n')
print('done', flush=True)
signal.pause()
"""
LOUD = """
import pathlib, signal, sys
for _ in range(5000):
    print('x' * 1000)
sys.stdout.flush()
pathlib.Path(sys.argv[1]).touch()
signal.pause()
"""


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code, *arguments]


@dataclass(frozen=True, slots=True)
class Running:
    """One supervisor and what it wrote."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path
    mark: str

    def log(self) -> list[str]:
        return self.err.read_text().splitlines()

    def said(self) -> str:
        return self.out.read_text()

    def until_logged(self, line: str, times: int = 1) -> None:
        wait_until(lambda: self.log().count(line) >= times, DONE_SEC, f"{times} times {line!r} in the log")

    def until_ready(self) -> None:
        wait_until(lambda: "ready" in self.said(), DONE_SEC, "ready")

    def pid_of(self, name: str) -> int:
        """Of the newest process of this child."""
        started = re.compile(rf"harvest \| {name}: started as process (\d+)")
        found = [match[1] for line in self.log() if (match := started.fullmatch(line))]
        return int(found[-1])

    def end(self, number: int = signal.SIGTERM, within: float = DONE_SEC) -> int:
        self.process.send_signal(number)
        return self.process.wait(within)

    def until_gone(self) -> None:
        wait_until(lambda: not self.left(), PROMPT_SEC, "no process is left")

    def left(self) -> list[str]:
        return [process.command for process in marked(self.mark)]


Start = Callable[..., Running]


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Start]:
    started: list[Running] = []
    stack = ExitStack()

    def start(children: dict[str, Sequence[str]], environ: dict[str, str] | None = None, **plan: Any) -> Running:
        mark = f"supervised-{os.getpid()}-{tmp_path.name}-{len(started)}"
        running = _start(tmp_path, mark, children, environ or dict(os.environ), plan)
        started.append(stack.enter_context(running))
        return started[-1]

    with stack:
        yield start
    for running in started:
        running.until_gone()


@contextmanager
def _start(
    place: Path, mark: str, children: dict[str, Sequence[str]], environ: dict[str, str], plan: dict[str, Any]
) -> Iterator[Running]:
    described: dict[str, Any] = {
        "children": [{"name": name, "argv": argv} for name, argv in children.items()],
        "backoff": {"first": 0.05, "most": 0.2, "steady": 60.0},
        "stop_within": PROMPT_SEC,
        "ready_within": DONE_SEC,
        "needs": None,
        "held": 10_000,
        "read_within": DONE_SEC,
        **plan,
    }
    if "first_needs" in plan:
        described["children"][0]["needs"] = plan["first_needs"]
    out, err = place / f"{mark}.out", plan.get("log_to", place / f"{mark}.err")
    with out.open("wb") as to_out, err.open("wb") as to_err:
        argv = [sys.executable, str(PROGRAM), json.dumps(described, default=str)]
        with program(argv, stdout=to_out, stderr=to_err, environ={**environ, "SUPERVISED_BY": mark}) as process:
            yield Running(process, out, err, mark)


def test_children_start_in_order(supervise: Start) -> None:
    running = supervise({"one": python(PATIENT), "two": python(PATIENT), "three": python(PATIENT)})
    running.until_ready()
    starts = [line.split()[2] for line in running.log() if "started as process" in line]
    assert starts == ["one:", "two:", "three:"]


def test_a_child_that_others_waited_for_starts_before_them_and_stops_after_them(
    supervise: Start, tmp_path: Path
) -> None:
    sign = tmp_path / "one is ready"
    running = supervise({"one": python(POLITE), "two": python(POLITE)}, first_needs=str(sign))
    running.until_logged("one   | here")
    assert "two" not in running.err.read_text()
    sign.touch()
    running.until_logged("two   | here")
    assert running.end() == 0
    assert [line for line in running.log() if line.endswith("bye")] == ["two   | bye", "one   | bye"]
    running.until_gone()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_each_way_of_asking_stops_everything(supervise: Start, number: int) -> None:
    running = supervise({"one": python(PATIENT), "two": python(PARENT)})
    running.until_logged("two   | here")
    running.until_ready()
    assert running.end(number) == 0
    running.until_gone()


def test_a_child_that_dies_is_started_again_after_growing_pauses(supervise: Start) -> None:
    running = supervise({"one": python(DYING), "two": python(PATIENT)})
    running.until_ready()
    running.until_logged("harvest | one: ended with exit code 3, restarts in 0.2 s", times=2)
    pauses = [float(line.split()[-2]) for line in running.log() if "restarts in" in line]
    assert pauses[:4] == [0.05, 0.1, 0.2, 0.2]
    assert running.end() == 0


def test_a_child_that_lived_a_while_is_forgiven(supervise: Start) -> None:
    running = supervise({"one": python(DYING)}, backoff={"first": 0.05, "most": 9.0, "steady": 0.0})
    running.until_ready()
    running.until_logged("harvest | one: ended with exit code 3, restarts in 0.05 s", times=4)
    assert running.end() == 0


def test_a_killed_child_takes_its_own_children_with_it(supervise: Start) -> None:
    running = supervise({"one": python(PARENT)})
    running.until_logged("one   | here")
    first = running.pid_of("one")
    assert len(in_session(first)) >= 2
    os.kill(first, signal.SIGKILL)
    running.until_logged("one   | here", times=2)
    wait_until(lambda: not in_session(first), PROMPT_SEC, "all of the first are gone")
    assert "harvest | one: killed by SIGKILL, restarts in 0.05 s" in running.log()


def test_a_killed_supervisor_leaves_nothing(supervise: Start) -> None:
    running = supervise({"one": python(DEAF), "two": python(PARENT)})
    running.until_logged("one   | here")
    running.until_logged("two   | here")
    assert running.end(signal.SIGKILL) == -signal.SIGKILL
    running.until_gone()


def test_a_supervisor_killed_while_it_starts_children_leaves_nothing(supervise: Start) -> None:
    children = {f"child{number}": python(PARENT) for number in range(8)}
    for _ in range(5):
        running = supervise(children)
        wait_until(running.log, DONE_SEC, "the first start")
        running.end(signal.SIGKILL)
        running.until_gone()


def test_a_child_deaf_to_sigterm_is_killed_after_its_deadline(supervise: Start) -> None:
    running = supervise({"one": python(DEAF)}, stop_within=0.2)
    running.until_logged("one   | here")
    assert running.end() == 4
    assert "harvest | one: did not stop: killed" in running.log()
    running.until_gone()


def test_a_second_signal_does_not_wait(supervise: Start) -> None:
    running = supervise({"one": python(DEAF), "two": python(POLITE)}, stop_within=600.0)
    running.until_logged("one   | here")
    running.until_logged("two   | here")
    running.process.send_signal(signal.SIGTERM)
    running.until_logged("two   | bye")
    assert running.end() == 4
    running.until_gone()


def test_lines_of_different_children_never_mix(supervise: Start) -> None:
    running = supervise({"one": python(STUTTERING, "a"), "two": python(STUTTERING, "b")})
    running.until_logged("one   | done")
    running.until_logged("two   | done")
    whole = re.compile(r"one   \| a{1000}|two   \| b{1000}|\w+ +\| done|harvest \| .*")
    assert [line for line in running.log() if not whole.fullmatch(line)] == []
    assert len(running.log()) == 404


def test_a_log_that_nobody_reads_holds_nothing_up(supervise: Start, tmp_path: Path) -> None:
    fifo, written = tmp_path / "fifo", tmp_path / "all written"
    os.mkfifo(fifo)
    unread = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    running = supervise({"one": python(LOUD, str(written))}, log_to=fifo, held=100, read_within=0.5)
    running.until_ready()
    wait_until(written.exists, DONE_SEC, "the child wrote all its lines")
    assert running.end() == 0
    running.until_gone()
    os.close(unread)


def test_what_is_missing_is_named_when_the_deadline_passes(supervise: Start) -> None:
    running = supervise({"one": python(PATIENT)}, needs="/nonexistent/lease", ready_within=0.3)
    assert running.process.wait(DONE_SEC) == 1
    assert running.said() == "refused: not ready in time: /nonexistent/lease is missing\n"
    running.until_gone()


def test_a_child_that_keeps_dying_ends_the_start_with_its_last_words(supervise: Start) -> None:
    running = supervise({"one": python(PATIENT), "two": python(DYING)}, needs="/nonexistent/lease")
    assert running.process.wait(DONE_SEC) == 1
    assert running.said() == "refused: two died 3 times: out of luck\n"
    running.until_gone()


def test_a_program_that_does_not_exist_ends_the_start_by_name(supervise: Start) -> None:
    running = supervise({"one": ["/nonexistent/program"]}, needs="/nonexistent/lease")
    assert running.process.wait(DONE_SEC) == 1
    assert "one died 3 times" in running.said()
    assert "/nonexistent/program" in running.said()


@pytest.fixture
def worker(tmp_path: Path, environ: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """A Celery worker with three pool processes, and its environment."""
    app = "import os\nfrom celery import Celery\napp = Celery('throwaway', broker=os.environ['REDIS_URL'])\n"
    (tmp_path / "throwaway.py").write_text(app)
    argv = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "throwaway",
        "worker",
        "--pool=prefork",
        "--concurrency=3",
        "--loglevel=INFO",
    ]
    return argv, {**environ, "PYTHONPATH": str(tmp_path)}


def _until_forked(running: Running, leader: int) -> None:
    def pool() -> bool:
        return len([each for each in in_session(leader) if "celery" in each.command and each.pid != leader]) >= 3

    wait_until(lambda: any(line.endswith(" ready.") for line in running.log()) and pool(), DONE_SEC, "the pool")


def test_a_killed_celery_worker_takes_its_pool_with_it(
    supervise: Start, worker: tuple[list[str], dict[str, str]]
) -> None:
    argv, environ = worker
    running = supervise({"work": argv}, environ)
    running.until_ready()
    first = running.pid_of("work")
    _until_forked(running, first)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: running.pid_of("work") != first, PROMPT_SEC, "another worker")
    wait_until(lambda: not in_session(first), PROMPT_SEC, "all of the first are gone")
    assert running.end() == 0
    running.until_gone()


def test_a_killed_supervisor_takes_a_celery_pool_with_it(
    supervise: Start, worker: tuple[list[str], dict[str, str]]
) -> None:
    argv, environ = worker
    running = supervise({"work": argv}, environ)
    running.until_ready()
    _until_forked(running, running.pid_of("work"))
    running.end(signal.SIGKILL)
    running.until_gone()
