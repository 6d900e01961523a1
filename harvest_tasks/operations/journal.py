"""The journal of decisions, read back."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.server.streams import newest_first, time_ms


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """`time_ms` is when it was written (unix ms); `values` is everything that was written."""

    record_id: str
    time_ms: int
    decision: str
    action: str
    reason: str
    values: Mapping[str, str]


def newest_journal_records(client: Client, book: str, count: int) -> list[JournalRecord]:
    """Up to `count` records of `book`, newest first, as far back as streams are searched."""
    records = newest_first(client, keys.DECISIONS)
    return list(islice((_record(*record) for record in records if record[1].get("book") == book), count))


def _record(record_id: str, values: Mapping[str, str]) -> JournalRecord:
    decision, action, reason = (values.get(name, "") for name in ("decision", "action", "reason"))
    return JournalRecord(record_id, time_ms(record_id), decision, action, reason, values)
