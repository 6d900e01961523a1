"""`harvest demo`: a whole Harvest on recorded prices, in under a minute."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Final

import click
from redis.exceptions import RedisError
from rich.console import Console

from harvest_tasks.commands.session import Failure
from harvest_tasks.commands.tables import show_json
from harvest_tasks.processes.supervisor import NotReady
from harvest_tasks.simulation.demo.environment import SERVER_NAMES, Stage, outside_settings, private_stage
from harvest_tasks.simulation.demo.feed import Interrupted, Stuck
from harvest_tasks.simulation.paper.execution import Terms

FEE_BPS: Final = Decimal(5)
SLIPPAGE_BPS: Final = Decimal(1)
REJECT_SHARE: Final = 0.1


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON, and nothing else on stdout.")
@click.option("--seed", default="1", show_default=True, help="Which intents the executor rejects.")
@click.option(
    "--speed",
    type=click.FloatRange(0),
    default=0.0,
    help="Market minutes per second.  [default: as fast as everything keeps up]",
)
def demo(as_json: bool, seed: str, speed: float) -> None:
    """Play recorded prices through real workers on a private server, and check the result.

    It never touches a given server: REDIS_URL and all other settings are left out, and a server of its own starts.
    The same seed gives the same intents and the same profit. The exit code is 1 if anything that Harvest did differs
    from what its kernel alone makes of the same entries.
    """
    # Until the processes run: what was begun is undone, as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(stderr=as_json, highlight=False, markup=False, emoji=False)
    _say_what_is_left_out(console)
    terms = Terms(SLIPPAGE_BPS, FEE_BPS, REJECT_SHARE, seed=seed)
    with private_stage() as stage, _explained(stage):
        from harvest_tasks.simulation.demo.run import perform  # the app reads the environment, which is set by now

        summary = perform(stage, console, terms, speed)
    if as_json:
        show_json(summary.as_dict())
    raise click.exceptions.Exit(0 if summary.verified else 1)


def _say_what_is_left_out(console: Console) -> None:
    names = outside_settings()
    if any(name in SERVER_NAMES for name in names):
        console.print("The demo does not use the server that is set: it starts one of its own.")
    if names:
        console.print(f"Left out: {', '.join(names)}", style="dim")


@contextmanager
def _explained(stage: Stage) -> Iterator[None]:
    """What can go wrong, in one line, after the last lines that the processes wrote."""
    try:
        yield
    except Interrupted:
        raise Failure("stopped before the end: there is nothing to verify") from None
    except (NotReady, Stuck, RedisError) as error:
        for line in stage.last_words():
            click.echo(line, err=True)
        raise Failure(str(error)) from None
