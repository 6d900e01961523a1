"""The way of input entries into the inboxes of their books: read by one watcher, moved in atomic batches."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import ResponseError

from harvest_tasks.fills.directions import WRONG_TYPE, Directions, RawEntry, directions, of_broken_inbox, of_other_mode
from harvest_tasks.fills.group_position import NOWHERE, Cursor, Standing, is_continuation
from harvest_tasks.fills.ledger import Ledger, Work
from harvest_tasks.logs import Line
from harvest_tasks.server import keys, script
from harvest_tasks.server.client import Client, Command, Question, exchange, mapping
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire import inbox_entry
from harvest_tasks.wire.symbols import of_book
from kernel.positions.entry import Freeze

log = logging.getLogger(__name__)

DEADLETTER_MAXLEN: Final = 10_000
READ_BATCH: Final = 500
NOT_LOADING: Final[Sequence[script.Value]] = ("", 0, "", "", "", 0)
"""What route.lua is told in place of `Ledger.loading`."""
NOTHING_MORE: Final[Question[Any]] = Question((), lambda _: None)
LOST_INPUT: Final = "lost_input"
ADOPTING: Final = "adopting"


class InputGone(Exception):
    """The stream or its group was destroyed: begin again."""


class InputUnusable(Exception):
    """The input's key is not a stream."""


@dataclass(frozen=True, slots=True)
class Moved:
    """`count` entries left the group's pending list; the inboxes of `books` received something. `work` is what was
    loaded of them.
    """

    count: int
    books: tuple[str, ...]
    work: Work | None = None


@dataclass(frozen=True, slots=True)
class Deposed:
    """The lease is another watcher's."""


@dataclass(frozen=True, slots=True)
class Behind:
    """Older entries are pending: take over first."""


