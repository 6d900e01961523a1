"""The processes of a running Harvest: how each is started, and how to see that they work."""

import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from harvest_tasks.processes.child import Child
from harvest_tasks.processes.embedded_server import EmbeddedServer
from harvest_tasks.processes.readiness import Readiness
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings

FLOWER_CONF: Final = Path(__file__).parents[2] / "flower.conf"
PROPOSAL_SLOTS: Final = 2
ADHOC_SLOTS: Final = 1
WATCH_SLOTS: Final = 1
"""A running watcher occupies one for its whole slice."""
CONTROL_SLOTS: Final = 1
STOP_MARGIN_SEC: Final = 15.0
"""More than a worker needs to stop on a busy machine."""

WORKERS: Final = {"proposals": "proposals", "adhoc": "adhoc", "fills": "fills,watch,control"}
"""Each worker's queues. Tasks that wait for their rate limit occupy slots of their worker."""
NODES: Final = {name: f"{name}@{socket.gethostname()}" for name in WORKERS}
"""The workers' node names."""
# Nothing uses gossip between workers, and mingling only delays the start.
QUIET: Final = ("--without-gossip", "--without-mingle")
EVENTS: Final = "--task-events"
"""Events feed Flower, and cost two more messages per task."""


def readiness(client: Client, settings: Settings, flower_port: int | None) -> Readiness:
    """The readiness of all workers, checked from this process."""
    from harvest_tasks.celery import app  # reads the environment

    return Readiness(client, app, tuple(NODES.values()), settings.stream_execution_result, flower_port)


def server(embedded: EmbeddedServer) -> Child:
    return Child("server", embedded.argv, os.environ, missing=partial(_silence, embedded))


def _silence(embedded: EmbeddedServer) -> str | None:
    return None if embedded.answers() else "the embedded server does not answer"


def workers(fill_slots: int, settings: Settings, *, watched: bool) -> Iterator[Child]:
    """The workers of `harvest up`. `watched`: they send events to Flower."""
    for name in WORKERS:
        # A worker that is asked to stop first finishes the running watcher's slice.
        yield replace(worker(name, fill_slots, watched=watched), stop_within=settings.watch_slice_sec + STOP_MARGIN_SEC)


def worker(name: str, fill_slots: int, *, watched: bool) -> Child:
    """The worker `name`, one of `WORKERS`. `watched`: it sends events to Flower."""
    slots = {"proposals": PROPOSAL_SLOTS, "adhoc": ADHOC_SLOTS, "fills": fill_slots + WATCH_SLOTS + CONTROL_SLOTS}
    place = [f"--hostname={NODES[name]}", f"--queues={WORKERS[name]}", f"--concurrency={slots[name]}", "--pool=prefork"]
    return _celery(name, "worker", *place, *QUIET, *([EVENTS] if watched else []))


def beat() -> Child:
    return _celery("beat", "beat")


def flower(port: int) -> Child:
    return _celery("flower", "flower", f"--conf={FLOWER_CONF}", f"--port={port}")


def at_lowest_priority(child: Child) -> Child:
    """`child` at the lowest CPU priority, for what must not delay the workers."""
    return replace(child, argv=["nice", "-n", "19", *child.argv])


def command(name: str, *arguments: str) -> Child:
    """A `harvest` command that runs until it is asked to stop."""
    return _python(name, "harvest_tasks", name, *arguments)


def _celery(name: str, *arguments: str) -> Child:
    return _python(name, "celery", "--app=harvest_tasks", "--quiet", *arguments)


def _python(name: str, module: str, *arguments: str) -> Child:
    return Child(name, [sys.executable, "-m", module, *arguments], {**os.environ, "PYTHONUNBUFFERED": "1"})
