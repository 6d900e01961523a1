"""The texts of the demo: the introduction before a run, and the results after it."""

from collections.abc import Iterator, Mapping

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harvest_tasks.simulation.demo.market_inputs import MARKET_STATE_RULE
from harvest_tasks.simulation.demo.prices import Prices
from harvest_tasks.simulation.demo.strategy import Strategy
from harvest_tasks.simulation.demo.summary import ProfitSummary, Summary
from harvest_tasks.simulation.paper.execution import ExecutionTerms
from kernel.positions.quantities import plain


def introduction(prices: Prices, strategy: Strategy, terms: ExecutionTerms) -> Iterator[RenderableType]:
    yield Text(f"harvest demo: {prices.minutes} minutes of {' and '.join(prices.symbols)}", style="bold")
    costs = f"{plain(terms.fee_bps)} bps fee and {plain(terms.slippage_bps)} bps slippage"
    lines = (
        "Prices: Binance one-minute candles from 2018, replayed as four prices a minute with current timestamps.",
        *strategy.rules,
        MARKET_STATE_RULE,
        f"Costs: {costs} on every fill. The executor rejects {terms.reject_share:.0%} of intents, to show retries.",
    )
    for line in lines:
        yield Padding(Text(line, style="dim"), (0, 0, 0, 2), expand=False)


def conclusion(summary: Summary) -> Iterator[RenderableType]:
    yield _table(summary)
    if summary.minutes < summary.minutes_on_tape:
        yield Text(
            f"Ended early, after {summary.minutes} of {summary.minutes_on_tape} minutes, because this machine is slow."
        )
    yield Text(
        "Both markets trend, so holding earned more than taking profit early. One day of two markets is no benchmark.",
        style="dim",
    )
    if summary.verified:
        entries, intents = summary.entries["in"], summary.intents["published"] + sum(summary.stop_moves.values())
        yield Text.assemble(
            ("verified", "bold green"),
            f": the kernel alone, given the same {entries:,} entries, computes the same positions and the same"
            f" {intents} intents, byte for byte",
        )
    else:
        yield Text(f"NOT verified: {len(summary.differences)} differences", style="bold red")
        for difference in summary.differences:
            yield Padding(Text(difference), (0, 0, 0, 2), expand=False)


def _table(summary: Summary) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column()
    for name, text in _rows(summary):
        table.add_row(name, text)
    return table


def _rows(summary: Summary) -> Iterator[tuple[str, str]]:
    yield "Fills", _counts(summary.fills)
    yield "Entries", _counts(summary.entries)
    yield "Intents", _counts(summary.intents)
    yield "By rung", ", ".join(f"{n} at {rung} R" for rung, n in summary.intents_by_rung.items())
    yield "Stop moves", ", ".join(f"{n} {kind}" for kind, n in summary.stop_moves.items())
    yield "Proposals", _counts(summary.proposals)
    yield "With harvesting", _result(summary.with_harvesting)
    yield "Without", f"{_result(summary.without_harvesting)} (each position held to its stop or time limit)"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {name.replace('_', ' ').replace(':', ': ')}" for name, n in counts.items())


def _result(result: ProfitSummary) -> str:
    return (
        f"{result.pnl:+,.2f} USDT net of fees; {result.won} of {result.positions} positions won,"
        f" worst {result.worst:+,.2f}"
    )
