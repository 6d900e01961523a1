"""Where the consumer group is in the input stream, what it lost unread, and how far entries were moved to the inboxes.

Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kernel.positions.position import parse_id

NOWHERE: Final = "0-0"


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far entries were moved, as Harvest records it: up to the entry `moved_id`, the `read`-th ever added (None:
    not known). `deleted_id` is the newest deleted entry whose loss was reported.

    The consumer group knows this, too, until it or the stream is destroyed.
    """

    moved_id: str = NOWHERE
    read: int | None = None
    deleted_id: str = NOWHERE

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> "Cursor | None":
        """The cursor from the fields of its hash; None before the first start."""
        if "id" not in fields:
            return None
        read = fields.get("read", "")
        return cls(fields["id"], int(read) if read else None, fields.get("deleted", NOWHERE))


@dataclass(frozen=True, slots=True)
class GroupPosition:
    """The group in its stream at one time, as the server counts it.

    `added` counts entries ever added, `length` those still there, `read` those delivered (None: not known).
    `deleted_id` is the newest deleted entry whose loss was not reported yet.
    """

    added: int
    length: int
    read: int | None
    first_id: str | None
    delivered_id: str
    newest_id: str
    deleted_id: str = NOWHERE

    @classmethod
    def of(cls, stream: Mapping[str, Any], group: Mapping[str, Any], cursor: Cursor | None) -> "GroupPosition":
        """From XINFO STREAM and XINFO GROUPS, and from the cursor where the server has lost count."""
        delivered_id, read = group["last-delivered-id"], group["entries-read"]
        if read is None and cursor is not None and cursor.moved_id == delivered_id:
            read = cursor.read
        reported = NOWHERE if cursor is None else cursor.deleted_id
        deleted_id = stream["max-deleted-entry-id"]
        first = stream["first-entry"]
        return cls(
            added=stream["entries-added"],
            length=stream["length"],
            read=read,
            first_id=first[0] if first else None,
            delivered_id=delivered_id,
            newest_id=stream["last-generated-id"],
            deleted_id=deleted_id if parse_id(deleted_id) > parse_id(reported) else NOWHERE,
        )

    @property
    def is_at_the_end(self) -> bool:
        return self.delivered_id == self.newest_id

    @property
    def lost(self) -> int:
        """Entries that were trimmed or deleted before the group read them, at least."""
        return max(self._trimmed, int(self._has_unread_deletion))

    @property
    def _has_unread_deletion(self) -> bool:
        return parse_id(self.deleted_id) > parse_id(self.delivered_id)

    @property
    def _trimmed(self) -> int:
        """Entries trimmed unread, by the server's counter.

        The counter is used only where it is needed, as Redis 7.0 loses it when it reloads its log. Trimming starts with
        the oldest entry: while a delivered one is still there, or when all were delivered, no unread one is gone.
        """
        if self.is_at_the_end or self.read is None:
            return 0
        if self.first_id is not None and parse_id(self.first_id) <= parse_id(self.delivered_id):
            return 0
        return max(0, self.added - self.length - self.read)

    @property
    def is_miscounted(self) -> bool:
        return self.lost > 0 or (self.is_at_the_end and self.read != self.added)

    def read_after(self, count: int) -> int | None:
        """How many entries the group will have read after `count` more."""
        return None if self.read is None else self.read + count


def is_continuation(stream: Mapping[str, Any], cursor: Cursor) -> bool:
    """Whether `stream` (XINFO STREAM) is still the one of `cursor`, not a new one under the same name."""
    if parse_id(stream["last-generated-id"]) < parse_id(cursor.moved_id):
        return False
    first = stream["first-entry"]
    if first and parse_id(first[0]) <= parse_id(cursor.moved_id):
        return True
    # Every moved entry is gone, so at least as many must be gone as were moved.
    return cursor.read is not None and stream["entries-added"] - stream["length"] >= cursor.read


@dataclass(frozen=True, slots=True)
class InputProgress:
    """How far the input has reached the inboxes: entries that have not may explain a difference from the exchange.

    `newest_id` is the stream's, `delivered_id` the group's; `pending_id` is the oldest entry that was delivered and is
    not in an inbox yet, or None.
    """

    newest_id: str
    delivered_id: str
    pending_id: str | None

    def has_reached(self, entry_id: str) -> bool:
        """Whether all entries up to `entry_id` have reached the inboxes, as far as they still exist."""
        wanted = min(parse_id(entry_id), parse_id(self.newest_id))
        if self.pending_id is not None and parse_id(self.pending_id) <= wanted:
            return False
        return parse_id(self.delivered_id) >= wanted
