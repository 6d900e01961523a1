"""The tables of a book report: rungs, guards, and the journal."""

from collections.abc import Sequence
from typing import Final

import click
from rich.text import Text

from harvest_tasks.commands.formatting import figure, how_old, percent, recent
from harvest_tasks.commands.tables import Cell, Column, show
from harvest_tasks.operations.book_report import BookReport
from harvest_tasks.operations.explanation import RungState, RungView
from harvest_tasks.operations.journal import JournaledDecision
from kernel.positions.guards import Refusal
from kernel.positions.instrument import Instrument
from kernel.positions.ladder_state import MAX_ATTEMPTS

RUNGS: Final = (
    Column("Rung"),
    Column("Closes", right=True),
    Column("From mark", right=True),
    Column("Away", right=True),
    Column("State"),
)
GUARDS: Final = (Column("Guard"), Column("Verdict"), Column("Now", wraps=True))
JOURNAL: Final = (Column("Time (UTC)"), Column("Decision"), Column("Action"), Column("Reason", wraps=True))
STYLES: Final = {RungState.SPENT: "dim", RungState.DUE: "bold", RungState.ARMED: ""}


DECISION_TEXTS: Final = {
    "exhausted": f"gave up after {MAX_ATTEMPTS} attempts",
    "unanswered": "no reply",
    "clamped": "capped",
}
"""What the table shows for codes of the journal that are not plain words."""


def show_tables(report: BookReport) -> None:
    """Print the rungs, the guards and the journal; of a flat book, only the journal."""
    if report.explained is not None:
        click.echo()
        show(RUNGS, [_rung_cells(rung) for rung in report.explained.rungs])
        click.echo()
        show(GUARDS, [_guard_cells(report, refusal) for refusal in Refusal])
    click.echo()
    if report.records:
        show(JOURNAL, [_record_cells(record) for record in report.records])
    else:
        click.echo(f"No decision in the journal about {report.row.book}.")


def _rung_cells(rung: RungView) -> Sequence[Cell]:
    away = "" if rung.distance is None else percent(rung.distance, signed=True)
    return [
        f"R {rung.name}",
        percent(rung.fraction),
        figure(rung.price) or "none",
        away,
        Text(rung.state + _attempts(rung), STYLES[rung.state]),
    ]


def _attempts(rung: RungView) -> str:
    return f" ({rung.failures} of {MAX_ATTEMPTS} attempts failed)" if rung.failures else ""


def _guard_cells(report: BookReport, refusal: Refusal) -> Sequence[Cell]:
    verdict = Text("holds back", "bold red") if report.holds_back(refusal) else Text("passes", "dim")
    return [refusal.value, verdict, _state(report, refusal)]


def _state(report: BookReport, refusal: Refusal) -> str:
    row, settings = report.row, report.settings
    match refusal:
        case Refusal.KILLED:
            return f"{settings.harvest_kill_switch_key} is {'on' if report.guards.killed else 'off'}"
        case Refusal.STALE:
            return (
                f"the mark is {how_old(row.mark_age_ms or 0)}, {settings.harvest_require_fresh_snapshot_sec} s allowed"
            )
        case Refusal.FROZEN:
            return row.frozen or "not frozen"
        case Refusal.NOTHING_LEFT:
            return f"{figure(report.position.available)} of {figure(row.qty)} is not reserved"
        case Refusal.BELOW_MINIMUM:
            return _minimum(report.rules.instrument)
        case Refusal.RATE_LIMITED:
            limit = settings.harvest_max_actions_per_min
            return f"{limit - report.guards.budget} of {limit} intents used in the last 60 s"
        case Refusal.DUPLICATE:
            return f"{len(report.guards.published) or 'none'} of the due intents were published before"


def _minimum(instrument: Instrument) -> str:
    least = [f"of {figure(instrument.min_qty)}"] if instrument.min_qty else []
    least += [f"worth {figure(instrument.min_notional)}"] if instrument.min_notional else []
    return f"the smallest intent is {' and '.join(least)}" if least else "no minimum is set"


def _record_cells(record: JournaledDecision) -> Sequence[Cell]:
    what = (record.action, record.values.get("side", ""), record.values.get("qty", ""))
    decision = DECISION_TEXTS.get(record.decision, record.decision)
    return [recent(record.time_ms), decision, " ".join(filter(None, what)), record.reason]
