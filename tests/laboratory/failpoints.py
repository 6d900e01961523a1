"""Harvest's Celery app with named steps at which a fault test can have a process die or stand still.

`celery -A laboratory.failpoints worker` is started by fault tests only, with HARVEST_FAILPOINT naming a directory.
Nothing else imports this module; every other process refuses to start while the variable is set.

A step is `<role>.<call>.<before|after>`, such as `fills.commit.after`: the role is the task that runs, the call one of
`CALLS`. `task` is the task itself; `ack` is the acknowledgement of its message, in the main process of the pool.

A file of a step's name in the directory arms it, once: whoever reaches the step takes the file by renaming it to
`<step>.<its process id>`, which only one process can do. Then it does what the file says:
  kill       is killed
  kill-main  the main process of its pool is killed before it
  stop       stands still until somebody sends it SIGCONT
"""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, Final

from celery import current_task
from celery.signals import task_postrun, task_prerun
from celery.worker.request import Request

from laboratory import FAILPOINTS

# Taken out of the environment before the settings are read: they refuse it.
_GIVEN: Final = os.environ.pop(FAILPOINTS, "")
if not Path(_GIVEN).is_absolute() or not Path(_GIVEN).is_dir():
    sys.stderr.write(f"{FAILPOINTS}={_GIVEN!r}: must name a directory by its whole path\n")
    raise SystemExit(os.EX_CONFIG)

from harvest_tasks import tasks  # noqa: E402 - they read the settings
from harvest_tasks.celery import app  # noqa: E402 - the same
from harvest_tasks.fills import brain, sweep  # noqa: E402 - they read the settings
from harvest_tasks.fills.lease import Lease  # noqa: E402 - the same
from harvest_tasks.fills.ledger import Ledger  # noqa: E402 - the same
from harvest_tasks.fills.router import Router  # noqa: E402 - the same
from harvest_tasks.fills.stream import InputStream  # noqa: E402 - the same
from harvest_tasks.server import script  # noqa: E402 - the same

__all__ = ["CALLS", "DIRECTORY", "app"]

DIRECTORY: Final = Path(_GIVEN)
MAIN: Final = os.getpid()
"""The process that forks the pool."""

ROLES: Final = {
    tasks.process_fills.name: "fills",
    tasks.watch_fills.name: "watch",
    tasks.evaluate_positions.name: "sweep",
}
CALLS: Final[tuple[tuple[Any, str], ...]] = (
    (Ledger, "load"),
    (Ledger, "commit"),
    (Ledger, "unlock"),
    (brain, "make_plan"),
    (brain, "wake"),
    (sweep, "wake"),
    (sweep, "deliver"),
    (script, "run_all"),
    (script, "run_batches"),
    (Lease, "acquire"),
    (Lease, "renew"),
    (Lease, "release"),
    (InputStream, "ensure_group"),
    (InputStream, "claim"),
    (InputStream, "read"),
    (Router, "move"),
    (tasks.watch_fills, "apply_async"),
)
"""Where each function is looked up when it is called, and its name there."""


def reach(step: str) -> None:
    """The process is at `step`; it may be its last."""
    armed = DIRECTORY / step
    try:
        order = armed.read_text()
        armed.rename(f"{armed}.{os.getpid()}")
    except FileNotFoundError:
        return
    if order == "kill-main" and os.getpid() != MAIN:
        with suppress(ProcessLookupError):
            os.kill(MAIN, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGSTOP if order == "stop" else signal.SIGKILL)


def watched(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """`call` between its two steps."""

    @wraps(call)
    def between(*args: Any, **kwargs: Any) -> Any:
        role = ROLES.get(current_task.name) if current_task else None
        if role is None:
            return call(*args, **kwargs)
        reach(f"{role}.{name}.before")
        reply = call(*args, **kwargs)
        reach(f"{role}.{name}.after")
        return reply

    return between


def _begins(task: Any, **_: Any) -> None:
    if task.name in ROLES:
        reach(f"{ROLES[task.name]}.task.before")


def _ended(task: Any, **_: Any) -> None:
    if task.name in ROLES:
        reach(f"{ROLES[task.name]}.task.after")


def _acknowledging(acknowledge: Callable[[Any], None]) -> Callable[[Any], None]:
    @wraps(acknowledge)
    def between(request: Any) -> None:
        role = ROLES.get(request.name)
        if role is None:
            acknowledge(request)
            return
        reach(f"{role}.ack.before")
        acknowledge(request)
        reach(f"{role}.ack.after")

    return between


for _place, _name in CALLS:
    setattr(_place, _name, watched(_name, getattr(_place, _name)))
Request.acknowledge = _acknowledging(Request.acknowledge)
task_prerun.connect(_begins)
task_postrun.connect(_ended)
