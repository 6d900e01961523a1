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
from harvest_tasks.symbols import of_book
from harvest_tasks.tracking import wire
from harvest_tasks.tracking.deadletter import DeadLetter, raw
from kernel.entry import Fill, Freeze, Funding, Outcome
from kernel.position import parse_id

DEADLETTER_MAXLEN: Final = 10_000
READ_BATCH: Final = 500
LOST_INPUT: Final = "lost_input"
ADOPTING: Final = "adopting"
POSITION_MODE: Final = "position_mode"

RawEntry = tuple[str, Sequence[str]]
"""A stream id, and names and values in turn: a mapping would hide a name that is there twice."""

Refusal = tuple[str, str, str, int, str]
"""Packed freeze, and a dead letter's reason, sha256, size and head."""
Directions = tuple[str, str, str, str, str, int | str, str]
"""What route.lua is told of an entry after its id: kind, target, packed, reason, sha256, size, head."""


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
class Standing:
    """Where the group stood in its stream, as the server counts it, at the moment of a read.

    `added` counts entries ever added, `length` those still there, `read` those delivered (None: the server cannot say).
    """

    added: int
    length: int
    read: int | None
    first_id: str | None
    delivered_id: str
    newest_id: str

    @property
    def is_at_the_end(self) -> bool:
        return self.delivered_id == self.newest_id

    @property
    def lost(self) -> int:
        """Entries that were trimmed before the group read them; the oldest are trimmed first.

        While an entry that was delivered is still there, or all were delivered, none can be lost. Only else is the
        server's counter asked: Redis 7.0 forgets it when it reloads its log.
        """
        if self.is_at_the_end or self.read is None:
            return 0
        if self.first_id is not None and parse_id(self.first_id) <= parse_id(self.delivered_id):
            return 0
        return max(0, self.added - self.length - self.read)

    @property
    def is_miscounted(self) -> bool:
        return self.lost > 0 or (self.is_at_the_end and self.read != self.added)


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

    def wait(self, delivered_id: str, block_ms: int) -> None:
        """Until there is an entry after `delivered_id`, or `block_ms` have passed."""
        self._client.xread({self._source: delivered_id}, count=1, block=block_ms)

    def read(self) -> tuple[list[RawEntry], Standing]:
        """The next unread entries, oldest first, and where the group stood before: one atomic step."""
        with self._unshaped.pipeline(transaction=True) as pipe:
            pipe.xinfo_stream(self._source)
            pipe.xinfo_groups(self._source)
            # fmt: off
            pipe.execute_command(
                "XREADGROUP", "GROUP", keys.GROUP, keys.CONSUMER, "COUNT", READ_BATCH, "STREAMS", self._source, ">"
            )
            # fmt: on
            stream, groups, found = pipe.execute()
        return found[0][1] if found else [], _standing(stream, groups)

    def claim(self) -> tuple[list[RawEntry], int]:
        """The oldest pending entries, whoever read them, and how many others were trimmed while pending."""
        _, entries, deleted = self._unshaped.execute_command(
            "XAUTOCLAIM", self._source, keys.GROUP, keys.CONSUMER, 0, "0-0", "COUNT", READ_BATCH
        )
        return entries, len(deleted)

    def recount(self, standing: Standing, entries: Sequence[RawEntry]) -> None:
        """Set the group's counter right after a read of `entries` that found it at `standing`."""
        read = standing.added if standing.is_at_the_end else standing.added - standing.length + len(entries)
        delivered_id = entries[-1][0] if entries else standing.delivered_id
        self._client.xgroup_setid(self._source, keys.GROUP, delivered_id, entries_read=read)

    def move(self, token: str, lease_ms: int, entries: Sequence[RawEntry]) -> Moved | Deposed | Behind:
        """Parse `entries` and move them, in one atomic step."""
        directions = {entry_id: _directions(entry_id, flat) for entry_id, flat in entries}
        raws = dict(entries)
        while True:
            kind, *values = self._call(token, lease_ms, directions)
            if kind == "deposed":
                return Deposed()
            if kind == "behind":
                return Behind()
            if kind == "routed":
                return Moved(int(values[0]), tuple(values[1:]))
            for entry_id in values:
                directions[entry_id] = _other_mode(entry_id, raws[entry_id], directions[entry_id])

    def _call(self, token: str, lease_ms: int, directions: Mapping[str, Directions]) -> Any:
        args: list[script.Value] = [
            token,
            lease_ms,
            keys.GROUP,
            keys.INBOX_PREFIX,
            DEADLETTER_MAXLEN,
            wire.pack(Freeze("", 0, LOST_INPUT)),
            wire.pack(Freeze("", 0, ADOPTING)),
        ]
        for entry_id, told in directions.items():
            args += (entry_id, *told)
        names = (keys.LEASE, self._source, keys.DEADLETTER, keys.BOOKS, keys.WAITING, keys.COUNTS, keys.LOST)
        return script.run(self._client, script.Call(script.load("route"), (*names, keys.ADOPTION), args))


