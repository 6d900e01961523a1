"""Dead letters taken back, once the door admits what it refused.

A refused entry was never applied, so adding it once more under a new id applies it once. Its letters go in the same
atomic step: no second retry can find them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from redis.exceptions import WatchError

from harvest_tasks.operations.letters import Letter, newest
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.server.streams import time_ms
from harvest_tasks.wire import execution_result
from harvest_tasks.wire.dead_letter import DeadLetter, raw
from harvest_tasks.wire.payload import is_absent
from kernel.positions.position import EntryId, parse_id

ATTEMPTS: Final = 10
RETRY_OF: Final = "retry_of"
"""Field of a re-added entry: the id of the original, which stays in the stream."""
NEVER: Final = {
    "trade_id_reused": "its trade id belongs to another fill, which was applied",
    "unreadable_inbox_entry": "it never was an entry of the input stream",
}
"""Why what was refused behind the door, for these reasons, cannot come in by it."""

Fields = Mapping[str, str]


class Busy(Exception):
    """Letters arrive faster than they can be taken back."""


@dataclass(frozen=True, slots=True)
class Retried:
    """The entry is in the input stream again as `entry_id`; `book` is None if it is for every book of its symbol."""

    letter_id: str
    entry_id: str
    book: str | None


@dataclass(frozen=True, slots=True)
class Kept:
    """The letter stays where it is, and why."""

    letter_id: str
    why: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """There is no such letter, or it was retried."""

    letter_id: str


@dataclass(frozen=True, slots=True)
class _Readmitted:
    fields: dict[Any, Any]  # redis-py's type for an entry is invariant
    book: str | None


Result = Retried | Kept | Unknown


def retry(client: Client, source: str, letter_ids: Sequence[str] | None) -> list[Result]:
    """Take back the letters named, or all of them, oldest entry first; `source` is the input stream. Raises `Busy`."""
    for _ in range(ATTEMPTS):
        try:
            return _attempt(client, source, letter_ids)
        except WatchError:
            continue
    raise Busy(f"{keys.DEADLETTER} keeps changing, so nothing was retried")


def _attempt(client: Client, source: str, letter_ids: Sequence[str] | None) -> list[Result]:
    with client.pipeline(transaction=True) as pipe:
        pipe.watch(keys.DEADLETTER)
        groups = _by_entry(newest(client), letter_ids)
        originals = _originals(client, source, [group[0].source_id for group in groups])
        verdicts = [_verdict(group[0], originals.get(group[0].source_id)) for group in groups]
        pipe.multi()
        for group, verdict in zip(groups, verdicts, strict=True):
            if isinstance(verdict, _Readmitted):
                # No MAXLEN: the stream belongs to those who write fills, and trimming it could lose some.
                pipe.xadd(source, verdict.fields)
                pipe.xdel(keys.DEADLETTER, *(letter.letter_id for letter in group))
        entry_ids = iter(pipe.execute()[::2])
    results: list[Result] = [
        _result(letter, verdict, next(entry_ids) if isinstance(verdict, _Readmitted) else "")
        for (letter, *_), verdict in zip(groups, verdicts, strict=True)
    ]
    found = {letter.letter_id for group in groups for letter in group}
    return results + [Unknown(letter_id) for letter_id in letter_ids or () if letter_id not in found]


def _result(letter: Letter, verdict: _Readmitted | str, entry_id: str) -> Retried | Kept:
    if isinstance(verdict, str):
        return Kept(letter.letter_id, verdict)
    return Retried(letter.letter_id, entry_id, verdict.book)


def _by_entry(letters: Sequence[Letter], letter_ids: Sequence[str] | None) -> list[list[Letter]]:
    """The letters, grouped by the entry they are about, which was refused again each time the stream was read anew;
    the groups of those named, in the order of their entries.
    """
    groups = [list(group) for _, group in groupby(sorted(letters, key=_entry), _entry)]
    return [group for group in groups if letter_ids is None or any(one.letter_id in letter_ids for one in group)]


def _entry(letter: Letter) -> tuple[EntryId, str, str]:
    alone = "" if letter.source_id else letter.letter_id
    return parse_id(letter.source_id), letter.sha256, alone


def _originals(client: Client, source: str, source_ids: Sequence[str]) -> dict[str, Fields]:
    """The original entries that are still there, by id."""
    with client.pipeline(transaction=False) as pipe:
        for source_id in filter(None, source_ids):
            pipe.xrange(source, min=source_id, max=source_id)
        replies: list[Any] = pipe.execute()
    return {entry_id: fields for reply in replies for entry_id, fields in reply}


def _verdict(letter: Letter, original: Fields | None) -> _Readmitted | str:
    """What to add for `letter`, or why nothing."""
    if letter.reason in NEVER:
        return NEVER[letter.reason]
    if original is None:
        return f"its entry {letter.source_id} is no longer in the input stream"
    if DeadLetter.of("", "", raw(original.items())).sha256 != letter.sha256:
        return f"entry {letter.source_id} of the input stream is another one"
    verdict = execution_result.admit(letter.source_id, original)
    if not isinstance(verdict, execution_result.Routed):
        return _refusal(verdict)
    again = _again(letter.source_id, original, verdict.entry.time_ms)
    readmission = execution_result.admit(letter.source_id, again)
    return _Readmitted(again, verdict.book) if readmission == verdict else f"with {RETRY_OF} it would not fit"


def _refusal(verdict: execution_result.Refused | execution_result.Ignored) -> str:
    if isinstance(verdict, execution_result.Ignored):
        return f"it would be ignored: {verdict.reason}"
    return f"still refused: {verdict.reason}: {verdict.detail}"


def _again(source_id: str, original: Fields, event_ms: int) -> dict[str, str]:
    """The entry to add: at the time of the original, else an old price would pass for a fresh one."""
    stated = {}
    if event_ms == time_ms(source_id) and is_absent(original.get("timestamp")):
        stated = {"ts": str(event_ms)}
    return {**original, **stated, RETRY_OF: source_id}
