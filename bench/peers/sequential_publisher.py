"""A typical proposal publisher: symbol after symbol, one round trip for each read.

It reads the same hashes, understands them with the same code, computes with the same kernel and publishes with the
same script: only the round trips are others. It looks into the tracker and the stream for a symbol's position only
when the hash of positions does not know it.
"""

from collections.abc import Iterable

from harvest_tasks.proposing.cycle import apply_decisions, decide_proposals
from harvest_tasks.proposing.inputs import STREAM_DEPTH, Inputs
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.server.clock import server_sec
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.symbols import possible_books


def publish(client: Client, settings: Settings, symbols: Iterable[str]) -> int:
    """Publish the proposal of each symbol, and return their number."""
    computed, now = 0, server_sec(client)
    for symbol in symbols:
        outcomes = apply_decisions(
            client, settings, list(decide_proposals(_read(client, settings, symbol), settings, now)), now
        )
        computed += sum(bool(outcome.fields) for outcome in outcomes)
    return computed


def _read(client: Client, settings: Settings, symbol: str) -> Inputs:
    market = client.hgetall(settings.marketstate_prefix + symbol)
    risk = client.hgetall(settings.riskproposal_prefix + symbol)
    state = client.hgetall(keys.position_state(symbol))
    tracked, streamed = {book: {} for book in possible_books(symbol)}, {}
    if not state:
        tracked = {book: client.hgetall(keys.position(book)) for book in possible_books(symbol)}
        newest = client.xrevrange(keys.STREAM_EXECUTION, count=STREAM_DEPTH)
        streamed = next((fields for _, fields in newest if fields.get("symbol") == symbol), {})
    return Inputs(symbol, market, risk, state, tracked, streamed)
