"""Model and code side by side: where a position is not as the model has it, and what each says was done, as lines."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

from kernel.positions.ladder_state import Reservation
from kernel.positions.position import Position
from kernel.positions.r_multiple import net_r
from laboratory.model import DECIMALS, Book, Deed, Held, Name, Published, text

Line = tuple[str, ...]
Names = Mapping[str, Name]
"""Intent id -> what it stands for."""


exactly = lru_cache(maxsize=100_000)(Fraction)
"""The same few values come again and again."""


def differing(book: Book, position: Position, names: Names) -> Iterator[str]:
    """One line for each value that differs."""
    expected, found = _of_model(book), _of_code(position, names)
    if expected == found:
        return
    for name, value in expected.items():
        if value != found[name]:
            yield f"{name} is {shown(found[name])}, the model has {shown(value)}"


def said_by_model(deeds: Iterable[Deed]) -> list[Line]:
    """Decisions in their order; before them the notes, in order of their text."""
    lines = [_line(deed) for deed in deeds]
    return _notes_first(lines)


def said_by_journal(records: Iterable[Mapping[str, str]], names: Names) -> list[Line]:
    """The same, of journal records."""
    return _notes_first([_record_line(record, names) for record in records])


def contrast(expected: Sequence[Line], found: Sequence[Line]) -> Iterator[str]:
    """What only one of them says."""
    if expected == found:
        return
    yield from (f"not in the model: {' '.join(line)}" for line in found if line not in expected)
    yield from (f"only in the model: {' '.join(line)}" for line in expected if line not in found)
    if sorted(expected) == sorted(found):
        yield f"in another order: {found}, the model has {expected}"


def shown(value: Any) -> str:
    """A value with its fractions as decimals."""
    if isinstance(value, Fraction):
        return text(value) if 10**DECIMALS % value.denominator == 0 else str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{shown(k)}: {shown(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple | set):
        return "[" + ", ".join(shown(item) for item in value) + "]"
    return str(value)


def _of_model(book: Book) -> dict[str, Any]:
    holding, state, mark = book.holding, book.ladder_state, book.mark
    return {
        "epoch": book.epoch,
        "qty": holding.qty,
        "avg_entry": holding.entry,
        "base_qty": holding.base,
        "risk_per_unit": holding.risk,
        "realized_pnl": holding.realized,
        "fees": holding.fees,
        "funding": holding.funding,
        "other_fees": holding.other_fees,
        "origin": holding.origin,
        "net_r": round(holding.net_r * 10**30),
        "banked_pnl": book.banked,
        "frozen": book.frozen,
        "applied": book.applied,
        "mark": mark and (mark.price, mark.time_ms, mark.peak, mark.trough),
        "stop": state.stop,
        "stop_qty": state.stop_qty,
        "break_even": state.break_even,
        "atr": state.atr,
        "spent": state.spent,
        "failures": state.failures,
        "firings": state.firings,
        "owed": state.owed,
        "carry": state.carry,
        "held": state.held,
        "reservations": [
            (name, r.qty, r.filled, r.claims, r.placed_ms, r.alarmed) for name, r in state.reserved.items()
        ],
    }


def _of_code(position: Position, names: Names) -> dict[str, Any]:
    holding, state, mark = position.holding, position.ladder_state, position.mark
    return {
        "epoch": position.epoch,
        "qty": exactly(holding.qty),
        "avg_entry": exactly(holding.avg_entry),
        "base_qty": exactly(holding.base_qty),
        "risk_per_unit": exactly(holding.risk_per_unit),
        "realized_pnl": exactly(holding.realized_pnl),
        "fees": exactly(holding.fees),
        "funding": exactly(holding.funding),
        "other_fees": {asset: exactly(amount) for asset, amount in holding.other_fees},
        "origin": holding.origin.value,
        "net_r": round(exactly(net_r(holding)) * 10**30),
        "banked_pnl": exactly(position.banked_pnl),
        "frozen": _reason(position.frozen),
        "applied": position.applied,
        "mark": mark and (exactly(mark.price), mark.time_ms, exactly(mark.peak), exactly(mark.trough)),
        "stop": _fraction(state.stop),
        "stop_qty": _fraction(state.stop_qty),
        "break_even": state.break_even,
        "atr": _fraction(state.atr),
        "spent": {exactly(rung) for rung in state.spent},
        "failures": {exactly(rung): n for rung, n in state.failures},
        "firings": {exactly(rung): n for rung, n in state.firings},
        "owed": {exactly(rung): exactly(qty) for rung, qty in state.owed},
        "carry": exactly(state.carry),
        "held": dict(state.held),
        "reservations": [_reservation(r, names) for r in state.reservations],
    }


def _reservation(r: Reservation, names: Names) -> tuple[Any, ...]:
    claims = [(exactly(c.rung), c.attempt, exactly(c.share)) for c in r.claims]
    name = names.get(r.intent_id, ("unknown", r.intent_id))
    return name, exactly(r.qty), exactly(r.filled), claims, r.placed_ms, r.overdue


def _line(deed: Deed) -> Line:
    if isinstance(deed, Published):
        stop = "" if deed.stop_price is None else text(deed.stop_price)
        return "published", deed.position_id, deed.action, deed.side, text(deed.qty), stop
    if isinstance(deed, Held):
        return "held", deed.position_id, deed.action, deed.reason
    return deed.what, deed.position_id, deed.detail


def _record_line(record: Mapping[str, str], names: Names) -> Line:
    what, position_id = record["decision"], record["position_id"]
    if what == "published":
        return what, position_id, record["action"], record["side"], record["qty"], record.get("stop_price", "")
    if what == "held":
        return what, position_id, record["action"], record["reason"]
    return what, position_id, _detail(record, names)


def _detail(record: Mapping[str, str], names: Names) -> str:
    match record["decision"]:
        case "clamped" | "adopted" | "adoption_refused":
            return record["qty"]
        case "exhausted":
            return record["action"]
        case "unanswered":
            return names.get(record["intent_id"], ("", "?"))[1]
        case "frozen":
            return _reason(record["reason"])
    return ""


def _reason(frozen: str) -> str:
    """A refused entry's id says nothing to the model, and of its flaws only one does."""
    if frozen.startswith("refused_entry "):
        return "position_mode" if frozen.endswith(": position_mode") else "refused"
    return frozen


def _notes_first(lines: list[Line]) -> list[Line]:
    decisions = [line for line in lines if line[0] in ("published", "held")]
    return sorted(line for line in lines if line[0] not in ("published", "held")) + decisions


def _fraction(value: Decimal | None) -> Fraction | None:
    return None if value is None else exactly(value)
