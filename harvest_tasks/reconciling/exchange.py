"""The exchange's own record of positions, which another service keeps in Redis: `quantum:state:positions:<BOOK>`.

A one-way position is recorded under its symbol, a leg under its book's name. A leg may also be recorded under the
symbol, one leg at a time: the record names it by `position_side`, or its symbol is known to have legs.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.server.clock import server_ms
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.exchange_position import Fields, Flat, Reading, Record, Unreadable, Untold, books_of, reading
from harvest_tasks.wire.symbols import books, is_symbol, legs, of_book

INTERVALS_UNTIL_STALE: Final = 10
_SCANNED: Final = 1000


def read_all(client: Client, settings: Settings, known: Collection[str]) -> dict[str, Reading]:
    """Everything on record, by book; `known` are the tracked books, which say what symbols have legs."""
    prefix = keys.POSITION_STATE_PREFIX
    names: Iterable[str] = client.scan_iter(match=f"{prefix}*", count=_SCANNED)
    found = {of_book(name) for key in names if _is_book(name := key.removeprefix(prefix))}
    return read(client, settings, found, known)


def read(client: Client, settings: Settings, symbols: Iterable[str], known: Collection[str]) -> dict[str, Reading]:
    """What is on record of `symbols`, by book. A book without a record is not in it."""
    wanted = sorted(set(symbols))
    now_ms = server_ms(client)
    longest_ms = int(settings.reconcile_interval_sec * 1000) * INTERVALS_UNTIL_STALE
    names = [book for symbol in wanted for book in books(symbol)]
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.hgetall(keys.position_state(name))
        replies = dict(zip(names, map(_checked, pipe.execute(raise_on_error=False)), strict=True))
    return {
        found.book: found
        for symbol in wanted
        for found in _of_symbol(symbol, [replies[book] for book in books(symbol)], known, now_ms, longest_ms)
    }


def _of_symbol(
    symbol: str, replies: Sequence[Fields | None], known: Collection[str], now_ms: int, longest_ms: int
) -> Iterator[Reading]:
    """From the hashes under the symbol's key and its legs' (None: not a hash); a leg's own key goes first."""
    shared, *own = replies
    own_keys = {leg: fields for leg, fields in zip(legs(symbol), own, strict=True) if fields != {}}
    for leg, fields in own_keys.items():
        yield _reading(leg, fields, now_ms, longest_ms)
    if shared == {}:
        return
    meant = books_of(symbol, shared or {}, _has_legs(symbol, own_keys, known))
    for book in meant:
        if book not in own_keys:
            yield _reading(book, shared, now_ms, longest_ms)
    for leg in legs(symbol):
        if meant != (symbol,) and leg not in own_keys and leg not in meant:
            yield Untold(leg)


def _reading(book: str, fields: Fields | None, now_ms: int, longest_ms: int) -> Record | Flat | Unreadable:
    if fields is None:
        return Unreadable(book, "its key is not a hash")
    return reading(book, fields, now_ms, longest_ms)


def _has_legs(symbol: str, own_keys: Mapping[str, Any], known: Collection[str]) -> bool:
    """What is tracked decides; else what is on record."""
    return any(leg in known for leg in legs(symbol)) or (bool(own_keys) and symbol not in known)


def _is_book(name: str) -> bool:
    symbol, separator, leg = name.partition(":")
    return bool(is_symbol(symbol)) and (not separator or leg in ("LONG", "SHORT"))


def _checked(reply: Any) -> Any:
    """None for a key that is not a hash; any other error is raised."""
    if not isinstance(reply, Exception):
        return reply
    if not str(reply).startswith("WRONGTYPE"):
        raise reply
    return None
