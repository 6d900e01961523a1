"""What other programs publish about a market: its state, and how far away a stop should be."""

from dataclasses import dataclass

from kernel.proposals import bounds

_PROBABILITIES = ("p_trend", "p_mr", "p_chop")


@dataclass(frozen=True, slots=True)
class MarketState:
    """`sigma` is volatility (a ratio, >= 0), `ts` the trend strength, and `p_*` how probable a regime is.

    The regimes are trend, mean reversion and chop; each probability is from 0 to 1. Raises `InvalidNumber`.
    """

    sigma: float
    ts: float
    p_trend: float
    p_mr: float
    p_chop: float

    def __post_init__(self) -> None:
        bounds.NON_NEGATIVE.check(self, ("sigma",))
        bounds.FINITE.check(self, ("ts",))
        bounds.PROBABILITY.check(self, _PROBABILITIES)


@dataclass(frozen=True, slots=True)
class P1Proposal:
    """A risk proposal: `stop_dist_pct` is a share of the entry (0.02 is 2 %), the others are prices (quote currency).

    A `stop_dist_pct` of 0 or less counts as not given. Raises `InvalidNumber`.
    """

    stop_dist_pct: float | None = None
    proposed_sl: float | None = None
    proposed_tp: float | None = None

    def __post_init__(self) -> None:
        bounds.FINITE.check_given(self, ("stop_dist_pct",))
        bounds.PRICE.check_given(self, ("proposed_sl", "proposed_tp"))
        if self.stop_dist_pct is not None and self.stop_dist_pct > 0:
            bounds.FRACTION.check(self, ("stop_dist_pct",))
