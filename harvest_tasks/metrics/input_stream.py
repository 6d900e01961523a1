"""The input stream: lag, pending entries, age of the newest entry, and lost entries."""

from collections.abc import Iterator
from typing import Any

from prometheus_client.core import Metric

from harvest_tasks.fills.group_position import NOWHERE, Cursor, GroupPosition
from harvest_tasks.metrics.families import NEVER, gauge, parse_number
from harvest_tasks.metrics.replies import Replies
from harvest_tasks.server import keys
from harvest_tasks.server.client import Command
from harvest_tasks.server.streams import time_ms
from harvest_tasks.settings.model import Settings


def commands(settings: Settings) -> dict[str, Command]:
    source = settings.stream_execution_result
    return {
        "input": ("XINFO STREAM", source),
        "groups": ("XINFO GROUPS", source),
        "pending": ("XPENDING", source, keys.GROUP),
        "cursor": ("HGETALL", keys.CURSOR),
        "lost": ("HGETALL", keys.LOST),
    }


def more_commands(settings: Settings, replies: Replies) -> dict[str, Command]:
    """The command for the oldest unread entry."""
    group = _group(replies)
    after = group["last-delivered-id"] if group else NOWHERE
    return {"unread": ("XRANGE", settings.stream_execution_result, f"({after}", "+", "COUNT", 1)}


def families(replies: Replies, more: Replies, now_ms: int) -> Iterator[Metric]:
    stream, pending = replies.get("input"), replies.get("pending", {"pending": 0, "min": None})
    newest = stream["last-generated-id"] if stream else NOWHERE
    unread = more.get("unread") or [(None, {})]
    lost = replies.get("lost", {})
    yield gauge(
        "input_has_group",
        "1 if the input stream and its consumer group exist. The first watcher creates them.",
        float(_group(replies) is not None),
    )
    yield gauge(
        "input_lag_entries",
        "Unread entries in the input stream. If this grows, check that a worker consumes the queue watch.",
        _lag(stream, _group(replies), replies),
    )
    yield gauge(
        "input_oldest_unread_seconds",
        "Age of the oldest unread entry; 0 if there is none.",
        _age(unread[0][0], now_ms),
    )
    yield gauge(
        "input_pending_entries",
        "Entries that a watcher read but has not moved to an inbox yet.",
        pending["pending"],
    )
    yield gauge(
        "input_oldest_pending_seconds",
        "Age of the oldest pending entry; 0 if there is none. The next watcher claims it.",
        _age(pending["min"], now_ms),
    )
    yield gauge(
        "input_newest_seconds",
        "Age of the newest entry in the input stream. If this grows, check the executor and the price feed.",
        NEVER if newest == NOWHERE else _age(newest, now_ms),
    )
    yield gauge(
        "input_lost",
        "1 while entries were lost unread and every book is frozen: see harvest reconcile.",
        float(bool(lost)),
    )
    yield gauge(
        "input_lost_entries",
        "Number of lost entries, as far as they could be counted.",
        parse_number(lost.get("entries", "0")),
    )


def _group(replies: Replies) -> Any:
    return next((group for group in replies.get("groups", ()) if group["name"] == keys.GROUP), None)


def _lag(stream: Any, group: Any, replies: Replies) -> float:
    """Unread entries; the length of the stream where neither the server nor the cursor can count them."""
    if stream is None:
        return 0
    if group is None:
        return float(stream["length"])
    position = GroupPosition.of(stream, group, Cursor.of(replies.get("cursor", {})))
    if position.is_at_the_end:
        return 0
    return float(position.length if position.read is None else min(position.length, position.added - position.read))


def _age(entry_id: str | None, now_ms: int) -> float:
    return 0 if entry_id is None else max(0, now_ms - time_ms(entry_id)) / 1000
