"""The dead-letter stream: its messages listed, and their entries put into the input stream again.

A refused entry was never applied, so adding it once more under a new id applies it once. The same atomic step deletes
its dead-letter messages, so no second retry can find them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from redis.exceptions import WatchError

from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.server.streams import newest_first, time_ms
from harvest_tasks.wire import execution_result
from harvest_tasks.wire.dead_letter import DeadLetter, raw_text
from harvest_tasks.wire.payload import is_absent
from kernel.positions.position import EntryId, parse_id

_ATTEMPTS: Final = 10
RETRY_OF: Final = "retry_of"
"""Field of a re-added entry: the id of the original, which stays in the stream."""
_NEVER: Final = {
    "trade_id_reused": "its trade id belongs to another fill, which was applied",
    "unreadable_inbox_entry": "it was never an entry of the input stream",
}
"""Reasons given after an entry was parsed, and why a retry cannot help."""

_Fields = Mapping[str, str]


class StreamBusy(Exception):
    """Dead-letter messages arrive faster than they can be retried."""


@dataclass(frozen=True, slots=True)
class DeadLetterMessage:
    """`time_ms` is when it was written (unix ms); `source_id` is the refused entry's id in the input stream, empty
    where the refused bytes were never an entry of it; `size` is in bytes.
    """

    letter_id: str
    time_ms: int
    reason: str
    source_id: str
    sha256: str
    size: int
    head: str


@dataclass(frozen=True, slots=True)
class Retried:
    """The entry is in the input stream again as `entry_id`; `book` is None if it is for every book of its symbol."""

    letter_id: str
    entry_id: str
    book: str | None


@dataclass(frozen=True, slots=True)
class Kept:
    """The message stays in the dead-letter stream; `why` says why."""

    letter_id: str
    why: str


@dataclass(frozen=True, slots=True)
class NotFound:
    """There is no such message, or its entry was retried before."""

    letter_id: str


@dataclass(frozen=True, slots=True)
class _Retry:
    fields: dict[Any, Any]  # redis-py's type for an entry is invariant
    book: str | None


RetryResult = Retried | Kept | NotFound


def newest_dead_letters(client: Client) -> list[DeadLetterMessage]:
    """All messages in the dead-letter stream, newest first."""
    return [_message(message_id, values) for message_id, values in newest_first(client, keys.DEADLETTER)]


def retry_dead_letters(client: Client, source: str, letter_ids: Sequence[str] | None) -> list[RetryResult]:
    """Add the entries of these dead-letter messages (None: all) to the input stream `source`, oldest entry first.

    Raises `StreamBusy`, with nothing retried.
    """
    for _ in range(_ATTEMPTS):
        try:
            return _attempt(client, source, letter_ids)
        except WatchError:
            continue
    raise StreamBusy(f"{keys.DEADLETTER} keeps changing, so nothing was retried")


def _message(message_id: str, values: Mapping[str, str]) -> DeadLetterMessage:
    size = values.get("size", "")
    return DeadLetterMessage(
        letter_id=message_id,
        time_ms=time_ms(message_id),
        reason=values.get("reason", ""),
        source_id=values.get("source_id", ""),
        sha256=values.get("sha256", ""),
        size=int(size) if size.isdecimal() else 0,
        head=values.get("head", ""),
    )


def _attempt(client: Client, source: str, letter_ids: Sequence[str] | None) -> list[RetryResult]:
    with client.pipeline(transaction=True) as pipe:
        pipe.watch(keys.DEADLETTER)
        groups = _by_entry(newest_dead_letters(client), letter_ids)
        originals = _originals(client, source, [group[0].source_id for group in groups])
        verdicts = [_verdict(group[0], originals.get(group[0].source_id)) for group in groups]
        pipe.multi()
        for group, verdict in zip(groups, verdicts, strict=True):
            if isinstance(verdict, _Retry):
                # No MAXLEN: the stream belongs to those who write fills, and trimming it could lose some.
                pipe.xadd(source, verdict.fields)
                pipe.xdel(keys.DEADLETTER, *(message.letter_id for message in group))
        entry_ids = iter(pipe.execute()[::2])
    results: list[RetryResult] = [
        _result(message, verdict, next(entry_ids) if isinstance(verdict, _Retry) else "")
        for (message, *_), verdict in zip(groups, verdicts, strict=True)
    ]
    found = {message.letter_id for group in groups for message in group}
    return results + [NotFound(letter_id) for letter_id in letter_ids or () if letter_id not in found]


def _result(message: DeadLetterMessage, verdict: _Retry | str, entry_id: str) -> Retried | Kept:
    if isinstance(verdict, str):
        return Kept(message.letter_id, verdict)
    return Retried(message.letter_id, entry_id, verdict.book)


def _by_entry(messages: Sequence[DeadLetterMessage], letter_ids: Sequence[str] | None) -> list[list[DeadLetterMessage]]:
    """Messages grouped by their entry, in the order of the entries; only the groups with one of `letter_ids`.

    An entry has several messages where the input stream was read again from its beginning.
    """
    groups = [list(group) for _, group in groupby(sorted(messages, key=_entry), _entry)]
    return [group for group in groups if letter_ids is None or any(one.letter_id in letter_ids for one in group)]


def _entry(message: DeadLetterMessage) -> tuple[EntryId, str, str]:
    alone = "" if message.source_id else message.letter_id
    return parse_id(message.source_id), message.sha256, alone


def _originals(client: Client, source: str, source_ids: Sequence[str]) -> dict[str, _Fields]:
    """The original entries that are still in the input stream, by id."""
    with client.pipeline(transaction=False) as pipe:
        for source_id in filter(None, source_ids):
            pipe.xrange(source, min=source_id, max=source_id)
        replies: list[Any] = pipe.execute()
    return {entry_id: fields for reply in replies for entry_id, fields in reply}


def _verdict(message: DeadLetterMessage, original: _Fields | None) -> _Retry | str:
    """The entry to add for `message`, or why none."""
    if message.reason in _NEVER:
        return _NEVER[message.reason]
    if original is None:
        return f"its entry {message.source_id} is no longer in the input stream"
    if DeadLetter.of("", "", raw_text(original.items())).sha256 != message.sha256:
        return f"entry {message.source_id} of the input stream has changed"
    verdict = execution_result.parse(message.source_id, original)
    if not isinstance(verdict, execution_result.Routed):
        return _refusal(verdict)
    again = _again(message.source_id, original, verdict.entry.time_ms)
    same = execution_result.parse(message.source_id, again) == verdict
    return _Retry(again, verdict.book) if same else f"with the field {RETRY_OF} it would exceed the limits of an entry"


def _refusal(verdict: execution_result.Refused | execution_result.Ignored) -> str:
    if isinstance(verdict, execution_result.Ignored):
        return f"it would be ignored: {verdict.reason}"
    return f"still refused: {verdict.reason}: {verdict.detail}"


def _again(source_id: str, original: _Fields, event_ms: int) -> dict[str, str]:
    """The entry to add, with the time of the original: else an old price would pass for a fresh one."""
    stated = {}
    if event_ms == time_ms(source_id) and is_absent(original.get("timestamp")):
        stated = {"ts": str(event_ms)}
    return {**original, **stated, RETRY_OF: source_id}
