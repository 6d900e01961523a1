"""A tracked position as the fields of its Redis hash, and back, in full or in part.

Every field is plain text, so that a trader can read the hash; `version` and `trades_generation` belong to the
ledger and are not part of the position. No other module spells these fields.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from itertools import repeat
from typing import Any, Final, NamedTuple

from harvest_tasks.wire.numbers import optional_float, required_float
from kernel.positions.holding import Amounts, Holding, Origin
from kernel.positions.ladder_state import Claim, LadderState, Reservation
from kernel.positions.mark import MarkState
from kernel.positions.position import EntryId, Position, parse_id
from kernel.positions.quantities import ZERO, plain

Writer = Callable[[Any], str]

QTY_FIELD: Final = "qty"
HELD_FIELD: Final = "held"
VERSION_FIELD: Final = "version"
LEDGER_FIELDS: Final = (VERSION_FIELD, "trades_generation")
TIME_FIELDS: Final = ("mark_ms", "unanswered_ms")
FIGURE_FIELDS: Final = ("qty", "avg_entry", "risk_per_unit", "mark", "mark_ms", "held", "frozen", "reservations")

_is_time = re.compile(r"[0-9]{1,15}").fullmatch
_NOTHING: Final = object()
_NO_MARK: Final = {"mark": "", "mark_ms": "", "peak": "", "trough": ""}


class UnreadablePosition(ValueError):
    """The hash under a position's key is not one that the ledger writes."""


class LedgerCounts(NamedTuple):
    """How often the ledger has committed the book, and which of its two sets of trade ids is the newer one."""

    version: int
    trades_generation: int


class PositionTimes(NamedTuple):
    """Unix ms: the time of the mark, and when the oldest intent was published that has no reply and is not reported as
    overdue. None: there is none, or the text is not a time.
    """

    mark_ms: int | None
    unanswered_ms: int | None


class OpenFigures(NamedTuple):
    """An open position in floats, for a proposal: `qty` is signed, `opened_ms` in unix ms."""

    qty: float
    avg_entry: float
    mark: float
    peak: float
    trough: float
    opened_ms: float
    stop: float | None


class PositionFigures(NamedTuple):
    """A position for the metrics: `qty` is signed (long > 0, base currency), `held` has a reason per held action."""

    qty: Decimal = ZERO
    avg_entry: Decimal = ZERO
    risk_per_unit: Decimal = ZERO
    mark: Decimal | None = None
    mark_ms: int | None = None
    held: tuple[str, ...] = ()
    frozen: str = ""
    reservations: tuple[Reservation, ...] = ()


def position_fields(position: Position) -> dict[str, str]:
    """All fields of the hash except the ledger's own."""
    return {
        "book": position.book,
        "symbol": position.symbol,
        **_lifecycle_fields(position),
        "applied": _id_text(position.applied),
        **_texts(_HOLDING, position.holding),
        **(_NO_MARK if position.mark is None else _texts(_MARK, position.mark)),
        **_ladder_fields(position.ladder_state),
    }


def changed_fields(before: Position, after: Position) -> dict[str, str]:
    """The fields to write to a hash that holds `before` so that it holds `after`, a position of the same book.

    A value that did not change is the same object in both.
    """
    changed = {"applied": _id_text(after.applied)}
    if _lifecycle(after) != _lifecycle(before):
        changed |= _lifecycle_fields(after)
    if after.holding is not before.holding:
        changed |= _texts(_HOLDING, after.holding, before.holding)
    if after.mark is not before.mark and after.mark is not None:
        changed |= _texts(_MARK, after.mark, before.mark)
    if after.ladder_state is not before.ladder_state:
        changed |= _ladder_fields(after.ladder_state, before.ladder_state)
    return changed


def _texts(written: Mapping[str, Writer], after: Sequence[Any], before: Sequence[Any] | None = None) -> dict[str, str]:
    """The fields of `after` that differ from `before`, as text by name; all of them without `before`."""
    old = before or repeat(_NOTHING)
    triples = zip(written.items(), after, old, strict=False)
    return {name: text(new) for (name, text), new, was in triples if new is not was}


def _lifecycle(position: Position) -> tuple[object, ...]:
    return position.epoch, position.banked_pnl, position.frozen, position.overrides


def _lifecycle_fields(position: Position) -> dict[str, str]:
    return {
        "epoch": str(position.epoch),
        "banked_pnl": plain(position.banked_pnl),
        "frozen": position.frozen,
        "overrides": position.overrides,
    }


