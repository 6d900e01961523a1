"""What is fed to a running cluster, and what must come of it: the same as of one thread on an empty database."""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from builders import fold
from desk import Desk, Fields
from entries import price
from waiting import wait_until

from harvest_tasks.server import keys
from harvest_tasks.server.client import connect
from harvest_tasks.wire.execution_result import Routed, parse
from kernel.positions.holding import RiskTerms
from kernel.positions.position import Position

TIMES = ("timestamp", "expires_at", "trace_id")
"""What an intent says about when it was due; `trace_id` is the id of an entry, which begins with its time."""

PIPELINED = 500
COUNTED = ("in", "applied", "duplicate", "deadlettered", "ignored", "intents")


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - to be repeatable, not to be secret


def random_entries(rng: random.Random, length: int, symbols: Sequence[str], flips: float = 0.1) -> list[dict[str, str]]:
    """Fills and prices whose order matters, of which a share `flips` crosses zero; some trades come a second time."""
    net = dict.fromkeys(symbols, Decimal(0))
    entries: list[dict[str, str]] = []
    for _ in range(length):
        symbol = rng.choice(symbols)
        at = Decimal(rng.randint(9_500, 10_500)) / 100
        if rng.random() < 0.2:
            entries.append(price(str(at), symbol))
            continue
        fill = _fill(rng, symbol, at, net, flips)
        if rng.random() < 0.7:
            fill["trade_id"] = str(rng.getrandbits(48))
        entries += [fill] * (2 if "trade_id" in fill and rng.random() < 0.05 else 1)
    return entries


def _fill(rng: random.Random, symbol: str, at: Decimal, net: dict[str, Decimal], flips: float) -> dict[str, str]:
    """Keeps `net` up to date."""
    qty = Decimal(rng.choice(("0.5", "1", "2")))
    sign = rng.choice((1, -1))
    if net[symbol] and rng.random() < flips:
        sign = -1 if net[symbol] > 0 else 1
        qty += abs(net[symbol])
    net[symbol] += sign * qty
    side, stop = ("BUY", at - 2) if sign > 0 else ("SELL", at + 2)
    filled = {"symbol": symbol, "status": "FILLED", "side": side, "qty": str(qty), "price": str(at)}
    return filled | {"stop_loss": str(stop)}


def feed(desk: Desk, entries: Sequence[Fields], batch: int = PIPELINED) -> None:
    """In atomic batches: a watcher sees all of a batch or none."""
    for start in range(0, len(entries), batch):
        with desk.client.pipeline(transaction=True) as pipe:
            for entry in entries[start : start + batch]:
                pipe.xadd(desk.source, dict(entry))
            pipe.execute()


def settled(desk: Desk, within: float = 60.0) -> None:
    """Until nothing that was fed is on its way any more."""
    wait_until(lambda: is_settled(desk), within, "everything fed is applied")


def is_settled(desk: Desk) -> bool:
    client = desk.client
    groups = [group for group in client.xinfo_groups(desk.source) if group["name"] == keys.GROUP]
    newest = client.xinfo_stream(desk.source)["last-generated-id"]
    read = bool(groups) and groups[0]["last-delivered-id"] == newest and not groups[0]["pending"]
    return read and not client.exists(keys.WAITING)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that entries lead to, in an order that does not depend on who worked on which book first."""

    positions: Mapping[str, Fields]
    journal: Mapping[str, Sequence[Fields]]
    intents: Sequence[str]
    counts: Mapping[str, int]


def outcome(desk: Desk) -> Outcome:
    books = sorted(desk.client.smembers(keys.BOOKS))
    journal = desk.journal()
    return Outcome(
        {book: _own(desk.client.hgetall(keys.position(book))) for book in books},
        {book: [record for record in journal if record["book"] == book] for book in books},
        sorted(json.dumps(intent) for intent in [*desk.suggestions(), *desk.live_intents()]),
        {name: desk.counts().get(name, 0) for name in COUNTED},
    )


def _own(fields: Fields) -> Fields:
    """Without the fields that count how often the ledger wrote it."""
    return {name: value for name, value in fields.items() if name not in ("version", "trades_generation")}


def replayed(desk: Desk, url: str, environ: Mapping[str, str]) -> Outcome:
    """What one thread makes of the entries on `desk`'s input, with an empty database at `url`."""
    alone = connect(url)
    try:
        alone.flushdb()
        entries = desk.client.xrange(desk.source)
        replay = Desk(alone, desk.server_ms(), **environ)
        with alone.pipeline(transaction=False) as pipe:
            for entry_id, fields in entries:
                pipe.xadd(replay.source, fields, id=entry_id)
            pipe.execute()
        replay.route()
        replay.process()
        return outcome(replay)
    finally:
        alone.close()


def folded(desk: Desk) -> dict[str, tuple[Any, ...]]:
    """What the kernel alone makes of the fills on `desk`'s input, book by book."""
    entries: dict[str, list[Any]] = {}
    for book, entry in _parsed(desk):
        entries.setdefault(book, []).append(entry)
    terms = RiskTerms(None, desk.settings.fallback_stop_pct)
    return {book: essence(fold(Position(book), fills, terms)) for book, fills in entries.items()}


def essence(position: Position) -> tuple[Any, ...]:
    """What fills alone decide of a position."""
    held = position.holding
    return position.epoch, held.qty, held.avg_entry, held.base_qty, held.realized_pnl, position.banked_pnl


def _parsed(desk: Desk) -> Iterator[tuple[str, Any]]:
    """Each fill once, as its book's worker reads it."""
    seen: set[tuple[str, str]] = set()
    for entry_id, fields in desk.client.xrange(desk.source):
        match parse(entry_id, fields):
            case Routed(_, str(book), entry) if entry.trade_id is None or (book, entry.trade_id) not in seen:
                seen.add((book, entry.trade_id or entry_id))
                yield book, entry
