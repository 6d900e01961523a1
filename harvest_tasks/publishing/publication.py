"""Published proposals: one hash per book, and a stream when one is wanted. Written by `publish.lua` alone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import Any, Final

from harvest_tasks import script, symbols
from harvest_tasks.connection import Client
from harvest_tasks.publishing.proposal_record import utc
from harvest_tasks.settings import Settings
from kernel.quantities import plain

STREAM_MAXLEN: Final = 10_000
LIFETIMES: Final = 3
"""A proposal outlives this many maximum publish ages, then it goes by itself."""
BOOKS_PER_CALL: Final = 25
"""The server does nothing else during a call: so many take it about a millisecond."""


class Reply(StrEnum):
    """What `publish.lua` did."""

    PUBLISHED = "published"
    UNCHANGED = "unchanged"
    REMOVED = "removed"
    ABSENT = "absent"
    WRONG_TYPE = "wrong_type"


@dataclass(frozen=True, slots=True)
class Publication:
    """The proposal of `book`; without fields the book has none any more."""

    book: str
    fields: Mapping[str, str]


def removal(book: str) -> Publication:
    return Publication(book, {})


def publish(client: Client, settings: Settings, publications: Sequence[Publication], now: float) -> list[Reply]:
    """What became of each, in order, in one round trip; `now` in unix seconds.

    Raises the first of redis-py's errors, when everything else is published.
    """
    starts = range(0, len(publications), BOOKS_PER_CALL)
    calls = [_call(settings, publications[start : start + BOOKS_PER_CALL], now) for start in starts]
    return [Reply(_sound(reply)) for replies in script.run_all(client, calls) for reply in _sound(replies)]


def _sound(reply: Any) -> Any:
    """`reply`, unless it is an error, which is raised."""
    if isinstance(reply, Exception):
        raise reply
    return reply


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
    return [symbols.of_book(publication.book), *chain.from_iterable(publication.fields.items())]
