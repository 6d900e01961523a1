"""Random desks at a real server: their settings as variables, and the intents that they published."""

import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.position import read_position
from kernel.positions.quantities import plain
from laboratory.comparison import Asked, Taken
from laboratory.random_moves import SYMBOL, Setup


class Outs:
    """What was journaled and published, from look to look."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._streams = keys.DECISIONS, settings.stream_trade_intent, settings.stream_harvest_suggestions
        self._read = dict.fromkeys(self._streams, "0-0")

    def taken(self, books: Sequence[str]) -> dict[str, Taken]:
        """What became of `books` since the last look, in one round trip; there are no others."""
        with self._client.pipeline(transaction=False) as pipe:
            for stream, read in self._read.items():
                pipe.xrange(stream, min=f"({read}")
            for book in books:
                pipe.hgetall(keys.position(book))
            found = pipe.execute()
        positions = dict(zip(books, found[len(self._streams) :], strict=True))
        journal, live, shadow = map(self._new, self._streams, found)
        records = {book: [record for record in journal if record["book"] == book] for book in books}
        intents = [*asked(live, "REDUCE_ONLY"), *asked(shadow, "HARVEST_PARTIAL")]
        assert sum(map(len, records.values())) == len(journal), journal
        return {
            book: Taken(read_position(book, fields), records[book], _in_order(intents, records, book))
            for book, fields in positions.items()
        }

    def _new(self, stream: str, entries: Sequence[tuple[str, Mapping[str, str]]]) -> list[Mapping[str, str]]:
        if entries:
            self._read[stream] = entries[-1][0]
        return [fields for _, fields in entries]


def _in_order(intents: Sequence[Asked], records: Mapping[str, Sequence[Mapping[str, str]]], book: str) -> list[Asked]:
    """Those of a book in the order of its records; what no record tells of, last, with every book."""
    told = {name: _published(of_book) for name, of_book in records.items()}
    others = {intent_id for name, ids in told.items() if name != book for intent_id in ids}
    place = {intent_id: n for n, intent_id in enumerate(told[book])}
    return sorted((i for i in intents if i.intent_id not in others), key=lambda i: place.get(i.intent_id, len(place)))


def _published(records: Sequence[Mapping[str, str]]) -> list[str]:
    return [record["intent_id"] for record in records if record["decision"] == "published"]


def asked(entries: Sequence[Mapping[str, str]], harvest_type: str) -> Iterator[Asked]:
    """The intents in entries of one stream, in which a harvest has the type `harvest_type`."""
    for entry in entries:
        payload = json.loads(entry["payload"], parse_float=Decimal, parse_int=Decimal)
        kind = payload["intent_type"]
        assert (kind, payload["intent_id"]) == (entry["intent_type"], entry["intent_id"])
        assert (payload["action"], payload["quantity"]) == (payload["side"], payload["qty"])
        assert (payload["reduce_only"], payload["dry_run"]) == (True, harvest_type == "HARVEST_PARTIAL")
        yield Asked(
            payload["intent_id"],
            "HARVEST" if kind == harvest_type else kind,
            payload["side"],
            payload["qty"],
            tuple(plain(rung) for rung in payload["rungs"]),
            payload.get("stop_price"),
        )


def environ(setup: Setup, exchange_info: Path) -> dict[str, str]:
    """The desk's settings as variables."""
    live = {"HARVEST_MODE": "live", "HARVEST_LIVE_CONFIRM": "yes", "HARVEST_LIVE_STOPS": str(setup.hedge).lower()}
    if setup.lot:
        exchange_info.write_text(json.dumps({"symbols": [listing(setup.lot)]}))
    return {
        "HARVEST_LADDER": setup.ladder,
        "HARVEST_LADDER_BASIS": setup.basis,
        "HARVEST_MIN_R": "0",
        "HARVEST_SET_BE_AT_R": setup.set_be_at_r,
        "HARVEST_TRAIL_ATR_MULT": setup.trail_mult,
        "HARVEST_COST_BPS": setup.cost_bps,
        "HARVEST_MAX_ACTIONS_PER_MIN": str(setup.per_minute),
        "CHANGE_EPS_PCT": setup.eps,
        "FALLBACK_STOP_PCT": setup.fallback,
        **(live if setup.live else {}),
        **({"INSTRUMENTS_FILE": str(exchange_info)} if setup.lot else {}),
    }


def listing(lot: Mapping[str, str]) -> dict[str, Any]:
    """The symbol in an exchangeInfo."""
    size = {"stepSize": lot["step"], "minQty": lot["min_qty"], "maxQty": lot.get("max_qty", "0")}
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": lot["tick"]},
        {"filterType": "LOT_SIZE", **size},
        {"filterType": "MARKET_LOT_SIZE", **size},
        {"filterType": "MIN_NOTIONAL", "notional": lot["min_notional"]},
    ]
    return {"symbol": SYMBOL, "status": "TRADING", "quoteAsset": "USDT", "filters": filters}