def _standing(stream: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> Standing:
    group = next(g for g in groups if g["name"] == keys.GROUP)
    first = stream["first-entry"]
    return Standing(
        added=stream["entries-added"],
        length=stream["length"],
        read=group["entries-read"],
        first_id=first[0] if first else None,
        delivered_id=group["last-delivered-id"],
        newest_id=stream["last-generated-id"],
    )


def _directions(entry_id: str, flat: Sequence[str]) -> Directions:
    """What route.lua is told of one entry."""
    match _admission(entry_id, flat):
        case admission.Routed(symbol, None, entry):
            return "S", symbol, wire.pack(entry), "", "", "", ""
        case admission.Routed(_, str(book), entry):
            return _KINDS[type(entry)], book, wire.pack(entry), "", "", "", ""
        case admission.Refused(reason, detail, book):
            return "R", book or "", *_refusal(entry_id, flat, reason, detail)
        case _:
            return "I", "", "", "", "", "", ""


def _other_mode(entry_id: str, flat: Sequence[str], told: Directions) -> Directions:
    """What it is told instead of an entry whose symbol is tracked in the other mode."""
    kind, book, *_ = told
    symbol = of_book(book)
    if kind == "R":
        return "M", symbol, *told[2:]
    tracked = "one-way" if book != symbol else "hedge"
    refusal = _refusal(entry_id, flat, POSITION_MODE, f"{symbol} is tracked in {tracked} mode, the entry is for {book}")
    # Funding of the wrong book is money lost from view, but the position is as right as it was.
    return ("M", symbol, *refusal) if kind == "B" else ("R", "", *refusal)


def _refusal(entry_id: str, flat: Sequence[str], reason: str, detail: str) -> Refusal:
    """The freeze of whatever the refused entry was for, and the letter about it."""
    letter = DeadLetter.of(f"{reason}: {detail}", entry_id, raw(zip(flat[::2], flat[1::2], strict=True)))
    freeze = Freeze(entry_id, _arrival_ms(entry_id), f"refused_entry {entry_id}: {reason}")
    return wire.pack(freeze), letter.reason, letter.sha256, letter.size, letter.head


_KINDS: Final[Mapping[type, str]] = {Fill: "B", Funding: "K", Outcome: "O"}
"""How route.lua is told of an entry for one book."""


def _admission(entry_id: str, flat: Sequence[str]) -> admission.Admission:
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    verdict = admission.admit(entry_id, fields)
    if len(fields) * 2 == len(flat):
        return verdict
    book = verdict.book if isinstance(verdict, admission.Routed | admission.Refused) else None
    return admission.Refused(RefusalReason.DUPLICATE_KEY, "a field is there twice", book)


def _arrival_ms(entry_id: str) -> int:
    return int(entry_id.partition("-")[0])
