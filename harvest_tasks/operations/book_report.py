"""The account that `harvest explain` gives of a book."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harvest_tasks.operations.explanation import Explanation, Upcoming
from harvest_tasks.operations.journal import JournalRecord
from harvest_tasks.operations.positions import PositionRow
from harvest_tasks.settings.model import Settings
from kernel.positions.decision import Decision
from kernel.positions.guards import Guards, Refusal
from kernel.positions.position import Position
from kernel.positions.rules import Rules


@dataclass(frozen=True, slots=True)
class BookReport:
    """Everything that was read and worked out about one book; `explained` is None when it is flat."""

    row: PositionRow
    position: Position
    explained: Explanation | None
    guards: Guards
    rules: Rules
    settings: Settings
    records: Sequence[JournalRecord]

    def holds_back(self, refusal: Refusal) -> bool:
        return self.explained is not None and refusal in self.explained.refusals


def as_dict(account: BookReport) -> dict[str, Any]:
    """For JSON. A flat book has no risk, rungs, guards or intents."""
    explained = account.explained
    journal = [_record(record) for record in account.records]
    position = {"position": asdict(account.row), "reservations": account.position.ladder_state.reservations}
    if explained is None:
        return {**position, "journal": journal}
    return {
        **position,
        "risk": _risk(account, explained),
        "rules": {"overrides": account.rules.overrides, "cost_bps": account.rules.cost_bps},
        "instrument": account.rules.instrument,
        "rungs": explained.rungs,
        "due": [_intent(decision) for decision in explained.due],
        "next": None if explained.upcoming is None else _next(explained.upcoming),
        "guards": {refusal.value: account.holds_back(refusal) for refusal in Refusal},
        "journal": journal,
    }


def _record(record: JournalRecord) -> Mapping[str, object]:
    times = {name: int(text) for name, text in record.values.items() if name.endswith("_ms")}
    return {"id": record.record_id, "time_ms": record.time_ms, **record.values, **times}


def _risk(account: BookReport, explained: Explanation) -> Mapping[str, object]:
    return {
        "per_unit": account.row.risk_per_unit,
        "source": explained.risk_source,
        "implied_stop": explained.implied_stop,
    }


def _next(upcoming: Upcoming) -> Mapping[str, object]:
    return {"price": upcoming.price, **_intent(upcoming)}


def _intent(asked: Decision | Upcoming) -> Mapping[str, object]:
    said: dict[str, object] = {"action": asked.action, "held_back_by": asked.refusal}
    names = ("intent_id", "kind", "side", "qty", "rungs", "stop_price", "reason")
    said["intents"] = [{name: getattr(intent, name) for name in names} for intent in asked.intents]
    return said
