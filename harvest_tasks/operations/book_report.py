"""All about one book, read for `harvest explain`: its position, what is due, what holds it back, what was decided."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from harvest_tasks.fills.symbol_rules import SymbolRules
from harvest_tasks.operations.explanation import Explanation, Upcoming, explain_position, intents_due
from harvest_tasks.operations.guards import read_guards
from harvest_tasks.operations.journal import JournaledDecision, newest_decisions
from harvest_tasks.operations.positions import Book, PositionRow, already_out, position_row, risk_terms
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings
from kernel.positions.decision import Decision
from kernel.positions.guards import Guards, Refusal
from kernel.positions.position import Position
from kernel.positions.rules import Rules


@dataclass(frozen=True, slots=True)
class BookReport:
    """What is known of one book; `explained` is None when it is flat, `records` are newest first."""

    row: PositionRow
    position: Position
    explained: Explanation | None
    guards: Guards
    rules: Rules
    settings: Settings
    records: Sequence[JournaledDecision]

    def holds_back(self, refusal: Refusal) -> bool:
        return self.explained is not None and refusal in self.explained.refusals


def read_book_report(client: Client, settings: Settings, book: Book, records: int) -> BookReport:
    """A report on `book` with its newest `records` journal records; writes nothing."""
    position = book.position
    rules = SymbolRules(client, settings).rules([position.symbol])[position.symbol]
    guards = read_guards(client, settings)
    guards = replace(guards, published=already_out(client, intents_due(position, rules, guards)))
    return BookReport(
        row=position_row(book, rules, guards.now_ms),
        position=position,
        explained=explain_position(position, rules, guards, risk_terms(client, settings, position.symbol)),
        guards=guards,
        rules=rules,
        settings=settings,
        records=newest_decisions(client, position.book, records),
    )


def as_dict(report: BookReport) -> dict[str, Any]:
    """`report` for JSON; that of a flat book has no risk, rungs, guards or intents."""
    explained = report.explained
    journal = [_record(record) for record in report.records]
    position = {"position": asdict(report.row), "reservations": report.position.ladder_state.reservations}
    if explained is None:
        return {**position, "journal": journal}
    return {
        **position,
        "risk": _risk(report, explained),
        "rules": {"overrides": report.rules.overrides, "cost_bps": report.rules.cost_bps},
        "instrument": report.rules.instrument,
        "rungs": explained.rungs,
        "due": [_intent(decision) for decision in explained.due],
        "next": None if explained.upcoming is None else _next(explained.upcoming),
        "guards": {refusal.value: report.holds_back(refusal) for refusal in Refusal},
        "journal": journal,
    }


def _record(record: JournaledDecision) -> Mapping[str, object]:
    times = {name: int(text) for name, text in record.values.items() if name.endswith("_ms")}
    return {"id": record.record_id, "time_ms": record.time_ms, **record.values, **times}


def _risk(report: BookReport, explained: Explanation) -> Mapping[str, object]:
    return {
        "per_unit": report.row.risk_per_unit,
        "source": explained.risk_source,
        "implied_stop": explained.implied_stop,
    }


def _next(upcoming: Upcoming) -> Mapping[str, object]:
    return {"price": upcoming.price, **_intent(upcoming)}


def _intent(asked: Decision | Upcoming) -> Mapping[str, object]:
    fields: dict[str, object] = {"action": asked.action, "held_back_by": asked.refusal}
    names = ("intent_id", "kind", "side", "qty", "rungs", "stop_price", "reason")
    fields["intents"] = [{name: getattr(intent, name) for name in names} for intent in asked.intents]
    return fields
