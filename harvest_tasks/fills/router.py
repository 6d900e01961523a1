"""The router: parses input entries and moves them, in one atomic batch, into the inboxes of their books."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harvest_tasks.fills.ledger import Ledger, LoadedBatch
from harvest_tasks.fills.stream import RawEntry, input_reply
from harvest_tasks.logs import Line
from harvest_tasks.server import keys, script
from harvest_tasks.server.client import Client, Command, PipelinedRead
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire import execution_result, inbox_entry
from harvest_tasks.wire.dead_letter import DEADLETTER_MAXLEN, DeadLetter, raw_text
from harvest_tasks.wire.inbox_entry import ADOPTING, LOST_INPUT
from harvest_tasks.wire.refusal import RefusalReason
from harvest_tasks.wire.symbols import symbol_of
from kernel.positions.entry import Fill, Freeze, Funding, OrderEnded

log = logging.getLogger(__name__)

LOAD_NO_BOOKS: Final[Sequence[script.Value]] = ("", 0, "", "", "", 0)
"""What route.lua receives in place of `Ledger.load_arguments` so that it loads no book."""
READ_NOTHING: Final[PipelinedRead[Any]] = PipelinedRead((), lambda _: None)

POSITION_MODE: Final = "position_mode"
WRONG_TYPE: Final = "inbox_wrong_type"

DeadLetterFields = tuple[str, str, int, str]
"""A dead-letter message's reason, sha256, size and head."""
RouteInstruction = tuple[str, str, str, str, str, int | str, str]
"""What route.lua does with an entry: kind, target, packed entry, then `DeadLetterFields` if it is refused."""

_KINDS: Final[Mapping[type, str]] = {Fill: "B", Funding: "K", OrderEnded: "O"}
"""The kind of instruction for an entry that is for one book."""


@dataclass(frozen=True, slots=True)
class Moved:
    """`count` entries left the group's pending list, and the inboxes of `books` received entries. `batch` holds these
    books if they were loaded.
    """

    count: int
    books: tuple[str, ...]
    batch: LoadedBatch | None = None


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """The lease is another watcher's."""


@dataclass(frozen=True, slots=True)
class OlderPending:
    """Older entries are pending: claim them first."""


