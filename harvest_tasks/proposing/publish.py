"""Publishes proposals: one hash per book, and a stream if ENABLE_STREAM is set. Only `publish.lua` writes them."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import chain, islice
from typing import Final, NamedTuple, TypeVar

from harvest_tasks.proposing.record import utc
from harvest_tasks.server import script
from harvest_tasks.server.client import Client, checked
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire import symbols
from kernel.positions.quantities import plain

STREAM_MAXLEN: Final = 10_000
LIFETIMES: Final = 3
"""A proposal expires after this many times MAX_PUBLISH_AGE_SEC."""
BOOKS_PER_CALL: Final = 25
"""The server does nothing else during a call; this many take about a millisecond."""
CALLS_AT_ONCE: Final = 6
"""Calls that are sent together; the server works on them while the next ones are made."""

_T = TypeVar("_T")


class PublishReply(StrEnum):
    """What `publish.lua` did."""

    PUBLISHED = "published"
    UNCHANGED = "unchanged"
    REMOVED = "removed"
    ABSENT = "absent"
    WRONG_TYPE = "wrong_type"


_PUBLISH_REPLIES: Final = {reply.value: reply for reply in PublishReply}


class Publication(NamedTuple):
    """The proposal of `book`, as the `fields` of its hash. Without fields, the proposal is removed."""

    book: str
    fields: Mapping[str, str]


def removal(book: str) -> Publication:
    return Publication(book, {})


def publish(client: Client, settings: Settings, publications: Iterable[Publication], now: float) -> list[PublishReply]:
    """Publish the proposals. Returns what became of each, in order. `now` is in unix seconds.

    Calls are sent as they are made; their replies are read at the end. Raises the first error, after the rest is
    published.
    """
    calls = (_call(settings, books, now) for books in _portions(publications, BOOKS_PER_CALL))
    replies = script.run_batches(client, _portions(calls, CALLS_AT_ONCE))
    return [_PUBLISH_REPLIES[checked(reply)] for done in replies for reply in checked(done)]


def _portions(whole: Iterable[_T], size: int) -> Iterator[list[_T]]:
    rest = iter(whole)
    while portion := list(islice(rest, size)):
        yield portion


def _call(settings: Settings, publications: Sequence[Publication], now: float) -> script.Call:
    hashes = [settings.harvest_prefix + publication.book for publication in publications]
    return script.Call(
        script.load("publish"),
        [*hashes, settings.stream_name] if settings.enable_stream else hashes,
        [
            int(now),
            utc(now - settings.max_publish_age_sec),
            plain(settings.change_eps_pct),
            int(LIFETIMES * 1000 * settings.max_publish_age_sec),
            STREAM_MAXLEN,
            json.dumps([_row(publication) for publication in publications]),
        ],
    )


def _row(publication: Publication) -> list[str]:
    return [symbols.symbol_of(publication.book), *chain.from_iterable(publication.fields.items())]
