"""What the demo says before and after: what will be played, and what came of it."""

from collections.abc import Iterator, Mapping

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harvest_tasks.simulation.demo.market_inputs import RULE
from harvest_tasks.simulation.demo.prices import Tape
from harvest_tasks.simulation.demo.strategy import Strategy
from harvest_tasks.simulation.demo.summary import Result, Summary
from harvest_tasks.simulation.paper.execution import Terms
from kernel.positions.quantities import plain


def introduction(tape: Tape, strategy: Strategy, terms: Terms) -> Iterator[RenderableType]:
    yield Text(f"harvest demo: {tape.minutes} minutes of {' and '.join(tape.symbols)}", style="bold")
    costs = f"{plain(terms.fee_bps)} bps of fee and {plain(terms.slippage_bps)} bps of slippage"
    lines = (
        "Prices: Binance, one-minute candles of 2018, four prices each, sent as if they were now.",
        *strategy.rules,
        RULE,
        f"Every fill pays {costs}; the executor rejects {terms.reject_share:.0%} of the intents, to show the retries.",
    )
    for line in lines:
        yield Padding(Text(line, style="dim"), (0, 0, 0, 2), expand=False)


def conclusion(summary: Summary) -> Iterator[RenderableType]:
    yield _table(summary)
    if summary.minutes < summary.minutes_on_tape:
        yield Text(f"Ended early, after {summary.minutes} of {summary.minutes_on_tape} minutes: this machine is slow.")
    yield Text(
        "Both tapes trend, so what is taken early is missed later. Two markets on one day say nothing about what pays.",
        style="dim",
    )
    if summary.verified:
        entries, intents = summary.entries["in"], summary.intents["published"] + sum(summary.stop_moves.values())
        yield Text.assemble(
            ("verified", "bold green"),
            f": the kernel alone, folded over the same {entries:,} entries, gives the same positions and, byte for"
            f" byte, the same {intents} intents",
        )
    else:
        yield Text(f"NOT verified: {len(summary.differences)} differences", style="bold red")
        for difference in summary.differences:
            yield Padding(Text(difference), (0, 0, 0, 2), expand=False)


def _table(summary: Summary) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column()
    for name, said in _rows(summary):
        table.add_row(name, said)
    return table


def _rows(summary: Summary) -> Iterator[tuple[str, str]]:
    yield "Fills in", _counts(summary.fills)
    yield "Entries", _counts(summary.entries)
    yield "Intents", _counts(summary.intents)
    yield "by rung", ", ".join(f"{n} at {rung} R" for rung, n in summary.intents_by_rung.items())
    yield "Stop moves", ", ".join(f"{n} {kind}" for kind, n in summary.stop_moves.items())
    yield "Proposals", _counts(summary.proposals)
    yield "With harvesting", _result(summary.with_harvesting)
    yield "Without", f"{_result(summary.without_harvesting)}, each held to its own stop or time"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in counts.items())


def _result(result: Result) -> str:
    return (
        f"{result.pnl:+,.2f} USDT net of fees; {result.won} of {result.positions} positions won,"
        f" the worst came to {result.worst:+,.2f}"
    )
