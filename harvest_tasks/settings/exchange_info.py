"""What are the exchange's rules for each symbol? Reads a saved GET /fapi/v1/exchangeInfo of Binance's USD-M futures.

Its numbers are text, read exactly or refused. An exit is a market order, which has to pass both lot filters: the
stricter limit counts, and a zero is no limit.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from operator import attrgetter
from pathlib import Path
from typing import Final, NoReturn, TypeAlias

from harvest_tasks.wire.numbers import exact_number
from harvest_tasks.wire.refusal import InvalidInput
from harvest_tasks.wire.symbols import is_symbol
from kernel.positions.instrument import Instrument
from kernel.positions.quantities import exact, floor_to_step, plain

MAX_FILE_BYTES: Final = 64 * 1024 * 1024
"""The exchange serves about one megabyte."""

LOTS: Final = ("LOT_SIZE", "MARKET_LOT_SIZE")

_SHOWN: Final = 24
_is_word: Final = re.compile(r"[A-Za-z0-9_]{1,32}").fullmatch

Filter: TypeAlias = Mapping[str, object]


class ExchangeInfoError(Exception):
    """The file cannot be used. The message is one line; `problem` is that line without the file's name."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Listing:
    """A symbol as the exchange lists it: `status` is TRADING while it trades; `min_notional` is in `quote_asset`."""

    symbol: str
    status: str
    quote_asset: str
    instrument: Instrument


class Listings(dict[str, Listing]):
    """Listings by symbol. `skipped` counts those whose name is not a valid symbol here."""

    skipped: int = 0


class _BadFile(Exception):
    """What is wrong with the file, without its name."""


def read_exchange_info(path: str) -> Listings:
    """Every valid symbol that the file lists. Raises `ExchangeInfoError`."""
    try:
        return _listings(_symbols(_decoded(_content(path))))
    except _BadFile as error:
        raise ExchangeInfoError(path, str(error)) from None


def instrument_of(listings: Mapping[str, Listing], symbol: str, least_notional: Decimal) -> Instrument:
    """The exchange's rules for `symbol`, with a minimum order value of at least `least_notional`.

    For a symbol that is not listed, quantities are exact decimals and only `least_notional` bounds an order.
    """
    listing = listings.get(symbol)
    if listing is None:
        return Instrument(min_notional=least_notional)
    instrument = listing.instrument
    return instrument if instrument.min_notional >= least_notional else replace(instrument, min_notional=least_notional)


