"""The proposal tasks: calc-only. Nothing here can reach the code that writes intents."""

from collections.abc import Sequence
from typing import Any

from harvest_tasks.celery import app
from harvest_tasks.proposing.cycle import ALL_SYMBOLS, run_cycle
from harvest_tasks.proposing.summary import CycleSummary
from harvest_tasks.server.client import shared_client
from harvest_tasks.server.clock import server_sec
from harvest_tasks.settings.model import current_settings
from harvest_tasks.wire.symbols import InvalidSymbol, valid_symbol


@app.task(name="harvest_tasks.proposals.compute_proposal", throws=(InvalidSymbol,))
def compute_proposal(symbol: str) -> dict[str, Any]:
    """Compute and publish one symbol's proposal. Returns its hash fields with `symbol book result reason detail`.

    In hedge mode these are the first book's, and `other_books` lists those of the rest. Raises `InvalidSymbol`.
    """
    summary = _task_cycle([valid_symbol(symbol)])
    first, *others = (outcome.as_dict() for outcome in summary.outcomes)
    return {**first, "other_books": others} if others else first


@app.task(name="harvest_tasks.proposals.compute_proposals", throws=(InvalidSymbol,))
def compute_proposals(symbols: Sequence[str] = (ALL_SYMBOLS,)) -> dict[str, Any]:
    """Compute and publish the proposals of `symbols`. Returns the sums. Raises `InvalidSymbol`.

    `*` stands for every symbol that ever had a fill.
    """
    return _task_cycle([symbols] if isinstance(symbols, str) else symbols).as_dict()


def _task_cycle(names: Sequence[str]) -> CycleSummary:
    settings = current_settings()
    client = shared_client(settings.redis_url)
    return run_cycle(client, settings, names, server_sec(client))