def _id_text(entry_id: EntryId) -> str:
    return f"{entry_id[0]}-{entry_id[1]}"


def _ladder_fields(after: LadderState, before: LadderState | None = None) -> dict[str, str]:
    fields = _texts(_LADDER_STATE, after, before)
    if "reservations" in fields:
        fields["unanswered_ms"] = _unanswered_text(after.reservations)
    return fields


def read_position(book: str, fields: Mapping[str, str]) -> Position:
    """The position that `position_fields` wrote; the empty position of `book` when there are no fields.

    Raises `UnreadablePosition` when something else wrote them.
    """
    if not fields:
        return Position(book)
    try:
        return _position(book, fields)
    except (KeyError, ValueError, TypeError, InvalidOperation) as error:
        raise _unreadable(book, error) from error


def read_ledger_counts(fields: Mapping[str, str]) -> LedgerCounts:
    """The ledger's own fields; zeros for a book that was never committed. Raises ValueError."""
    return LedgerCounts(int(fields.get(VERSION_FIELD, "0")), int(fields.get("trades_generation", "0")))


def read_times(values: Sequence[str | None]) -> PositionTimes:
    """The times in the reply to HMGET of `TIME_FIELDS`."""
    mark_ms, unanswered_ms = values
    return PositionTimes(_time_ms(mark_ms), _time_ms(unanswered_ms))


def read_figures(book: str, values: Sequence[str | None]) -> PositionFigures:
    """The figures in the reply to HMGET of `FIGURE_FIELDS`; zeros for a book that was never committed.

    Raises `UnreadablePosition`.
    """
    if not any(values):
        return PositionFigures()
    qty, avg_entry, risk_per_unit, mark, mark_ms, held, frozen, reservations = (text or "" for text in values)
    try:
        return PositionFigures(
            Decimal(qty),
            Decimal(avg_entry),
            Decimal(risk_per_unit),
            _decimal(mark),
            int(mark_ms) if mark_ms else None,
            tuple(reason for _, reason in _pairs(held, "=")),
            frozen,
            _reservations(reservations),
        )
    except (ValueError, TypeError, InvalidOperation) as error:
        raise _unreadable(book, error) from error


def _time_ms(text: str | None) -> int | None:
    return int(text) if text and _is_time(text) else None


def read_open_figures(fields: Mapping[str, str]) -> OpenFigures | None:
    """The figures of an open position, or None for a flat one. Raises `InvalidInput`, also if it has no mark yet."""
    qty = required_float(fields, QTY_FIELD)
    if qty == 0:
        return None
    return OpenFigures(
        qty,
        avg_entry=required_float(fields, "avg_entry"),
        mark=required_float(fields, "mark"),
        peak=required_float(fields, "peak"),
        trough=required_float(fields, "trough"),
        opened_ms=required_float(fields, "opened_ms"),
        stop=optional_float(fields, "stop"),
    )


def is_open_qty(text: str | None) -> bool:
    """Whether `text`, the quantity field of a hash, is that of an open position."""
    return text not in (None, "0")


def _unreadable(book: str, error: Exception) -> UnreadablePosition:
    return UnreadablePosition(f"the tracked position of {book} cannot be read: {error!r}")


def _position(book: str, fields: Mapping[str, str]) -> Position:
    return Position(
        book=book,
        epoch=int(fields["epoch"]),
        holding=_holding(fields),
        mark=_mark(fields),
        ladder_state=_ladder_state(fields),
        banked_pnl=Decimal(fields["banked_pnl"]),
        frozen=fields["frozen"],
        applied=parse_id(fields["applied"]),
        overrides=fields["overrides"],
    )


def _holding(fields: Mapping[str, str]) -> Holding:
    return Holding(
        qty=Decimal(fields["qty"]),
        avg_entry=Decimal(fields["avg_entry"]),
        base_qty=Decimal(fields["base_qty"]),
        risk_per_unit=Decimal(fields["risk_per_unit"]),
        realized_pnl=Decimal(fields["realized_pnl"]),
        fees=Decimal(fields["fees"]),
        opened_ms=int(fields["opened_ms"]),
        funding=Decimal(fields["funding"]),
        other_fees=_amounts(fields["other_fees"]),
        origin=Origin(fields["origin"]),
    )


