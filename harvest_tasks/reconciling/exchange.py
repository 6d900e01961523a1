"""What does the exchange hold? Reads the snapshots that another service keeps in `quantum:state:positions:<BOOK>`.

A one-way position is under its symbol, a leg under its book's name. A leg may also be under the symbol, one leg at a
time: then the snapshot names it by `position_side`, or the symbol is known to have legs.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from harvest_tasks.server import keys
from harvest_tasks.server.client import Client, unless_wrong_type
from harvest_tasks.server.clock import server_ms
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.exchange_position import (
    ExchangeFlat,
    ExchangePosition,
    ExchangeSnapshot,
    OtherLegOnly,
    UnreadableSnapshot,
    books_of,
    read_exchange_position,
)
from harvest_tasks.wire.fields import Fields
from harvest_tasks.wire.symbols import hedge_legs, is_symbol, possible_books, symbol_of

INTERVALS_UNTIL_STALE: Final = 10
_SCANNED: Final = 1000


def read_all_exchange_positions(
    client: Client, settings: Settings, known: Collection[str]
) -> dict[str, ExchangePosition]:
    """Every exchange position, by book. `known` are the tracked books, which say which symbols have legs."""
    prefix = keys.POSITION_STATE_PREFIX
    names: Iterable[str] = client.scan_iter(match=f"{prefix}*", count=_SCANNED)
    found = {symbol_of(name) for key in names if _is_book(name := key.removeprefix(prefix))}
    return read_exchange_positions(client, settings, found, known)


def read_exchange_positions(
    client: Client, settings: Settings, symbols: Iterable[str], known: Collection[str]
) -> dict[str, ExchangePosition]:
    """The exchange positions of `symbols`, by book. A book without a snapshot is left out."""
    wanted = sorted(set(symbols))
    now_ms = server_ms(client)
    max_age_ms = int(settings.reconcile_interval_sec * 1000) * INTERVALS_UNTIL_STALE
    names = [book for symbol in wanted for book in possible_books(symbol)]
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.hgetall(keys.position_state(name))
        replies = dict(zip(names, map(unless_wrong_type, pipe.execute(raise_on_error=False)), strict=True))
    return {
        found.book: found
        for symbol in wanted
        for found in _of_symbol(symbol, [replies[book] for book in possible_books(symbol)], known, now_ms, max_age_ms)
    }


def _of_symbol(
    symbol: str, replies: Sequence[Fields | None], known: Collection[str], now_ms: int, max_age_ms: int
) -> Iterator[ExchangePosition]:
    """The exchange positions in the hashes under the keys of the symbol and its legs (None: not a hash).

    For a leg, its own key counts, if there is one.
    """
    shared, *own = replies
    own_keys = {leg: fields for leg, fields in zip(hedge_legs(symbol), own, strict=True) if fields != {}}
    for leg, fields in own_keys.items():
        yield _exchange_position(leg, fields, now_ms, max_age_ms)
    if shared == {}:
        return
    meant = books_of(symbol, shared or {}, _has_legs(symbol, own_keys, known))
    for book in meant:
        if book not in own_keys:
            yield _exchange_position(book, shared, now_ms, max_age_ms)
    for leg in hedge_legs(symbol):
        if meant != (symbol,) and leg not in own_keys and leg not in meant:
            yield OtherLegOnly(leg)


def _exchange_position(
    book: str, fields: Fields | None, now_ms: int, max_age_ms: int
) -> ExchangeSnapshot | ExchangeFlat | UnreadableSnapshot:
    if fields is None:
        return UnreadableSnapshot(book, "its key is not a hash")
    return read_exchange_position(book, fields, now_ms, max_age_ms)


def _has_legs(symbol: str, own_keys: Mapping[str, Any], known: Collection[str]) -> bool:
    """Whether the symbol has legs: its tracked books decide, without any of these its snapshots."""
    return any(leg in known for leg in hedge_legs(symbol)) or (bool(own_keys) and symbol not in known)


def _is_book(name: str) -> bool:
    symbol, separator, leg = name.partition(":")
    return bool(is_symbol(symbol)) and (not separator or leg in ("LONG", "SHORT"))
