"""The `harvest` command.

Exit codes: 0 done; 1 did not succeed; 2 wrong setting or usage; 3 server not reachable; 4 stopped, but by force;
130 stopped before there was a result.
"""

import os
from importlib import import_module
from typing import Any, Final

import click

from harvest_tasks.commands.exit_codes import UNREACHABLE

COMMANDS: Final = {
    "up": "Start a server, workers, beat and Flower, and keep them running.",
    "run": "Run one process of `up` in the foreground, for systemd.",
    "demo": "Play recorded prices through real workers, in under a minute.",
    "paper": "Execute live intents on paper: the reference executor.",
    "doctor": "Find the first thing that is wrong, and how to fix it.",
    "proof": "Check a whole deployment; on request, write a report.",
    "metrics": "Serve metrics to Prometheus.",
    "propose": "Compute and publish proposals in this process.",
    "positions": "Show the tracked positions.",
    "intents": "Show the newest intents.",
    "history": "Show past harvests and closed positions.",
    "explain": "Explain a book: risk, R, rungs, guards, decisions.",
    "kill": "Stop publishing intents, or allow it again.",
    "release": "Let frozen books publish again.",
    "reconcile": "Compare positions with the exchange's, or adopt the exchange's.",
    "deadletter": "List entries that Harvest could not use, and retry them.",
    "instruments": "Show the exchange's rules: steps, minimums, maximums.",
    "config": "Show every setting and where it comes from.",
}
"""What each command does. The command NAME is the function NAME in the module `harvest_tasks.commands.NAME`."""


class Commands(click.Group):
    """Imports a command only when it runs, so that `--help` and usage errors are quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"harvest_tasks.commands.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except tuple(_exit_codes()) as error:
            _explain(error)
            raise click.exceptions.Exit(_exit_code(error)) from error


def _exit_codes() -> dict[type[Exception], int]:
    """Exit codes of errors that a user can fix. Imports only when something went wrong."""
    from kombu.exceptions import OperationalError
    from redis.exceptions import ConnectionError as Disconnected
    from redis.exceptions import ResponseError
    from redis.exceptions import TimeoutError as TimedOut

    from harvest_tasks.processes.embedded_server import EmbeddedError
    from harvest_tasks.processes.supervisor import NotReady
    from harvest_tasks.settings.model import SettingsError

    return {
        NotReady: 1,
        ResponseError: 1,
        SettingsError: 2,
        EmbeddedError: UNREACHABLE,
        Disconnected: UNREACHABLE,
        TimedOut: UNREACHABLE,
        OperationalError: UNREACHABLE,
    }


def _exit_code(error: Exception) -> int:
    return next(code for kind, code in _exit_codes().items() if isinstance(error, kind))


def _explain(error: Exception) -> None:
    for line in _text(error).splitlines():
        click.echo(f"harvest: {line}", err=True)


def _text(error: Exception) -> str:
    from redis.exceptions import AuthenticationError

    from harvest_tasks.processes.embedded_server import EmbeddedError

    if _exit_code(error) != UNREACHABLE or isinstance(error, EmbeddedError):
        return str(error)
    name, url = _server_of(error)
    if isinstance(error, AuthenticationError):
        return f"the server at {url} refuses the login: {str(error).rstrip('.')}. Fix: correct {name} (harvest config)"
    return f"the server at {url} does not answer: {_reason(error)}. Fix: start it, or correct {name} (harvest config)"


def _server_of(error: Exception) -> tuple[str, str]:
    """The setting that names the server, and its URL without a password."""
    from kombu.exceptions import OperationalError

    from harvest_tasks.settings.model import Settings
    from harvest_tasks.settings.redis_url import redacted_url

    settings = Settings.from_env(os.environ)
    if isinstance(error, OperationalError):
        return "BROKER_URL", redacted_url(settings.broker_url)
    return "REDIS_URL", redacted_url(settings.redis_url)


def _reason(error: BaseException) -> str:
    """The operating system's reason, without the address; else what the library says."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror[0].lower() + cause.strerror[1:]
        cause = cause.__cause__ or cause.__context__
    return str(error).rstrip(".")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="harvest", message="%(prog)s %(version)s")
def main() -> None:
    """Takes profit out of open crypto-futures positions: proposals, and reduce-only intents."""