def _content(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _BadFile(f"cannot be read: {error.strerror}") from None
    if len(content) > MAX_FILE_BYTES:
        raise _BadFile(f"is over {MAX_FILE_BYTES // 1024 // 1024} MiB, larger than any exchangeInfo")
    return content


def _decoded(content: bytes) -> object:
    """The JSON value. Its numbers stay text: nothing here may become a float."""
    try:
        return json.loads(
            content, parse_float=str, parse_int=str, parse_constant=_refuse_constant, object_pairs_hook=_unique
        )
    except RecursionError:
        raise _BadFile("is not an exchangeInfo: it nests too deeply") from None
    except ValueError as error:
        raise _BadFile(f"is not JSON: {error}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise _BadFile(f"is not JSON: it holds {name}")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in members if names.count(name) > 1)
        raise _BadFile(f"is ambiguous: an object has the key {_shown(twice)} twice")
    return members


def _symbols(document: object) -> Sequence[object]:
    symbols = document.get("symbols") if isinstance(document, dict) else None
    if not isinstance(symbols, list):
        raise _BadFile("is not an exchangeInfo: it has no list `symbols`")
    return symbols


def _listings(symbols: Sequence[object]) -> Listings:
    found = Listings()
    for entry in symbols:
        if not isinstance(entry, dict) or not isinstance(entry.get("symbol"), str):
            raise _BadFile("is not an exchangeInfo: an element of `symbols` has no `symbol`")
        name = entry["symbol"]
        if name in found:
            raise _BadFile(f"{name}: is listed twice")
        if is_symbol(name):
            found[name] = _listing(name, entry)
        else:
            found.skipped += 1
    if not found:
        raise _BadFile("lists no symbol such as BTCUSDT")
    return found


def _listing(name: str, entry: Mapping[str, object]) -> Listing:
    rules = _Rules(name, _filters(name, entry.get("filters")))
    return Listing(name, _word(name, entry, "status"), _word(name, entry, "quoteAsset"), _instrument(rules))


def _word(name: str, entry: Mapping[str, object], field: str) -> str:
    word = entry.get(field)
    if not isinstance(word, str) or not _is_word(word):
        raise _BadFile(f"{name}: {field} is missing, or not a word")
    return word


def _filters(name: str, filters: object) -> dict[str, Filter]:
    """The filters of the symbol `name`, by type."""
    found: dict[str, Filter] = {}
    for each in filters if isinstance(filters, list) else ():
        kind = each.get("filterType") if isinstance(each, dict) else None
        if not isinstance(kind, str):
            raise _BadFile(f"{name}: a filter has no filterType")
        if kind in found:
            raise _BadFile(f"{name}: {_shown(kind)} is listed twice")
        found[kind] = each
    return found


@dataclass(frozen=True, slots=True)
class _Rules:
    """The filters of one symbol, by type."""

    symbol: str
    filters: Mapping[str, Filter]

    def limit(self, kind: str, field: str) -> Decimal:
        """The number in `field` of the filter `kind`; zero stands for no limit."""
        if kind not in self.filters:
            self.refuse(kind, "is missing")
        if field not in self.filters[kind]:
            self.refuse(kind, f"has no {field}")
        text = self.filters[kind][field]
        try:
            return exact_number(field, text)
        except InvalidInput:
            self.refuse(kind, f"{field} {_shown(text)} is not a plain number below 1e15 with at most 12 decimals")

    def required(self, kind: str, field: str) -> Decimal:
        return self.limit(kind, field) or self.refuse(kind, f"{field} is 0")

    def refuse(self, kind: str, problem: str) -> NoReturn:
        raise _BadFile(f"{self.symbol}: {kind} {problem}")


@dataclass(frozen=True, slots=True)
class _Lot:
    """One of the two lot filters; zeros are no limits."""

    kind: str
    step: Decimal
    min_qty: Decimal
    max_qty: Decimal


def _instrument(rules: _Rules) -> Instrument:
    lots = [_lot(rules, kind) for kind in LOTS]
    step = max(lot.step for lot in lots) or rules.refuse(LOTS[0], "stepSize is 0")
    min_qty = max(lot.min_qty for lot in lots) or rules.refuse(LOTS[0], "minQty is 0")
    _check_steps(rules, lots, step)
    return Instrument(
        step=step,
        min_qty=min_qty,
        min_notional=_min_notional(rules),
        max_qty=_max_qty(rules, lots, step, min_qty),
        tick=rules.required("PRICE_FILTER", "tickSize"),
    )


def _lot(rules: _Rules, kind: str) -> _Lot:
    return _Lot(kind, *(rules.limit(kind, field) for field in ("stepSize", "minQty", "maxQty")))


@exact
def _check_steps(rules: _Rules, lots: Sequence[_Lot], step: Decimal) -> None:
    """Every filter must accept all multiples of `step`, the coarser one, from its minimum on."""
    for lot in lots:
        if lot.step and step % lot.step:
            rules.refuse(lot.kind, f"stepSize {plain(lot.step)} does not divide {plain(step)}, the other lot filter's")
        # A filter accepts its minQty plus any number of whole steps.
        if lot.step and lot.min_qty % lot.step:
            rules.refuse(lot.kind, f"minQty {plain(lot.min_qty)} is not a multiple of stepSize {plain(lot.step)}")


def _max_qty(rules: _Rules, lots: Sequence[_Lot], step: Decimal, min_qty: Decimal) -> Decimal | None:
    """The smaller maximum, rounded down to the step."""
    limited = [lot for lot in lots if lot.max_qty]
    if not limited:
        return None
    strictest = min(limited, key=attrgetter("max_qty"))
    most = floor_to_step(strictest.max_qty, step)
    if most < min_qty:
        rules.refuse(strictest.kind, f"maxQty {plain(strictest.max_qty)} leaves no quantity above the minimum")
    return most


def _min_notional(rules: _Rules) -> Decimal:
    """Futures have MIN_NOTIONAL with `notional`; the exchange's spot markets NOTIONAL with `minNotional`."""
    kind = "NOTIONAL" if "MIN_NOTIONAL" not in rules.filters and "NOTIONAL" in rules.filters else "MIN_NOTIONAL"
    field = "minNotional" if "minNotional" in rules.filters.get(kind, {}) else "notional"
    return rules.required(kind, field)


def _shown(value: object) -> str:
    """`value` as ASCII, on one line and cut to length."""
    text = ascii(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
