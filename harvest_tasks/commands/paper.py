"""`harvest paper`: the reference executor as a process of its own."""

import signal
from collections.abc import Callable
from decimal import Decimal

import click

from harvest_tasks.commands.finite import FiniteRange
from harvest_tasks.commands.session import connected
from harvest_tasks.logs import log_to_stderr
from harvest_tasks.simulation.paper.execution import ExecutionTerms
from harvest_tasks.simulation.paper.executor import PaperExecutor

SHARE = FiniteRange(0, 1)


@click.command()
@click.option(
    "--slippage-bps",
    type=FiniteRange(0, 1_000),
    default=1.0,
    show_default=True,
    help="How much worse than the mark a fill is, in basis points.",
)
@click.option(
    "--fee-bps",
    type=FiniteRange(-100, 1_000),
    default=5.0,
    show_default=True,
    help="The fee, in basis points of a fill's value; negative: a rebate.",
)
@click.option("--reject-share", type=SHARE, default=0.0, show_default=True, help="Share of intents to reject.")
@click.option("--ignore-share", type=SHARE, default=0.0, show_default=True, help="Share of intents that get no reply.")
@click.option("--seed", default="0", show_default=True, help="Decides which intents those are.")
@click.option("--once", is_flag=True, help="Execute the intents that exist now, and exit.")
def paper(slippage_bps: float, fee_bps: float, reject_share: float, ignore_share: float, seed: str, once: bool) -> None:
    """Execute live intents on paper at the tracked mark price, and report the fills as execution results.

    Shadow intents are never filled; stop moves are only logged. Runs until SIGTERM or Ctrl-C.
    """
    if reject_share + ignore_share > 1:
        raise click.UsageError("--reject-share and --ignore-share sum to more than 1")
    terms = ExecutionTerms(Decimal(repr(slippage_bps)), Decimal(repr(fee_bps)), reject_share, ignore_share, seed)
    with connected() as (settings, client):
        log_to_stderr(settings.log_level, settings.log_format)
        executor = PaperExecutor(client, settings, terms)
        # Before anything else: a wrong address fails at once.
        executor.ensure_group()
        if once:
            executor.drain()
        else:
            executor.run(_asked_to_stop())
    click.echo(" ".join(f"{answer}={n}" for answer, n in sorted(executor.tally.items())) or "no intents", err=True)


def _asked_to_stop() -> Callable[[], bool]:
    """A function that returns whether SIGTERM or SIGINT arrived."""
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: asked.append(number))
    return lambda: bool(asked)
