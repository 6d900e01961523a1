"""Past harvests and closed lifecycles of a symbol, as an operator sees them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.wire.history import HarvestRow, LifecycleRow

_RowT = TypeVar("_RowT", HarvestRow, LifecycleRow)
_MOST: Final = Decimal("1e60")
_LATEST_MS: Final = 10**14
_HARVESTS: Final = TypeAdapter(HarvestRow)
_LIFECYCLES: Final = TypeAdapter(LifecycleRow)


@dataclass(frozen=True, slots=True)
class History:
    """Harvests and lifecycles, newest first. `unreadable` counts rows that Harvest did not write."""

    harvests: Sequence[HarvestRow]
    lifecycles: Sequence[LifecycleRow]
    unreadable: int = 0


def read_history(client: Client, symbols: Sequence[str]) -> History:
    """The history of all `symbols` together."""
    with client.pipeline(transaction=False) as pipe:
        for symbol in symbols:
            pipe.lrange(keys.history(symbol), 0, -1)
            pipe.lrange(keys.lifecycles(symbol), 0, -1)
        replies: list[list[str]] = pipe.execute()
    harvests = [_row(_HARVESTS, text) for reply in replies[::2] for text in reply]
    lifecycles = [_row(_LIFECYCLES, text) for reply in replies[1::2] for text in reply]
    return History(
        sorted((row for row in harvests if row), key=lambda row: row.time_ms, reverse=True),
        sorted((row for row in lifecycles if row), key=lambda row: row.closed_ms, reverse=True),
        harvests.count(None) + lifecycles.count(None),
    )


def _row(rows: TypeAdapter[_RowT], text: str) -> _RowT | None:
    try:
        row = rows.validate_json(text)
    except ValidationError:
        return None
    return row if all(map(_is_plausible, (getattr(row, field.name) for field in fields(row)))) else None


def _is_plausible(value: object) -> bool:
    """Whether a table can show it: no number of 60 digits, no time after the year 5138."""
    if isinstance(value, Mapping):
        return all(map(_is_plausible, value.values()))
    if isinstance(value, Decimal):
        return abs(value) < _MOST
    return not isinstance(value, int) or 0 <= value < _LATEST_MS
