"""The summary of a session in numbers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

from harvest_tasks.settings.model import Settings
from harvest_tasks.simulation.demo import baseline, verification
from harvest_tasks.simulation.demo.prices import Prices
from harvest_tasks.simulation.demo.recording import Recording, parse_intent
from harvest_tasks.simulation.demo.session import Session
from harvest_tasks.simulation.demo.strategy import Strategy
from harvest_tasks.simulation.paper.execution import ExecutionTerms
from kernel.positions.quantities import EXACT, ZERO

CENT: Final = Decimal("0.01")
ENTRY_COUNTS: Final = ("in", "applied", "duplicate", "deadlettered", "ignored")
ANSWERS: Final = ("filled", "rejected", "expired", "ignored")
CLOSE_REASONS: Final = ("stop", "time", "end")
STOP_MOVES: Final = ("MOVE_SL_BE", "TRAIL_UPDATE")


@dataclass(frozen=True, slots=True)
class ProfitSummary:
    """The profit of positions in USDT, net of fees and slippage."""

    pnl: Decimal
    positions: int
    won: int
    worst: Decimal

    @classmethod
    def of(cls, outcomes: Sequence[Decimal]) -> "ProfitSummary":
        worst = min(outcomes, default=ZERO)
        return cls(_cents(sum(outcomes, ZERO)), len(outcomes), sum(each > 0 for each in outcomes), _cents(worst))


@dataclass(frozen=True, slots=True)
class Summary:
    """`without_harvesting` is the baseline of the same openings. `differences` is empty when verified."""

    minutes: int
    minutes_on_tape: int
    fills: Mapping[str, int]
    entries: Mapping[str, int]
    intents: Mapping[str, int]
    intents_by_rung: Mapping[str, int]
    intents_digest: str
    stop_moves: Mapping[str, int]
    with_harvesting: ProfitSummary
    without_harvesting: ProfitSummary
    fee_bps: Decimal
    slippage_bps: Decimal
    proposals: Mapping[str, int]
    differences: Sequence[str]

    @property
    def verified(self) -> bool:
        return not self.differences

    def as_dict(self) -> dict[str, Any]:
        """The summary as `--json` prints it."""
        return {"verified": self.verified, **asdict(self)}


def summarize(
    recording: Recording,
    settings: Settings,
    session: Session,
    prices: Prices,
    strategy: Strategy,
    terms: ExecutionTerms,
) -> Summary:
    """The summary of `session`, verified against the kernel."""
    folded = verification.fold_entries(recording.entries, settings)
    played = prices.first(session.minute + 1)
    without_harvest = baseline.baseline_profits(session.openings, played, strategy, terms)
    intents = [parse_intent(payload) for payload in recording.intents]
    return Summary(
        minutes=played.minutes,
        minutes_on_tape=prices.minutes,
        fills={"in": folded.fills, **_fill_counts(session, recording)},
        entries={name: recording.counts.get(name, 0) for name in ENTRY_COUNTS},
        intents=_answers(intents, recording),
        intents_by_rung=_by_rung(intents, settings),
        intents_digest=recording.digest,
        stop_moves={kind: sum(intent["intent_type"] == kind for intent in intents) for kind in STOP_MOVES},
        with_harvesting=ProfitSummary.of(folded.lifecycles),
        without_harvesting=ProfitSummary.of(without_harvest),
        fee_bps=terms.fee_bps,
        slippage_bps=terms.slippage_bps,
        proposals=_under("proposals:", recording.counts),
        differences=verification.differences(recording, folded),
    )


def _cents(money: Decimal) -> Decimal:
    return money.quantize(CENT, ROUND_HALF_EVEN, EXACT)


def _fill_counts(session: Session, recording: Recording) -> dict[str, int]:
    closed = {f"closed_by_{way}": session.closings[way] for way in CLOSE_REASONS}
    return {"opened": len(session.openings), "harvested": recording.counts.get("paper:filled", 0), **closed}


def _answers(intents: Sequence[Mapping[str, Any]], recording: Recording) -> dict[str, int]:
    answers = {answer: n for answer, n in _under("paper:", recording.counts).items() if answer in ANSWERS}
    return {"published": sum(intent["intent_type"] not in STOP_MOVES for intent in intents), **answers}


def _by_rung(intents: Sequence[Mapping[str, Any]], settings: Settings) -> dict[str, int]:
    """The number of intents that include each rung."""
    fired = Counter(rung for intent in intents for rung in intent["rungs"])
    return {rung.name: fired[rung.name] for rung in settings.ladder.rungs}


def _under(prefix: str, counts: Mapping[str, int]) -> dict[str, int]:
    return {name.removeprefix(prefix): n for name, n in sorted(counts.items()) if name.startswith(prefix)}
