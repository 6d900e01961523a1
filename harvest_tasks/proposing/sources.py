"""Where does a symbol's position come from? Sources are asked in order until one knows the symbol.

That source decides, even if it says that the position is closed or if its hash cannot be used: the position of the next
source may be another one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from harvest_tasks.proposing import positions
from harvest_tasks.proposing.inputs import Inputs
from harvest_tasks.proposing.skip_reason import HashReply, NoProposal, SkipReason, hash_fields
from harvest_tasks.settings.model import PositionSource, Settings
from harvest_tasks.wire.position import QTY_FIELD, is_open_qty
from kernel.proposals.snapshot import PositionSnapshot


class Source(StrEnum):
    REDIS_HASH = "redis_hash"
    TRACKER = "tracker"
    REDIS_STREAM = "redis_stream"
    SYNTHETIC = "synthetic"


class OpenPosition(NamedTuple):
    """An open position of `book`, as `source` describes it."""

    book: str
    source: Source
    position: PositionSnapshot


@dataclass(frozen=True, slots=True)
class UnusablePosition:
    """`source` knows `book`, but what it says cannot be used."""

    book: str
    source: Source
    reason: SkipReason
    detail: str


SourcedPosition: TypeAlias = OpenPosition | UnusablePosition
_SourcedPositions: TypeAlias = list[SourcedPosition]


def sourced_positions(inputs: Inputs, settings: Settings, now: float) -> _SourcedPositions:
    """What is open on the symbol, at most once per book; empty when nothing is. `now` is in unix seconds."""
    for source in _sources_in_order(inputs, settings):
        found = _positions_of(source, inputs, now)
        if found is not None:
            return found
    return []


def _sources_in_order(inputs: Inputs, settings: Settings) -> Iterator[Source]:
    if settings.position_source is not PositionSource.AUTO:
        chosen = Source(settings.position_source)
        if not (chosen is Source.SYNTHETIC and settings.is_live):
            yield chosen
        return
    if inputs.tracked and _in_hedge_mode(inputs):
        # One hash per symbol cannot say which leg it describes; the tracker knows both.
        yield Source.TRACKER
        return
    yield from (Source.REDIS_HASH, Source.TRACKER, Source.REDIS_STREAM)
    if settings.synthetic_fallback and not settings.is_live:
        yield Source.SYNTHETIC


def _in_hedge_mode(inputs: Inputs) -> bool:
    legs = (reply for book, reply in inputs.tracked.items() if book != inputs.symbol)
    return any(isinstance(leg, dict) and is_open_qty(leg.get(QTY_FIELD)) for leg in legs)


def _positions_of(source: Source, inputs: Inputs, now: float) -> _SourcedPositions | None:
    """What `source` says about the symbol; None when it does not know it."""
    name = inputs.symbol
    match source:
        case Source.REDIS_HASH:
            return _described(name, source, inputs.state)
        case Source.TRACKER:
            return _tracked(inputs, now)
        case Source.REDIS_STREAM:
            return _described(name, source, inputs.streamed)
        case Source.SYNTHETIC:
            return [OpenPosition(name, source, positions.synthetic_position(name))]


def _described(name: str, source: Source, reply: HashReply) -> _SourcedPositions | None:
    if not reply:
        return None
    return _sourced(name, source, lambda: positions.external_position(name, hash_fields(reply)))


def _tracked(inputs: Inputs, now: float) -> _SourcedPositions | None:
    known = {book: reply for book, reply in inputs.tracked.items() if reply}
    if not known:
        return None
    return [
        sourced
        for book, reply in known.items()
        for sourced in _sourced(book, Source.TRACKER, _reader(inputs.symbol, reply, now))
    ]


def _reader(name: str, reply: HashReply, now: float) -> Callable[[], PositionSnapshot | None]:
    return lambda: positions.tracked_position(name, hash_fields(reply), now)


def _sourced(book: str, source: Source, read: Callable[[], PositionSnapshot | None]) -> _SourcedPositions:
    try:
        position = read()
    except NoProposal as error:
        return [UnusablePosition(book, source, error.reason, error.detail)]
    return [OpenPosition(book, source, position)] if position else []