class Route:
    """The input stream and its consumer group."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._source = settings.stream_execution_result

    def ensure_group(
        self, first_start: Callable[[], None] = lambda: None, lost: Callable[[str], None] = lambda _: None
    ) -> None:
        """Create the group unless it exists, after `first_start()` if nothing was ever read, or after `lost(why)` if
        what was unread when it was destroyed cannot be known. Raises `InputUnusable`.
        """
        stream, has_group, cursor = self._found()
        if has_group:
            return
        if cursor is None:
            first_start()
            self._create(NOWHERE, _gone(stream))
        elif stream is not None and is_continuation(stream, cursor):
            self._create(cursor.moved_id, cursor.read)
        else:
            lost("the input stream was deleted")
            self._client.delete(keys.CURSOR)
            self._create(NOWHERE, _gone(stream))

    def read(self, after_id: str = NOWHERE, block_ms: int = 1) -> tuple[list[RawEntry], Standing]:
        """The next unread entries, oldest first, and where the group stood before: one atomic step, taken once there is
        an entry after `after_id`, or after `block_ms`.

        Raises `InputGone` or `InputUnusable`.
        """
        # XREADGROUP could wait by itself, but not in one step with the counters. The server goes on with what was
        # sent behind a command that blocks as soon as that ends, so waiting takes no round trip of its own.
        replies = exchange(
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
        stream, groups, cursor, found = self._asked(lambda: _executed(replies))
        standing = Standing.of(mapping(stream), _ours(map(mapping, groups)), Cursor.of(mapping(cursor)))
        return found[0][1] if found else [], standing

    def claim(self) -> tuple[list[RawEntry], int]:
        """The oldest pending entries, whoever read them, and how many others were trimmed while pending.

        Raises `InputGone` or `InputUnusable`.
        """
        command = "XAUTOCLAIM", self._source, keys.GROUP, keys.CONSUMER, 0, "0-0", "COUNT", READ_BATCH
        (reply,) = exchange(self._client, [command])
        _, entries, deleted = self._asked(lambda: _unless_error(reply))
        return entries, len(deleted)

    def recount(self, standing: Standing, entries: Sequence[RawEntry]) -> None:
        """Set the group's counter right after a read of `entries` that found it at `standing`."""
        if len(entries) < READ_BATCH:
            delivered_id, read = standing.newest_id, standing.added
        else:
            delivered_id, read = entries[-1][0], standing.added - standing.length + len(entries)
        with self._client.pipeline(transaction=True) as pipe:
            pipe.xgroup_setid(self._source, keys.GROUP, delivered_id, entries_read=read)
            if standing.deleted_id != NOWHERE:
                pipe.hset(keys.CURSOR, "deleted", standing.deleted_id)
            pipe.execute()

    def move(
        self,
        token: str,
        lease_ms: int,
        entries: Sequence[RawEntry],
        read: int | None = None,
        ledger: Ledger | None = None,
    ) -> Moved | Deposed | Behind:
        """Parse `entries` and move them, in one atomic step; `read` entries were ever read when the last of them was
        (None: not known). The same step loads their books for `ledger`. Raises `InputGone`.
        """
        told = {entry[0]: directions(entry) for entry in entries}
        raws = {entry[0]: entry for entry in entries}
        loading = ledger.loading() if ledger else NOT_LOADING
        moment = ledger.moment(_symbols(told)) if ledger else NOTHING_MORE
        while True:
            (kind, *values), *replies = self._tell(token, lease_ms, told, read, loading, moment.commands)
            match kind:
                case "deposed":
                    return Deposed()
                case "behind":
                    return Behind()
                case "mixed":
                    told |= {entry_id: of_other_mode(raws[entry_id], told[entry_id]) for entry_id in values}
                case "broken":
                    told |= {entry_id: of_broken_inbox(raws[entry_id], told[entry_id]) for entry_id in values}
                case _:
                    _tell_refused(told)
                    count, *rows = values
                    work = ledger.work([(book, row) for book, *row in rows], moment.answer(replies)) if ledger else None
                    return Moved(int(count), tuple(book for book, *_ in rows), work)

    def _tell(
        self,
        token: str,
        lease_ms: int,
        told: Mapping[str, Directions],
        read: int | None,
        loading: Sequence[script.Value] = NOT_LOADING,
        also: Sequence[Command] = (),
    ) -> list[Any]:
        """The reply of route.lua, and those to the commands `also`."""
        args: list[script.Value] = [
            token,
            lease_ms,
            keys.GROUP,
            keys.INBOX_PREFIX,
            DEADLETTER_MAXLEN,
            inbox_entry.pack(Freeze("", 0, LOST_INPUT)),
            inbox_entry.pack(Freeze("", 0, ADOPTING)),
            inbox_entry.pack(Freeze("", 0, WRONG_TYPE)),
            "" if read is None else read,
            *loading,
        ]
        for entry_id, of_entry in told.items():
            args += (entry_id, *of_entry)
        ours = (keys.DEADLETTER, keys.BOOKS, keys.WAITING, keys.COUNTS, keys.LOST, keys.ADOPTION, keys.CURSOR)
        names = (keys.LEASE, self._source, *ours, keys.BROKEN)
        moved, *others = script.run_all(self._client, [script.Call(script.load("route"), names, args)], also)
        return [self._asked(lambda: _unless_error(moved)), *others]

    def _found(self) -> tuple[Mapping[str, Any] | None, bool, Cursor | None]:
        """The stream (None: there is none), whether it has our group, and our cursor, all at one moment."""
        with self._client.pipeline(transaction=True) as pipe:
            pipe.xinfo_stream(self._source)
            pipe.xinfo_groups(self._source)
            pipe.hgetall(keys.CURSOR)
            stream, groups, cursor = pipe.execute(raise_on_error=False)
        moved = Cursor.of(_unless_error(cursor))
        try:
            self._asked(lambda: _unless_error(stream))
        except InputGone:
            return None, False, moved
        return stream, any(group["name"] == keys.GROUP for group in groups), moved

    def _create(self, after_id: str, read: int | None) -> None:
        try:
            self._client.xgroup_create(self._source, keys.GROUP, id=after_id, mkstream=True, entries_read=read)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def _asked(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except ResponseError as error:
            # A pipeline puts the command before what the server said.
            said = str(error)
            if "NOGROUP" in said or "no such key" in said:
                raise InputGone(f"{self._source} or its group was destroyed") from error
            if "WRONGTYPE Operation" in said or said.endswith(f"WRONGTYPE {self._source}"):
                raise InputUnusable(f"{self._source} is not a stream: delete or rename that key") from error
            raise


def _executed(replies: Sequence[Any]) -> list[Any]:
    """What EXEC, the last of `replies`, says of each command. Raises the first error."""
    *_, executed = [_unless_error(reply) for reply in replies]
    return [_unless_error(reply) for reply in executed]


def _tell_refused(told: Mapping[str, Directions]) -> None:
    for entry_id, (kind, target, _, reason, *_) in told.items():
        if kind in "RMW":
            log.warning(Line("deadletter", book=target, reason=reason, entry_id=entry_id))


def _symbols(told: Mapping[str, Directions]) -> set[str]:
    return {of_book(target) for _, target, *_ in told.values() if target}


def _ours(groups: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    return next(group for group in groups if group["name"] == keys.GROUP)


def _unless_error(reply: Any) -> Any:
    if isinstance(reply, Exception):
        raise reply
    return reply


def _gone(stream: Mapping[str, Any] | None) -> int:
    """What was trimmed before the group existed was never its to read."""
    return 0 if stream is None else stream["entries-added"] - stream["length"]
