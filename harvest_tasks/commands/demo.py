"""`harvest demo`: a complete Harvest on recorded prices, in under a minute."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Final

import click
from redis.exceptions import RedisError
from rich.console import Console

from harvest_tasks.commands.exit_codes import INTERRUPTED
from harvest_tasks.commands.finite import FiniteRange
from harvest_tasks.commands.session import Failure
from harvest_tasks.commands.tables import show_json
from harvest_tasks.processes.supervisor import NotReady
from harvest_tasks.simulation.demo.environment import (
    SERVER_SETTINGS,
    Environment,
    inherited_settings,
    private_environment,
)
from harvest_tasks.simulation.demo.feed import Interrupted, Stuck
from harvest_tasks.simulation.paper.execution import ExecutionTerms

FEE_BPS: Final = Decimal(5)
SLIPPAGE_BPS: Final = Decimal(1)
REJECT_SHARE: Final = 0.1


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON, and nothing else on stdout.")
@click.option("--seed", default="1", show_default=True, help="Decides which intents the executor rejects.")
@click.option(
    "--speed",
    type=FiniteRange(0),
    default=0.0,
    help="Market minutes per second.  [default: as fast as this machine can]",
)
def demo(as_json: bool, seed: str, speed: float) -> None:
    """Play recorded prices through real workers on a private server, and verify the result.

    The demo ignores REDIS_URL and all other settings, and starts its own server. The same seed gives the same intents
    and the same profit. The exit code is 1 if Harvest's result differs from what the kernel alone computes from the
    same entries.
    """
    # Until the processes run, SIGTERM cleans up like Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(stderr=as_json, highlight=False, markup=False, emoji=False)
    _report_ignored_settings(console)
    terms = ExecutionTerms(SLIPPAGE_BPS, FEE_BPS, REJECT_SHARE, seed=seed)
    with private_environment() as environment, _short_errors(environment):
        from harvest_tasks.simulation.demo.run import run_demo  # the app reads the environment, which is set by now

        summary = run_demo(environment, console, terms, speed, _report_signal)
    if as_json:
        show_json(summary.as_dict())
    raise click.exceptions.Exit(0 if summary.verified else 1)


def _report_signal() -> None:
    click.echo("harvest: stopping all processes", err=True)


def _report_ignored_settings(console: Console) -> None:
    names = inherited_settings()
    if any(name in SERVER_SETTINGS for name in names):
        console.print("The demo ignores the configured server and starts its own.")
    if names:
        console.print(f"Ignored settings: {', '.join(names)}", style="dim")


@contextmanager
def _short_errors(environment: Environment) -> Iterator[None]:
    """Report an expected failure in one line, after the last lines of the log."""
    try:
        yield
    except (Interrupted, KeyboardInterrupt):
        click.echo("harvest: stopped before the end, so there is nothing to verify", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    except (NotReady, Stuck, RedisError) as error:
        for line in environment.log_tail():
            click.echo(line, err=True)
        raise Failure(str(error)) from None
