"""Published intents, read back from the suggestion stream and the intent stream."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from heapq import merge
from itertools import islice

from harvest_tasks.server.client import Client
from harvest_tasks.server.streams import StreamEntry, newest_first, time_ms
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.intent import INTENT_SOURCE
from kernel.positions.position import parse_id


@dataclass(frozen=True, slots=True)
class PublishedIntent:
    """`entry_id` is the id in its stream, `time_ms` when it was published (unix ms); `mode` is shadow or live."""

    entry_id: str
    time_ms: int
    mode: str
    intent_type: str
    book: str
    side: str
    qty: Decimal
    stop_price: Decimal | None
    reason: str
    intent_id: str
    position_id: str


def newest_intents(client: Client, settings: Settings, limit: int, symbol: str | None = None) -> list[PublishedIntent]:
    """The `limit` newest intents, of one symbol or of all, newest first.

    Entries of other programs in the intent stream are skipped.
    """
    streams = (settings.stream_harvest_suggestions, settings.stream_trade_intent)
    found = merge(*(_ours(client, stream, symbol) for stream in streams), key=_order, reverse=True)
    return list(islice(found, limit))


def _order(intent: PublishedIntent) -> tuple[int, int]:
    return parse_id(intent.entry_id)


def _ours(client: Client, stream: str, symbol: str | None) -> Iterator[PublishedIntent]:
    for entry in newest_first(client, stream):
        if symbol in (None, entry[1].get("symbol")):
            intent = _read(entry)
            if intent is not None:
                yield intent


def _read(entry: StreamEntry) -> PublishedIntent | None:
    entry_id, fields = entry
    try:
        payload = json.loads(fields.get("payload", ""), parse_float=Decimal, parse_int=Decimal)
        return _published(entry_id, payload) if payload["source"] == INTENT_SOURCE else None
    except (ValueError, KeyError, TypeError, InvalidOperation):
        return None


def _published(entry_id: str, payload: Mapping[str, object]) -> PublishedIntent:
    stop_price = payload.get("stop_price")
    return PublishedIntent(
        entry_id=entry_id,
        time_ms=time_ms(entry_id),
        mode="shadow" if payload["dry_run"] else "live",
        intent_type=str(payload["intent_type"]),
        book=str(payload["position_id"]).rpartition(":")[0],
        side=str(payload["side"]),
        qty=Decimal(str(payload["qty"])),
        stop_price=None if stop_price is None else Decimal(str(stop_price)),
        reason=str(payload["reason"]),
        intent_id=str(payload["intent_id"]),
        position_id=str(payload["position_id"]),
    )
