"""The input stream and its consumer group: created, read, claimed, and counted right after a loss."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from redis.exceptions import ResponseError

from harvest_tasks.fills.group_position import NOWHERE, Cursor, GroupPosition, InputProgress, is_continuation
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client, checked, pairs_to_dict, round_trip
from harvest_tasks.settings.model import Settings

READ_BATCH: Final = 500

RawEntry = tuple[str, Sequence[str]]
"""A stream id, and names and values in turn: a mapping would hide a name that occurs twice."""


class InputGone(Exception):
    """The stream or its group was destroyed: begin again."""


class InputUnusable(Exception):
    """The input's key is not a stream."""


class InputStream:
    """The stream `settings.stream_execution_result`, read through Harvest's consumer group."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._source = settings.stream_execution_result

    def ensure_group(
        self, first_start: Callable[[], None] = lambda: None, lost: Callable[[str], None] = lambda _: None
    ) -> None:
        """Create the group unless it exists.

        Before that, calls `first_start()` if nothing was ever read, or `lost(why)` if the stream was deleted, so that
        its unread entries are gone and cannot be counted. Raises `InputUnusable`.
        """
        stream, has_group, cursor = self._state()
        if has_group:
            return
        if cursor is None:
            first_start()
            self._create(NOWHERE, _trimmed_count(stream))
        elif stream is not None and is_continuation(stream, cursor):
            self._create(cursor.moved_id, cursor.read)
        else:
            lost("the input stream was deleted")
            self._client.delete(keys.CURSOR)
            self._create(NOWHERE, _trimmed_count(stream))

    def read(self, after_id: str = NOWHERE, block_ms: int = 1) -> tuple[list[RawEntry], GroupPosition]:
        """The next unread entries, oldest first, and the group's position before this read, in one atomic step.

        Waits until there is an entry after `after_id`, for `block_ms` at most. Raises `InputGone` or `InputUnusable`.
        """
        # XREADGROUP could wait by itself, but not in one step with the counters. XREAD waits here; as soon as it ends,
        # the server runs the commands that were sent behind it, so waiting takes no round trip of its own.
        replies = round_trip(
            self._client,
            [
                ("XREAD", "COUNT", 1, "BLOCK", block_ms, "STREAMS", self._source, after_id),
                ("MULTI",),
                ("XINFO", "STREAM", self._source),
                ("XINFO", "GROUPS", self._source),
                ("HGETALL", keys.CURSOR),
                ("XREADGROUP", "GROUP", keys.GROUP, keys.CONSUMER, "COUNT", READ_BATCH, "STREAMS", self._source, ">"),
                ("EXEC",),
            ],
        )
        *_, executed = [input_reply(reply, self._source) for reply in replies]
        stream, groups, cursor, read = [input_reply(reply, self._source) for reply in executed]
        group = _own_group(map(pairs_to_dict, groups))
        position = GroupPosition.of(pairs_to_dict(stream), group, Cursor.of(pairs_to_dict(cursor)))
        return read[0][1] if read else [], position

    def claim(self) -> tuple[list[RawEntry], int]:
        """The oldest pending entries of any consumer, and how many others were trimmed while pending.

        Raises `InputGone` or `InputUnusable`.
        """
        command = "XAUTOCLAIM", self._source, keys.GROUP, keys.CONSUMER, 0, "0-0", "COUNT", READ_BATCH
        (reply,) = round_trip(self._client, [command])
        _, entries, deleted = input_reply(reply, self._source)
        return entries, len(deleted)

    def recount(self, position: GroupPosition, entries: Sequence[RawEntry]) -> None:
        """Correct the group's counter after a read of `entries` that found the group at `position`."""
        if len(entries) < READ_BATCH:
            delivered_id, read = position.newest_id, position.added
        else:
            delivered_id, read = entries[-1][0], position.added - position.length + len(entries)
        with self._client.pipeline(transaction=True) as pipe:
            pipe.xgroup_setid(self._source, keys.GROUP, delivered_id, entries_read=read)
            if position.deleted_id != NOWHERE:
                pipe.hset(keys.CURSOR, "deleted", position.deleted_id)
            pipe.execute()

    def progress(self) -> InputProgress:
        """How far entries have reached the inboxes; without a stream or a group, none has."""
        with self._client.pipeline(transaction=True) as pipe:
            pipe.xinfo_stream(self._source)
            pipe.xinfo_groups(self._source)
            pipe.xpending(self._source, keys.GROUP)
            stream, groups, pending = map(_existing, pipe.execute(raise_on_error=False))
        group = next((g for g in groups or () if g["name"] == keys.GROUP), None)
        return InputProgress(
            stream["last-generated-id"] if stream else NOWHERE,
            group["last-delivered-id"] if group else NOWHERE,
            pending["min"] if pending else None,
        )

    def _state(self) -> tuple[Mapping[str, Any] | None, bool, Cursor | None]:
        """The stream (None: there is none), whether it has Harvest's group, and the cursor, in one atomic step."""
        with self._client.pipeline(transaction=True) as pipe:
            pipe.xinfo_stream(self._source)
            pipe.xinfo_groups(self._source)
            pipe.hgetall(keys.CURSOR)
            stream, groups, cursor = pipe.execute(raise_on_error=False)
        moved = Cursor.of(checked(cursor))
        try:
            input_reply(stream, self._source)
        except InputGone:
            return None, False, moved
        return stream, any(group["name"] == keys.GROUP for group in groups), moved

    def _create(self, after_id: str, read: int | None) -> None:
        try:
            self._client.xgroup_create(self._source, keys.GROUP, id=after_id, mkstream=True, entries_read=read)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise


def input_reply(reply: Any, source: str) -> Any:
    """`reply`; raises it if it is an error: as `InputGone` or `InputUnusable` if the stream `source` is the cause."""
    try:
        return checked(reply)
    except ResponseError as error:
        # A pipeline puts the command before the server's message.
        message = str(error)
        if "NOGROUP" in message or "no such key" in message:
            raise InputGone(f"{source} or its group was destroyed") from error
        if "WRONGTYPE Operation" in message or message.endswith(f"WRONGTYPE {source}"):
            raise InputUnusable(f"{source} is not a stream: delete or rename that key") from error
        raise


def _existing(reply: Any) -> Any:
    """`reply`, or None if its stream or group does not exist yet. Raises any other error."""
    if isinstance(reply, ResponseError) and ("no such key" in str(reply) or str(reply).startswith("NOGROUP")):
        return None
    return checked(reply)


def _own_group(groups: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    return next(group for group in groups if group["name"] == keys.GROUP)


def _trimmed_count(stream: Mapping[str, Any] | None) -> int:
    """How many entries were trimmed before the group existed: it was never to read them."""
    return 0 if stream is None else stream["entries-added"] - stream["length"]
