"""`harvest propose`."""

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Final

import click
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import TimeoutError as TimedOut

from harvest_tasks.commands.formatting import figure, r_text, score
from harvest_tasks.commands.tables import Cell, Column, json_option, show, show_json
from harvest_tasks.logs import log_to_stderr
from harvest_tasks.proposing.cycle import ALL_SYMBOLS, run_cycle
from harvest_tasks.proposing.summary import CycleSummary, ProposalOutcome
from harvest_tasks.server.client import Client, connect
from harvest_tasks.server.clock import server_sec
from harvest_tasks.settings.model import PositionSource, Settings

log = logging.getLogger(__name__)

COLUMNS: Final = (
    Column("Book"),
    Column("Result"),
    Column("Action"),
    Column("R net", right=True),
    Column("K", right=True),
    Column("New stop", right=True),
    Column("Source"),
    Column("Reason", wraps=True),
)


@click.command()
@click.option("--once", is_flag=True, help="Run one cycle, and show its results.")
@click.option(
    "--symbols", help="Instead of SYMBOLS: a comma-separated list, or * for every symbol that ever had a fill."
)
@click.option(
    "--position-source",
    type=click.Choice([source.value for source in PositionSource]),
    help="Instead of POSITION_SOURCE.",
)
@json_option
def propose(once: bool, symbols: str | None, position_source: str | None, as_json: bool) -> None:
    """Compute and publish proposals in this process, every PUBLISH_INTERVAL_SEC until SIGTERM or Ctrl-C.

    Calc-only: a proposal is never an order. Log lines go to stderr.
    """
    settings = _settings(SYMBOLS=symbols, POSITION_SOURCE=position_source)
    log_to_stderr(settings.log_level, settings.log_format)
    client = connect(settings.redis_url)
    try:
        if once:
            _show(_cycle(client, settings), as_json)
            log.info("Single cycle complete")
        else:
            client.ping()
            _run(client, settings, as_json)
    finally:
        client.close()


def _settings(**given: str | None) -> Settings:
    return Settings.from_env({**os.environ, **{name: text for name, text in given.items() if text is not None}})


def _cycle(client: Client, settings: Settings) -> CycleSummary:
    return run_cycle(client, settings, settings.symbols or (ALL_SYMBOLS,), server_sec(client))


def _run(client: Client, settings: Settings, as_json: bool) -> None:
    with _until_stopped():
        for _ in _ticks(settings.publish_interval_sec):
            try:
                summary = _cycle(client, settings)
            except (Disconnected, TimedOut) as error:
                log.error("no proposals in this cycle: %s", error)  # noqa: TRY400 - the traceback would add nothing
                continue
            if as_json:
                show_json([outcome.as_dict() for outcome in summary.outcomes], on_one_line=True)
    log.info("stopped")


def _ticks(interval: float) -> Iterator[None]:
    """One tick at once, then one every `interval` seconds; ticks that pass while a cycle runs are skipped."""
    start = time.monotonic()
    while True:
        yield
        time.sleep(interval - (time.monotonic() - start) % interval)


@contextmanager
def _until_stopped() -> Iterator[None]:
    """SIGTERM and Ctrl-C end the block anywhere: each write of a cycle is atomic, and the next cycle repeats it."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    except KeyboardInterrupt:
        return
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show(summary: CycleSummary, as_json: bool) -> None:
    if as_json:
        show_json([outcome.as_dict() for outcome in summary.outcomes])
    elif summary.outcomes:
        show(COLUMNS, [_cells(outcome) for outcome in summary.outcomes])
    else:
        click.echo("No symbol has had a fill yet, so there is nothing to propose.")


def _cells(outcome: ProposalOutcome) -> Sequence[Cell]:
    fields = outcome.fields
    reason = f"{outcome.reason}: {outcome.detail}" if outcome.reason and outcome.detail else outcome.reason or ""
    return [
        outcome.book,
        outcome.result.value,
        fields.get("harvest_action", ""),
        _number(fields, "R_net", r_text),
        _number(fields, "kill_score", score),
        _number(fields, "new_sl_proposed", figure),
        fields.get("position_source", ""),
        fields.get("reason_codes", "").replace(",", ", ") or reason,
    ]


def _number(fields: Mapping[str, str], name: str, written: Callable[[Decimal], str]) -> str:
    text = fields.get(name)
    return written(Decimal(text)) if text else ""