class Router:
    """Moves entries from the input stream to inboxes."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._source = settings.stream_execution_result

    def move(
        self,
        token: str,
        lease_ms: int,
        entries: Sequence[RawEntry],
        read: int | None = None,
        ledger: Ledger | None = None,
    ) -> Moved | LeaseLost | OlderPending:
        """Parse `entries` and move them, in one atomic step, which also loads their books for `ledger`.

        `read` is how many entries were ever read, up to the last of these (None: not known). Raises `InputGone`.
        """
        instructions = {entry[0]: instruction(entry) for entry in entries}
        raws = {entry[0]: entry for entry in entries}
        loading = ledger.load_arguments() if ledger else LOAD_NO_BOOKS
        guard_state = ledger.guard_state(_symbols(instructions)) if ledger else READ_NOTHING
        while True:
            (kind, *values), *replies = self._run(token, lease_ms, instructions, read, loading, guard_state.commands)
            match kind:
                case "lease_lost":
                    return LeaseLost()
                case "older_pending":
                    return OlderPending()
                case "mixed":
                    instructions |= {i: instruction_in_other_mode(raws[i], instructions[i]) for i in values}
                case "broken":
                    instructions |= {i: instruction_for_broken_inbox(raws[i], instructions[i]) for i in values}
                case _:
                    _log_refused(instructions)
                    count, *rows = values
                    batch = None
                    if ledger:
                        batch = ledger.parse_batch([(book, row) for book, *row in rows], guard_state.parse(replies))
                    return Moved(int(count), tuple(book for book, *_ in rows), batch)

    def _run(
        self,
        token: str,
        lease_ms: int,
        instructions: Mapping[str, RouteInstruction],
        read: int | None,
        loading: Sequence[script.Value] = LOAD_NO_BOOKS,
        commands: Sequence[Command] = (),
    ) -> list[Any]:
        """The reply of route.lua, then those to `commands`."""
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
        for entry_id, of_entry in instructions.items():
            args += (entry_id, *of_entry)
        fixed = (keys.DEADLETTER, keys.BOOKS, keys.WAITING, keys.COUNTS, keys.LOST, keys.ADOPTION, keys.CURSOR)
        names = (keys.LEASE, self._source, *fixed, keys.BROKEN)
        moved, *others = script.run_all(self._client, [script.Call(script.load("route"), names, args)], commands)
        return [input_reply(moved, self._source), *others]


def instruction(entry: RawEntry) -> RouteInstruction:
    """Where `entry` goes by itself, before route.lua compares it with the known books."""
    match _parsed(entry):
        case execution_result.Routed(symbol, book, parsed):
            kind, target = ("S", symbol) if book is None else (_KINDS[type(parsed)], book)
            return kind, target, inbox_entry.pack(parsed), "", "", "", ""
        case execution_result.Refused(reason, detail, book, symbol):
            kind, target = ("R", book or "") if symbol is None else ("M", symbol)
            return kind, target, _freeze(entry, reason), *_dead_letter(entry, reason, detail)
        case _:
            return "I", "", "", "", "", "", ""


def instruction_in_other_mode(entry: RawEntry, first: RouteInstruction) -> RouteInstruction:
    """What replaces the `first` instruction when the symbol of `entry` is tracked in the other position mode."""
    kind, book, *_ = first
    symbol = symbol_of(book)
    if kind == "R":
        return "M", symbol, *first[2:]
    tracked = "one-way" if book != symbol else "hedge"
    refusal = _dead_letter(entry, POSITION_MODE, f"{symbol} is tracked in {tracked} mode, the entry is for {book}")
    # Funding for the wrong book goes uncounted, but the position itself stays right.
    return ("M", symbol, _freeze(entry, POSITION_MODE), *refusal) if kind == "B" else ("R", "", "", *refusal)


def instruction_for_broken_inbox(entry: RawEntry, first: RouteInstruction) -> RouteInstruction:
    """What replaces the `first` instruction when the inbox of the book of `entry` is not a stream."""
    _, book, *_ = first
    freeze = _freeze(entry, WRONG_TYPE)
    return "W", book, freeze, *_dead_letter(entry, WRONG_TYPE, f"the inbox of {book} is another type of key: delete it")


def _parsed(entry: RawEntry) -> execution_result.Parsed:
    entry_id, flat = entry
    fields = dict(_pairs(flat))
    parsed = execution_result.parse(entry_id, fields)
    if len(fields) * 2 == len(flat):
        return parsed
    # What the last values make no fill may have been one by the first.
    other = execution_result.parse(entry_id, dict(reversed([*_pairs(flat)])))
    return _refused_as_repeated(other if isinstance(parsed, execution_result.Ignored) else parsed)


def _refused_as_repeated(parsed: execution_result.Parsed) -> execution_result.Refused:
    """The refusal of an entry that has a field twice, and that read with one value of each is `parsed`."""
    book = parsed.book if isinstance(parsed, execution_result.Routed | execution_result.Refused) else None
    symbol = parsed.symbol if isinstance(parsed, execution_result.Refused) else None
    return execution_result.Refused(RefusalReason.DUPLICATE_KEY, "the entry has a field twice", book, symbol)


def _freeze(entry: RawEntry, reason: str) -> str:
    """A packed freeze: the book may be wrong from `entry` on."""
    entry_id, _ = entry
    return inbox_entry.pack(Freeze(entry_id, int(entry_id.partition("-")[0]), f"refused_entry {entry_id}: {reason}"))


def _dead_letter(entry: RawEntry, reason: str, detail: str) -> DeadLetterFields:
    entry_id, flat = entry
    message = DeadLetter.of(f"{reason}: {detail}", entry_id, raw_text(_pairs(flat)))
    return message.reason, message.sha256, message.size, message.head


def _log_refused(instructions: Mapping[str, RouteInstruction]) -> None:
    for entry_id, (kind, target, _, reason, *_) in instructions.items():
        if kind in "RMW":
            log.warning(Line("deadletter", book=target, reason=reason, entry_id=entry_id))


def _symbols(instructions: Mapping[str, RouteInstruction]) -> set[str]:
    return {symbol_of(target) for _, target, *_ in instructions.values() if target}


def _pairs(flat: Sequence[str]) -> "zip[tuple[str, str]]":
    each = iter(flat)
    return zip(each, each, strict=True)
