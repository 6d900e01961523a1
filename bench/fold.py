"""The fold alone: fills of one position through the kernel, and through NautilusTrader's position.

Both only compute in one process, so CPU time is measured, which excludes other work on the machine."""

import random
from collections.abc import Iterator, Sequence
from decimal import Decimal
from math import isclose
from statistics import median
from time import process_time
from typing import Final

from bench import nautilus
from bench.pairs import spread
from bench.report import Goal, Result
from bench.setup import Setup
from kernel.positions.entry import Fill, Side
from kernel.positions.holding import RiskTerms
from kernel.positions.position import Position, apply
from kernel.positions.quantities import exact

UNIT: Final = "fills/s"
TERMS: Final = RiskTerms(None, Decimal("0.02"))
FAST_ENOUGH: Final = Goal("ours", at_least=200_000)

FillRow = tuple[str, str, str, str]
"""Side, quantity, price and fee of a fill."""


def one_position(count: int) -> list[FillRow]:
    """Fills of a position that grows and shrinks and stays open."""
    rng = random.Random(7)  # noqa: S311 - repeatable
    held, price, rows = 0, 60_000.0, []
    for n in range(count):
        price *= 1 + rng.uniform(-1, 1) * 0.0002
        buys = held < 2_000 or (held < 20_000 and rng.random() < 0.5)
        lots = rng.randint(1, 1_000) if n else 10_000
        held += lots if buys else -lots
        qty, at = f"{lots / 1000:.3f}", f"{price:.1f}"
        rows.append(("BUY" if buys else "SELL", qty, at, f"{float(qty) * price * 0.0004:.8f}"))
    return rows


def entries(rows: Sequence[FillRow]) -> list[Fill]:
    """`rows` as parsed fills, a thousand per millisecond."""
    return [
        Fill(
            f"{1_700_000_000_000 + n // 1_000}-{n % 1_000}",
            1_700_000_000_000 + n // 1_000,
            Side(side),
            Decimal(qty),
            Decimal(price),
            str(n),
            fee=Decimal(fee),
        )
        for n, (side, qty, price, fee) in enumerate(rows)
    ]


@exact
def seconds(fills: Sequence[Fill]) -> tuple[float, Position]:
    """CPU seconds that the kernel takes for `fills`, and the resulting position."""
    started = process_time()
    position = Position("BTCUSDT")
    for fill in fills:
        position = apply(position, fill, TERMS)
    return process_time() - started, position


def against_nautilus_1k(setup: Setup) -> Iterator[Result]:
    yield _against_nautilus("fold_vs_nautilus_1k", 1_000, setup.pick(15, 7), setup.pick(15, 7))


def against_nautilus_20k(setup: Setup) -> Iterator[Result]:
    """The comparison at 20,000 fills, where NautilusTrader takes seconds per run."""
    yield _against_nautilus("fold_vs_nautilus_20k", 20_000, setup.pick(5, 1), setup.pick(3, 1))


def _against_nautilus(name: str, count: int, repeat: int, theirs_repeat: int) -> Result:
    """Measure ours before and after the peer, which runs in its own process."""
    rows = one_position(count)
    fills = entries(rows)
    before = [seconds(fills) for _ in range(repeat)]
    try:
        theirs = nautilus.fold(rows, theirs_repeat)
    except nautilus.NoNautilus as error:
        theirs, missing = None, f"no NautilusTrader here: {error}"
    runs = [*before, *(seconds(fills) for _ in range(repeat))]
    rates = [count / took for took, _ in runs]
    if theirs is None:
        return Result(name, UNIT, median(rates), spread=spread(rates), goal=FAST_ENOUGH, note=missing)
    _agree(runs[0][1], theirs)
    peer = count / median(theirs["seconds"])
    # Each run of ours against each of the peer's.
    ratios = [rate * took / count for rate in rates for took in theirs["seconds"]]
    label, note = f"NautilusTrader {theirs['version']}", "the same quantity, mean entry and result in both"
    return Result(name, UNIT, median(rates), peer, label, median(ratios), spread(ratios), None, FAST_ENOUGH, note)


def _agree(position: Position, theirs: "dict[str, float]") -> None:
    """Check that both computed the same, up to rounding of floats."""
    holding = position.holding
    assert isclose(float(holding.qty), theirs["qty"], abs_tol=1e-9), (holding, theirs)
    assert isclose(float(holding.avg_entry), theirs["avg"], rel_tol=1e-9), (holding, theirs)
    assert isclose(float(holding.net_pnl), theirs["realized"], rel_tol=1e-4), (holding, theirs)
