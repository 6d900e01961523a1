"""The journal of decisions, as an operator sees it."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.server.streams import newest_first, time_ms


@dataclass(frozen=True, slots=True)
class JournaledDecision:
    """One journal record: `time_ms` is when it was written (unix ms), `values` all of its fields."""

    record_id: str
    time_ms: int
    decision: str
    action: str
    reason: str
    values: Mapping[str, str]


def newest_decisions(client: Client, book: str, count: int) -> list[JournaledDecision]:
    """Up to `count` records of `book`, newest first. Streams are searched only so far back: see `newest_first`."""
    records = newest_first(client, keys.DECISIONS)
    return list(islice((_record(*record) for record in records if record[1].get("book") == book), count))


def _record(record_id: str, values: Mapping[str, str]) -> JournaledDecision:
    decision, action, reason = (values.get(name, "") for name in ("decision", "action", "reason"))
    return JournaledDecision(record_id, time_ms(record_id), decision, action, reason, values)
