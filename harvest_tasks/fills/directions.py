"""What route.lua is told of each input entry: where it goes, in which form, and the letter if it is refused. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from harvest_tasks.wire import execution_result, inbox_entry
from harvest_tasks.wire.dead_letter import DeadLetter, raw
from harvest_tasks.wire.refusal import RefusalReason
from harvest_tasks.wire.symbols import of_book
from kernel.positions.entry import Fill, Freeze, Funding, OrderEnded

POSITION_MODE: Final = "position_mode"
WRONG_TYPE: Final = "inbox_wrong_type"

RawEntry = tuple[str, Sequence[str]]
"""A stream id, and names and values in turn: a mapping would hide a name that is there twice."""
Letter = tuple[str, str, int, str]
"""A dead letter's reason, sha256, size and head."""
Directions = tuple[str, str, str, str, str, int | str, str]
"""What route.lua is told of an entry after its id: kind, target, packed, reason, sha256, size, head."""

_KINDS: Final[Mapping[type, str]] = {Fill: "B", Funding: "K", OrderEnded: "O"}
"""Of an entry for one book."""


def directions(entry: RawEntry) -> Directions:
    """What route.lua is told of `entry` at first."""
    match _admission(entry):
        case execution_result.Routed(symbol, book, told):
            kind, target = ("S", symbol) if book is None else (_KINDS[type(told)], book)
            return kind, target, inbox_entry.pack(told), "", "", "", ""
        case execution_result.Refused(reason, detail, book):
            return "R", book or "", _freeze(entry, reason), *_letter(entry, reason, detail)
        case _:
            return "I", "", "", "", "", "", ""


def of_other_mode(entry: RawEntry, told: Directions) -> Directions:
    """What it is told once it says that the symbol of `entry` is tracked in the other mode."""
    kind, book, *_ = told
    symbol = of_book(book)
    if kind == "R":
        return "M", symbol, *told[2:]
    tracked = "one-way" if book != symbol else "hedge"
    letter = _letter(entry, POSITION_MODE, f"{symbol} is tracked in {tracked} mode, the entry is for {book}")
    # Funding of the wrong book is money lost from view, but the position is as right as it was.
    return ("M", symbol, _freeze(entry, POSITION_MODE), *letter) if kind == "B" else ("R", "", "", *letter)


def of_broken_inbox(entry: RawEntry, told: Directions) -> Directions:
    """What it is told once it says that the inbox of the book that `entry` is for is no stream."""
    _, book, *_ = told
    freeze = _freeze(entry, WRONG_TYPE)
    return "W", book, freeze, *_letter(entry, WRONG_TYPE, f"the inbox of {book} is another type of key: delete it")


def _admission(entry: RawEntry) -> execution_result.Admission:
    entry_id, flat = entry
    fields = dict(_pairs(flat))
    verdict = execution_result.admit(entry_id, fields)
    if len(fields) * 2 == len(flat):
        return verdict
    book = verdict.book if isinstance(verdict, execution_result.Routed | execution_result.Refused) else None
    return execution_result.Refused(RefusalReason.DUPLICATE_KEY, "a field is there twice", book)


def _freeze(entry: RawEntry, reason: str) -> str:
    """Packed: the book may be wrong from `entry` on."""
    entry_id, _ = entry
    return inbox_entry.pack(Freeze(entry_id, int(entry_id.partition("-")[0]), f"refused_entry {entry_id}: {reason}"))


def _letter(entry: RawEntry, reason: str, detail: str) -> Letter:
    entry_id, flat = entry
    letter = DeadLetter.of(f"{reason}: {detail}", entry_id, raw(_pairs(flat)))
    return letter.reason, letter.sha256, letter.size, letter.head


def _pairs(flat: Sequence[str]) -> "zip[tuple[str, str]]":
    each = iter(flat)
    return zip(each, each, strict=True)
