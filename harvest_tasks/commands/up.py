"""`harvest up`: everything on one machine, with an embedded server or a given one."""

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import Final

import click

from harvest_tasks.commands.exit_codes import FORCED
from harvest_tasks.processes import roles
from harvest_tasks.processes.child import Child, Probe
from harvest_tasks.processes.embedded_server import LOOPBACK, EmbeddedServer, free_port, is_free
from harvest_tasks.processes.log_relay import LogRelay
from harvest_tasks.processes.readiness import Readiness
from harvest_tasks.processes.supervisor import Supervisor
from harvest_tasks.server.client import connect
from harvest_tasks.settings.model import Settings
from harvest_tasks.settings.redis_url import redacted_url

FLOWER_PORT: Final = 5555
_READY_WITHIN_SEC: Final = 30.0


@click.command()
@click.option("--flower/--no-flower", default=True, help="With or without Flower.  [default: with]")
@click.option(
    "--flower-port",
    type=click.IntRange(1, 65535),
    envvar="FLOWER_PORT",
    help=f"Flower's port on {LOOPBACK}.  [default: {FLOWER_PORT}, or a free one if that is taken]",
)
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Worker processes for fills.")
def up(flower: bool, flower_port: int | None, workers: int) -> None:
    """Start a server, workers, beat and Flower, and keep them running.

    Uses the server of REDIS_URL or REDIS_HOST if one is set, else an embedded one whose data is deleted when this
    command ends. Prints a line starting "ready" on stdout once fills are consumed; log lines go to stderr.
    SIGTERM or Ctrl-C stops everything; a second one kills what still runs (exit code 4).
    """
    port = (flower_port or _default_flower_port()) if flower else None
    # A developer who runs `harvest up` may look at Flower without a password; one that is set is still asked for.
    os.environ.setdefault("FLOWER_UNAUTHENTICATED", "yes")
    with ExitStack() as stack:
        server = None if _is_server_given() else stack.enter_context(closing(EmbeddedServer()))
        settings = _settings(server)
        client = stack.enter_context(closing(connect(settings.redis_url)))
        readiness = roles.readiness(client, settings, port)
        if server is None:
            _check_reachable(readiness)
        children = _children(server, settings, workers, port)
        in_time = _run(children, readiness.missing, _announcement(settings, port))
    sys.exit(0 if in_time else FORCED)


def _is_server_given() -> bool:
    return any(name in os.environ for name in ("REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_DB"))


def _default_flower_port() -> int:
    return FLOWER_PORT if is_free(FLOWER_PORT) else free_port()


def _settings(server: EmbeddedServer | None) -> Settings:
    """Puts the URL of an embedded server into the environment, where the app and the children read it."""
    if server is not None:
        os.environ["REDIS_URL"] = server.url()
    return Settings.from_env(os.environ)


def _check_reachable(readiness: Readiness) -> None:
    """Fails before anything starts, with an error that the command line explains."""
    readiness.client.ping()
    with readiness.app.connection_for_write() as broker:
        broker.ensure_connection(max_retries=1, interval_start=0, interval_step=0)


def _children(server: EmbeddedServer | None, settings: Settings, fill_slots: int, port: int | None) -> list[Child]:
    return [
        *([] if server is None else [roles.server(server)]),
        *roles.workers(fill_slots, settings, watched=port is not None),
        roles.beat(),
        *([] if port is None else [roles.at_lowest_priority(roles.flower(port))]),
    ]


def _announcement(settings: Settings, port: int | None) -> str:
    flower = "" if port is None else f" flower=http://{LOOPBACK}:{port}"
    return f"ready redis={redacted_url(settings.redis_url)}{flower}"


def _run(children: Sequence[Child], missing: Probe, announcement: str) -> bool:
    relay = LogRelay(sys.stderr.fileno(), name_width=max(len(child.name) for child in children))
    longest = max(child.stop_within for child in children)
    stopping = f"stopping; running tasks may take up to {longest:g} s".encode()
    supervisor = Supervisor(children, relay, on_signal=partial(relay.line, "harvest", stopping))
    try:
        return asyncio.run(supervisor.run(missing, partial(click.echo, announcement), ready_within=_READY_WITHIN_SEC))
    finally:
        relay.close()
