"""How far the input stream has been taken in: what is still unread or unmoved may explain a difference."""

from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import ResponseError

from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings
from kernel.positions.position import parse_id

BEGINNING: Final = "0-0"


@dataclass(frozen=True, slots=True)
class Intake:
    """`newest_id` is the stream's, `delivered_id` the group's; `pending_id` is the oldest entry that was delivered and
    is not in an inbox yet, or None.
    """

    newest_id: str
    delivered_id: str
    pending_id: str | None

    def has_taken(self, entry_id: str) -> bool:
        """Whether all entries up to `entry_id` have reached the inboxes, as far as they are still there."""
        wanted = min(parse_id(entry_id), parse_id(self.newest_id))
        if self.pending_id is not None and parse_id(self.pending_id) <= wanted:
            return False
        return parse_id(self.delivered_id) >= wanted


def read(client: Client, settings: Settings) -> Intake:
    """As it is now. Before there is a stream or a group, nothing was taken."""
    source = settings.stream_execution_result
    with client.pipeline(transaction=True) as pipe:
        pipe.xinfo_stream(source)
        pipe.xinfo_groups(source)
        pipe.xpending(source, keys.GROUP)
        stream, groups, pending = map(_there, pipe.execute(raise_on_error=False))
    group = next((g for g in groups or () if g["name"] == keys.GROUP), None)
    return Intake(
        stream["last-generated-id"] if stream else BEGINNING,
        group["last-delivered-id"] if group else BEGINNING,
        pending["min"] if pending else None,
    )


def _there(reply: Any) -> Any:
    """None for what does not exist yet; any other error is raised."""
    if isinstance(reply, ResponseError) and ("no such key" in str(reply) or str(reply).startswith("NOGROUP")):
        return None
    if isinstance(reply, Exception):
        raise reply
    return reply
