"""Published proposals: one hash per book, and a stream when one is wanted. Written by `publish.lua` alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from harvest_tasks import script, symbols
from harvest_tasks.connection import Client
from harvest_tasks.publishing.proposal_record import utc
from harvest_tasks.settings import Settings
from kernel.quantities import plain

STREAM_MAXLEN: Final = 10_000
LIFETIMES: Final = 3
"""A proposal outlives this many maximum publish ages, then it goes by itself."""


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
    replies = script.run_all(client, [_call(settings, publication, now) for publication in publications])
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return [Reply(reply) for reply in replies]


def _call(settings: Settings, publication: Publication, now: float) -> script.Call:
    key = settings.harvest_prefix + publication.book
    return script.Call(
        script.load("publish"),
        [key, settings.stream_name] if settings.enable_stream else [key],
        [
            int(now),
            utc(now - settings.max_publish_age_sec),
            plain(settings.change_eps_pct),
            int(LIFETIMES * 1000 * settings.max_publish_age_sec),
            STREAM_MAXLEN,
            symbols.of_book(publication.book),
            *(text for pair in publication.fields.items() for text in pair),
        ],
    )
