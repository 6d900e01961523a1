"""`harvest run`: one process of `harvest up`, for a process manager such as systemd."""

import os

import click

from harvest_tasks.processes import roles
from harvest_tasks.processes.child import Child
from harvest_tasks.settings.model import Settings

NAMES = (*roles.WORKERS, "beat", "flower")


@click.command()
@click.argument("name", type=click.Choice(NAMES))
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Worker processes for fills.")
@click.option(
    "--flower-port",
    type=click.IntRange(1, 65535),
    envvar="FLOWER_PORT",
    default=5555,
    show_default=True,
    help="Flower's port.",
)
def run(name: str, workers: int, flower_port: int) -> None:
    """Run one process of `harvest up` in the foreground, on the server of REDIS_URL.

    The systemd units run this command. systemd restarts the process when it dies, and collects its log from stderr.
    """
    Settings.from_env(os.environ)  # before anything starts: a wrong setting ends with one line and exit code 2
    child = _child(name, workers, flower_port)
    os.execve(child.argv[0], [*child.argv], {**child.environ})  # noqa: S606 - no shell is wanted


def _child(name: str, fill_slots: int, port: int) -> Child:
    if name == "beat":
        return roles.beat()
    if name == "flower":
        return roles.flower(port)
    return roles.worker(name, fill_slots, watched=True)
