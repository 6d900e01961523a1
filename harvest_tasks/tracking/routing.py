"""The way of input entries into the inboxes of their books: read by one watcher, moved in atomic batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import ResponseError

from harvest_tasks import keys, script
from harvest_tasks.connection import Client, unshaped
from harvest_tasks.door import admission
from harvest_tasks.door.refusal import RefusalReason
from harvest_tasks.settings import Settings
from harvest_tasks.tracking import wire
from harvest_tasks.tracking.deadletter import DeadLetter, raw
from kernel.entry import Freeze

DEADLETTER_MAXLEN: Final = 10_000
READ_BATCH: Final = 500
LOST_INPUT: Final = "lost_input"

RawEntry = tuple[str, Sequence[str]]
"""A stream id, and names and values in turn: a mapping would hide a name that is there twice."""


@dataclass(frozen=True, slots=True)
class Moved:
    """`count` entries left the group's pending list; the inboxes of `books` received something."""

    count: int
    books: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Deposed:
    """The lease is another watcher's."""


@dataclass(frozen=True, slots=True)
class Behind:
    """Older entries are pending: take over first."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How far the group has read its stream, as the server counts it: entries ever added, still there, and read."""

    added: int
    length: int
    read: int | None
    last_id: str
    is_at_the_end: bool

    def lost_since(self, before: "Reading", count: int) -> int:
        """Entries that were trimmed before the group read them, after a read of `count` entries since `before`.

        Servers count a read across a gap in two ways: some move the counter by the gap and the entries, which shows
        in the difference; some by the entries alone, which shows once the end is reached.
        """
        if self.read is None or before.read is None:
            return 0
        jumped = self.read - before.read - count
        behind = (self.added if self.is_at_the_end else self.added - self.length) - self.read
        return max(jumped, behind, 0)


class Route:
    """The input stream and its consumer group."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._unshaped = unshaped(client, "XREADGROUP", "XAUTOCLAIM")
        self._source = settings.stream_execution_result

    def ensure_group(self) -> None:
        """Create the group at the beginning of the stream, unless it exists.

        What was trimmed before the group existed was never its to read.
        """
        if self._client.exists(self._source):
            stream: Any = self._client.xinfo_stream(self._source)
            gone = stream["entries-added"] - stream["length"]
        else:
            gone = 0
        try:
            self._client.xgroup_create(self._source, keys.GROUP, id="0", mkstream=True, entries_read=gone)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def read(self, block_ms: int) -> tuple[list[RawEntry], Reading]:
        """The next unread entries, oldest first, and where the group stands then; none after `block_ms`."""
        with self._unshaped.pipeline(transaction=False) as pipe:
            # fmt: off
            pipe.execute_command(
                "XREADGROUP", "GROUP", keys.GROUP, keys.CONSUMER, "COUNT", READ_BATCH, "BLOCK", block_ms,
                "STREAMS", self._source, ">",
            )
            # fmt: on
            pipe.xinfo_stream(self._source)
            pipe.xinfo_groups(self._source)
            found, stream, groups = pipe.execute()
        return found[0][1] if found else [], self._standing(stream, groups)

    def claim(self) -> tuple[list[RawEntry], int]:
        """The oldest pending entries, whoever read them, and how many others were trimmed while pending."""
        _, entries, deleted = self._unshaped.execute_command(
            "XAUTOCLAIM", self._source, keys.GROUP, keys.CONSUMER, 0, "0-0", "COUNT", READ_BATCH
        )
        return entries, len(deleted)

    def reading(self) -> Reading:
        """Where the group stands."""
        with self._client.pipeline(transaction=False) as pipe:
            pipe.xinfo_stream(self._source)
            pipe.xinfo_groups(self._source)
            stream, groups = pipe.execute()
        return self._standing(stream, groups)

    def _standing(self, stream: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> Reading:
        # Entries that came between the two replies make the group seem behind by none: it reads only what we read.
        group = next((g for g in groups if g["name"] == keys.GROUP), None)
        if group is None:
            raise ResponseError(f"NOGROUP no group {keys.GROUP} on {self._source}")
        return Reading(
            stream["entries-added"],
            stream["length"],
            group["entries-read"],
            group["last-delivered-id"],
            group["last-delivered-id"] == stream["last-generated-id"],
        )

    def forgive(self, reading: Reading) -> None:
        """Count entries that were lost as read, once they have been reported."""
        read = reading.added if reading.is_at_the_end else max(reading.added - reading.length, reading.read or 0)
        self._client.xgroup_setid(self._source, keys.GROUP, reading.last_id, entries_read=read)

    def move(self, token: str, lease_ms: int, entries: Sequence[RawEntry]) -> Moved | Deposed | Behind:
        """Parse `entries` and move them, in one atomic step."""
        args: list[script.Value] = [
            token,
            lease_ms,
            keys.GROUP,
            keys.INBOX_PREFIX,
            DEADLETTER_MAXLEN,
            wire.pack(Freeze("", 0, LOST_INPUT)),
        ]
        for entry_id, flat in entries:
            args += _directions(entry_id, flat)
        key_names = [keys.LEASE, self._source, keys.DEADLETTER, keys.BOOKS, keys.WAITING, keys.COUNTS, keys.LOST]
        kind, *values = script.run(self._client, script.Call(script.load("route"), key_names, args))
        if kind == "deposed":
            return Deposed()
        if kind == "behind":
            return Behind()
        return Moved(int(values[0]), tuple(values[1:]))


def _directions(entry_id: str, flat: Sequence[str]) -> tuple[script.Value, ...]:
    """What route.lua is told of one entry."""
    match _admission(entry_id, flat):
        case admission.Routed(symbol, None, entry):
            return entry_id, "S", symbol, wire.pack(entry), "", "", "", ""
        case admission.Routed(_, str(book), entry):
            return entry_id, "B", book, wire.pack(entry), "", "", "", ""
        case admission.Refused(reason, detail, book):
            letter = DeadLetter.of(f"{reason}: {detail}", entry_id, raw(zip(flat[::2], flat[1::2], strict=True)))
            freeze = wire.pack(Freeze(entry_id, _arrival_ms(entry_id), f"refused_entry {entry_id}: {reason}"))
            return entry_id, "R", book or "", freeze, letter.reason, letter.sha256, letter.size, letter.head
        case _:
            return entry_id, "I", "", "", "", "", "", ""


def _admission(entry_id: str, flat: Sequence[str]) -> admission.Admission:
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    verdict = admission.admit(entry_id, fields)
    if len(fields) * 2 == len(flat):
        return verdict
    book = verdict.book if isinstance(verdict, admission.Routed | admission.Refused) else None
    return admission.Refused(RefusalReason.DUPLICATE_KEY, "a field is there twice", book)


def _arrival_ms(entry_id: str) -> int:
    return int(entry_id.partition("-")[0])
