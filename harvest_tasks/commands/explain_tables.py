"""The tables of an account: rungs, guards, and the journal."""

from collections.abc import Sequence
from typing import Final

import click
from rich.text import Text

from harvest_tasks.commands.formatting import figure, how_old, percent, recent
from harvest_tasks.commands.tables import Cell, Column, show
from harvest_tasks.operations.book_report import BookReport
from harvest_tasks.operations.explanation import RungState, RungView
from harvest_tasks.operations.journal import JournalRecord
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
JOURNAL: Final = (Column("Time (UTC)"), Column("Decision"), Column("What"), Column("Why", wraps=True))
STYLES: Final = {RungState.SPENT: "dim", RungState.DUE: "bold", RungState.ARMED: ""}


def show_tables(account: BookReport) -> None:
    """Print them; of a flat book, only the journal."""
    if account.explained is not None:
        click.echo()
        show(RUNGS, [_rung_cells(rung) for rung in account.explained.rungs])
        click.echo()
        show(GUARDS, [_guard_cells(account, refusal) for refusal in Refusal])
    click.echo()
    if account.records:
        show(JOURNAL, [_record_cells(record) for record in account.records])
    else:
        click.echo(f"The journal says nothing about {account.row.book}.")


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


def _guard_cells(account: BookReport, refusal: Refusal) -> Sequence[Cell]:
    verdict = Text("holds back", "bold red") if account.holds_back(refusal) else Text("lets pass", "dim")
    return [refusal.value, verdict, _state(account, refusal)]


def _state(account: BookReport, refusal: Refusal) -> str:
    row, settings = account.row, account.settings
    match refusal:
        case Refusal.KILLED:
            return f"{settings.harvest_kill_switch_key} is {'on' if account.guards.killed else 'off'}"
        case Refusal.STALE:
            return (
                f"the mark is {how_old(row.mark_age_ms or 0)}, {settings.harvest_require_fresh_snapshot_sec} s allowed"
            )
        case Refusal.FROZEN:
            return row.frozen or "not frozen"
        case Refusal.NOTHING_LEFT:
            return f"{figure(account.position.available)} of {figure(row.qty)} is not reserved"
        case Refusal.BELOW_MINIMUM:
            return _minimum(account.rules.instrument)
        case Refusal.RATE_LIMITED:
            left = max(0, account.guards.budget)
            return f"{left} of {settings.harvest_max_actions_per_min} intents are left in these 60 s"
        case Refusal.DUPLICATE:
            return f"{len(account.guards.published) or 'none'} of the due intents went out before"


def _minimum(instrument: Instrument) -> str:
    least = [f"of {figure(instrument.min_qty)}"] if instrument.min_qty else []
    least += [f"worth {figure(instrument.min_notional)}"] if instrument.min_notional else []
    return f"the smallest intent is {' and '.join(least)}" if least else "no minimum is set"


def _record_cells(record: JournalRecord) -> Sequence[Cell]:
    what = (record.action, record.values.get("side", ""), record.values.get("qty", ""))
    return [recent(record.time_ms), record.decision, " ".join(filter(None, what)), record.reason]
