"""A book report as text: first what is held and what happens next, then why, then what happened."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

import click

from harvest_tasks.commands.explain_tables import show_tables
from harvest_tasks.commands.formatting import cost, duration, figure, how_old, moment, money, percent, printable, r_text
from harvest_tasks.commands.tables import width
from harvest_tasks.operations.book_report import BookReport
from harvest_tasks.operations.explanation import Explanation, RiskSource, Upcoming
from harvest_tasks.operations.positions import PositionRow
from kernel.positions.decision import Decision
from kernel.positions.holding import Origin
from kernel.positions.intent import Intent, IntentKind
from kernel.positions.ladder_state import Reservation
from kernel.positions.quantities import ZERO, exact, plain
from kernel.positions.rules import Rules
from kernel.positions.stops import break_even_price, trailing_distance

LABEL: Final = 9


def print_report(report: BookReport) -> None:
    """Print `report` for a person."""
    for label, text in _lines(report):
        click.echo(_filled(f"{label:<{LABEL}} ", printable(text)))
    show_tables(report)


def _filled(label: str, text: str) -> str:
    return textwrap.fill(
        text,
        width(),
        initial_indent=label,
        subsequent_indent=" " * (LABEL + 1),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _lines(report: BookReport) -> Iterator[tuple[str, str]]:
    row, explained = report.row, report.explained
    if explained is None:
        earned = money(row.banked_pnl + report.position.holding.net_pnl)
        yield row.book, f"flat; {earned} earned so far, net of fees and funding"
        if row.frozen:
            yield "Frozen", f"{row.frozen}. Fix: once its position is right, harvest release {row.book}"
    else:
        yield row.book, _headline(report)
        yield from _what_happens(explained)
        yield from _what_is_held(report, explained)
    if row.waiting:
        yield "Inbox", f"{row.waiting} waiting: no worker has applied them yet"


def _headline(report: BookReport) -> str:
    row = report.row
    aged = "" if row.mark_age_ms is None else f" ({how_old(row.mark_age_ms)})"
    return f"{row.side} {figure(row.qty)} from {figure(row.entry)}, mark {figure(row.mark)}{aged}: R {r_text(row.r)}"


def _what_happens(explained: Explanation) -> Iterator[tuple[str, str]]:
    for decision in explained.due:
        yield "Now", f"{_asked(decision)} is due{_verdict(decision)}"
    if not explained.due:
        yield "Now", "nothing is due"
    upcoming = explained.upcoming
    if upcoming is not None:
        yield "Next", f"{_asked(upcoming)} at mark {figure(upcoming.price)}{_obstacle(upcoming)}"


def _asked(asked: Decision | Upcoming) -> str:
    return _intents(asked.intents) if asked.intents else asked.action


@exact
def _intents(intents: Sequence[Intent]) -> str:
    """The first intent with the quantity of all: they are parts of one harvest."""
    intent = intents[0]
    match intent.kind:
        case IntentKind.HARVEST:
            parts = f" in {len(intents)} parts" if len(intents) > 1 else ""
            qty = figure(sum((part.qty for part in intents), ZERO))
            return f"{intent.side} {qty}{parts} (rung {' + '.join(intent.rungs)})"
        case IntentKind.MOVE_SL_BE:
            return f"the stop's move to {figure(intent.stop_price)} (break-even)"
        case IntentKind.TRAIL_UPDATE:
            return f"the stop's move to {figure(intent.stop_price)} (trailing)"


def _verdict(decision: Decision) -> str:
    if decision.refusal is None:
        return ", and nothing holds it back: the next commit publishes it"
    return f", held back: {decision.refusal}"


def _obstacle(upcoming: Upcoming) -> str:
    return "" if upcoming.refusal is None else f"; now it would be held back: {upcoming.refusal}"


def _what_is_held(report: BookReport, explained: Explanation) -> Iterator[tuple[str, str]]:
    row = report.row
    adopted = ", adopted from the exchange" if row.origin == Origin.ADOPTED else ""
    yield "Position", f"{row.position_id}, {figure(row.base_qty)} entered since {moment(row.opened_ms)} UTC{adopted}"
    yield "PnL", _pnl(row)
    share = percent(row.risk_per_unit / row.entry)
    yield "Risk", f"{figure(row.risk_per_unit)} per unit, {share} of the entry: {_source(report, explained)}"
    yield "Stop", _stop(report)
    for reservation in report.position.ladder_state.reservations:
        yield "Reserved", _reservation(report, reservation)
    yield from _rules(report.rules)


def _pnl(row: PositionRow) -> str:
    parts = [
        f"{money(row.unrealized_pnl)} unrealized",
        f"{money(row.realized_pnl)} realized",
        f"{cost(row.fees)} in fees",
    ]
    parts += [f"{money(row.funding)} funding"] if row.funding else []
    parts += [f"{figure(amount)} {asset} in other fees" for asset, amount in row.other_fees.items()]
    return f"{', '.join(parts)}: {r_text(row.net_r)} R realized, net"


def _rules(rules: Rules) -> Iterator[tuple[str, str]]:
    """Rules that are not the same for every symbol."""
    limits = rules.instrument
    if limits.tick is not None:
        most = "" if limits.max_qty is None else f", at most {figure(limits.max_qty)} an order"
        yield (
            "Exchange",
            f"quantities in steps of {figure(limits.step)}{most}; prices in steps of {figure(limits.tick)}",
        )
    if rules.cost_bps:
        yield "Costs", f"{plain(rules.cost_bps)} bps of the entry are subtracted from R"
    if rules.overrides:
        yield "Rules", f"overridden for this symbol: {rules.overrides}"


def _source(report: BookReport, explained: Explanation) -> str:
    implied = figure(explained.implied_stop)
    match explained.risk_source:
        case RiskSource.OPENING_STOP:
            return f"from its opening stop, {implied}"
        case RiskSource.PUBLISHED_DISTANCE:
            return f"from the published stop_dist_pct, as if the stop were {implied}"
        case RiskSource.FALLBACK:
            return f"from FALLBACK_STOP_PCT, as if the stop were {implied}"
        case RiskSource.EARLIER:
            return f"set when it opened, as if the stop were {implied}"


@exact
def _stop(report: BookReport) -> str:
    state, rules = report.position.ladder_state, report.rules
    if not state.break_even:
        stop, price = figure(state.stop) or "none known", figure(break_even_price(report.position, rules))
        return f"{stop}; moves to break-even at {price} from R {r_text(rules.set_be_at_r)} on"
    distance = trailing_distance(report.position, rules)
    if distance is None:
        return f"{figure(state.stop)}, past break-even; it does not trail: no ATR is known"
    return f"{figure(state.stop)}, past break-even; it trails the best price by {figure(distance)}"


def _reservation(report: BookReport, reservation: Reservation) -> str:
    waited = report.guards.now_ms - reservation.placed_ms
    late = waited > report.settings.harvest_intent_timeout_sec * 1000
    overdue = ", no reply for too long" if late else ""
    return f"{figure(reservation.qty)} by {reservation.intent_id}, {duration(max(0, waited))} ago{overdue}"
