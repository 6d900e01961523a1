"""The `harvest` command.

Exit codes: 0 done; 1 did not succeed; 2 wrong setting or usage; 3 no server to work with; 4 stopped, but by force.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import click

UNREACHABLE: Final = 3


@dataclass(frozen=True, slots=True)
class Listed:
    """A command: where it is and what it does, known without importing it."""

    home: str
    summary: str


COMMANDS: Final = {
    "up": Listed("harvest_tasks.commands.up:up", "Start server, workers, beat and Flower, and keep them running."),
    "run": Listed("harvest_tasks.commands.run:run", "Be one process of `up`, for systemd to keep running."),
    "demo": Listed("harvest_tasks.commands.demo:demo", "Real prices through real workers, in under a minute."),
    "paper": Listed("harvest_tasks.commands.paper:paper", "Fill live intents on paper: the reference executor."),
    "doctor": Listed("harvest_tasks.commands.doctor:doctor", "Say the first thing that is wrong, and what mends it."),
    "proof": Listed("harvest_tasks.commands.proof:proof", "Show that a deployment works, and write it down."),
    "metrics": Listed("harvest_tasks.commands.metrics:metrics", "Serve what Prometheus scrapes."),
    "propose": Listed("harvest_tasks.commands.propose:propose", "Compute and publish proposals in this process."),
    "positions": Listed("harvest_tasks.commands.positions:positions", "Show the tracked positions."),
    "intents": Listed("harvest_tasks.commands.intents:intents", "Show the newest intents."),
    "history": Listed("harvest_tasks.commands.history:history", "Show past harvests and closed positions."),
    "explain": Listed("harvest_tasks.commands.explain:explain", "Explain a book: risk, R, rungs, guards, decisions."),
    "kill": Listed("harvest_tasks.commands.kill:kill", "Stop all publishing of intents, or allow it again."),
    "release": Listed("harvest_tasks.commands.release:release", "Let frozen books publish again."),
    "reconcile": Listed(
        "harvest_tasks.commands.reconcile:reconcile", "Compare positions with the exchange's record, and adopt it."
    ),
    "deadletter": Listed("harvest_tasks.commands.deadletter:deadletter", "Entries that could not be used; try again."),
    "instruments": Listed(
        "harvest_tasks.commands.instruments:instruments", "Show the exchange's rules: steps, minimums, maximums."
    ),
    "config": Listed("harvest_tasks.commands.config:config", "Show every setting and where it comes from."),
}


class Commands(click.Group):
    """Imports a command only when it runs, so that help and usage errors are quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].home.partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except tuple(_exit_codes()) as error:
            _explain(error)
            raise click.exceptions.Exit(_exit_code(error)) from error


def _exit_codes() -> dict[type[Exception], int]:
    """Exit codes of what a user can mend. Imported only when something went wrong."""
    from kombu.exceptions import OperationalError
    from redis.exceptions import ConnectionError as Disconnected
    from redis.exceptions import ResponseError
    from redis.exceptions import TimeoutError as Unanswered

    from harvest_tasks.processes.embedded_server import EmbeddedError
    from harvest_tasks.processes.supervisor import NotReady
    from harvest_tasks.settings.model import SettingsError

    return {
        NotReady: 1,
        ResponseError: 1,
        SettingsError: 2,
        EmbeddedError: UNREACHABLE,
        Disconnected: UNREACHABLE,
        Unanswered: UNREACHABLE,
        OperationalError: UNREACHABLE,
    }


def _exit_code(error: Exception) -> int:
    return next(code for kind, code in _exit_codes().items() if isinstance(error, kind))


def _explain(error: Exception) -> None:
    hint = " (see REDIS_URL and BROKER_URL)" if _exit_code(error) == UNREACHABLE else ""
    for line in f"{error}{hint}".splitlines():
        click.echo(f"harvest: {line}", err=True)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="harvest", message="%(prog)s %(version)s")
def main() -> None:
    """Takes profit out of open crypto-futures positions: proposals, and reduce-only intents."""