def _mark(fields: Mapping[str, str]) -> MarkState | None:
    if not fields["mark"]:
        return None
    return MarkState(
        Decimal(fields["mark"]),
        int(fields["mark_ms"]),
        Decimal(fields["peak"]),
        Decimal(fields["trough"]),
    )


def _ladder_state(fields: Mapping[str, str]) -> LadderState:
    return LadderState(
        spent=_names(fields["spent"]),
        firings=_counts(fields["firings"]),
        failures=_counts(fields["failures"]),
        owed=_amounts(fields["owed"]),
        carry=Decimal(fields["carry"]),
        reservations=_reservations(fields["reservations"]),
        stop=_decimal(fields["stop"]),
        stop_qty=_decimal(fields["stop_qty"]),
        break_even=fields["break_even"] == "1",
        atr=_decimal(fields["atr"]),
        held=_pairs(fields["held"], "="),
    )


def _reservations_text(reservations: tuple[Reservation, ...]) -> str:
    return json.dumps([_row(r) for r in reservations], separators=(",", ":")) if reservations else ""


def _row(r: Reservation) -> list[object]:
    claims = [[claim.rung, claim.attempt, plain(claim.share)] for claim in r.claims]
    return [r.intent_id, plain(r.qty), claims, r.placed_ms, plain(r.filled), plain(r.value), plain(r.pnl), r.overdue]


def _reservations(text: str) -> tuple[Reservation, ...]:
    return tuple(_reservation(*row) for row in json.loads(text)) if text else ()


def _reservation(
    intent_id: str,
    qty: str,
    claims: list[tuple[str, int, str]],
    placed_ms: int,
    filled: str,
    value: str,
    pnl: str,
    overdue: bool,
) -> Reservation:
    return Reservation(
        intent_id,
        Decimal(qty),
        tuple(Claim(rung, attempt, Decimal(share)) for rung, attempt, share in claims),
        placed_ms,
        Decimal(filled),
        Decimal(value),
        Decimal(pnl),
        overdue,
    )


def _unanswered_text(reservations: tuple[Reservation, ...]) -> str:
    """When the oldest intent was published that has no reply and is not reported as overdue; the sweep reads it."""
    return str(min((r.placed_ms for r in reservations if not r.overdue), default=""))


def _counts_text(counts: Sequence[tuple[str, int]]) -> str:
    return ",".join(f"{rung}:{n}" for rung, n in counts)


def _held_text(held: Sequence[tuple[str, str]]) -> str:
    return ",".join(f"{action}={reason}" for action, reason in held)


def _amounts_text(amounts: Amounts) -> str:
    return ",".join(f"{asset}:{plain(amount)}" for asset, amount in amounts)


def _counts(text: str) -> tuple[tuple[str, int], ...]:
    return tuple((rung, int(n)) for rung, n in _pairs(text, ":")) if text else ()


def _amounts(text: str) -> Amounts:
    return tuple((asset, Decimal(amount)) for asset, amount in _pairs(text, ":")) if text else ()


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def _pairs(text: str, separator: str) -> tuple[tuple[str, str], ...]:
    pairs = (item.rpartition(separator) for item in _names(text))
    return tuple((left, right) for left, _, right in pairs) if text else ()


def _optional(value: Decimal | None) -> str:
    return "" if value is None else plain(value)


def _decimal(text: str) -> Decimal | None:
    return Decimal(text) if text else None


_HOLDING: Final[Mapping[str, Writer]] = {
    "qty": plain,
    "avg_entry": plain,
    "base_qty": plain,
    "risk_per_unit": plain,
    "realized_pnl": plain,
    "fees": plain,
    "opened_ms": str,
    "funding": plain,
    "other_fees": _amounts_text,
    "origin": str,
}
_MARK: Final[Mapping[str, Writer]] = {"mark": plain, "mark_ms": str, "peak": plain, "trough": plain}
_LADDER_STATE: Final[Mapping[str, Writer]] = {
    "spent": ",".join,
    "firings": _counts_text,
    "failures": _counts_text,
    "owed": _amounts_text,
    "carry": plain,
    "reservations": _reservations_text,
    "stop": _optional,
    "stop_qty": _optional,
    "break_even": lambda is_set: "1" if is_set else "0",
    "atr": _optional,
    "held": _held_text,
}
"""How each value of a holding, a mark and a ladder state is written as text, in the order of their attributes."""
