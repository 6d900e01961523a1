"""What a session came to, in figures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

from harvest_tasks.settings.model import Settings
from harvest_tasks.simulation.demo import baseline, verification
from harvest_tasks.simulation.demo.prices import Tape
from harvest_tasks.simulation.demo.recording import Evidence, read
from harvest_tasks.simulation.demo.session import Session
from harvest_tasks.simulation.demo.strategy import Strategy
from harvest_tasks.simulation.paper.execution import Terms
from kernel.positions.quantities import EXACT, ZERO

CENT: Final = Decimal("0.01")
ENTRY_COUNTS: Final = ("in", "applied", "duplicate", "deadlettered", "ignored")
ANSWERS: Final = ("filled", "rejected", "expired", "ignored")
WAYS_TO_CLOSE: Final = ("stop", "time", "end")
STOP_MOVES: Final = ("MOVE_SL_BE", "TRAIL_UPDATE")


@dataclass(frozen=True, slots=True)
class Result:
    """What positions came to in USDT, net of fees and slippage."""

    pnl: Decimal
    positions: int
    won: int
    worst: Decimal

    @classmethod
    def of(cls, outcomes: Sequence[Decimal]) -> "Result":
        worst = min(outcomes, default=ZERO)
        return cls(_cents(sum(outcomes, ZERO)), len(outcomes), sum(each > 0 for each in outcomes), _cents(worst))


@dataclass(frozen=True, slots=True)
class Summary:
    """`without_harvesting` is of the same openings, held to their own end. `differences` is empty when verified."""

    minutes: int
    minutes_on_tape: int
    fills: Mapping[str, int]
    entries: Mapping[str, int]
    intents: Mapping[str, int]
    intents_by_rung: Mapping[str, int]
    intents_digest: str
    stop_moves: Mapping[str, int]
    with_harvesting: Result
    without_harvesting: Result
    fee_bps: Decimal
    slippage_bps: Decimal
    proposals: Mapping[str, int]
    differences: Sequence[str]

    @property
    def verified(self) -> bool:
        return not self.differences

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"verified": self.verified, **asdict(self)}


def summarize(
    evidence: Evidence, settings: Settings, session: Session, tape: Tape, strategy: Strategy, terms: Terms
) -> Summary:
    """Also verifies the session."""
    folded = verification.fold(evidence.entries, settings)
    played = tape.cut(session.minute + 1)
    held = baseline.outcomes(session.openings, played, strategy, terms)
    intents = [read(payload) for payload in evidence.intents]
    return Summary(
        minutes=played.minutes,
        minutes_on_tape=tape.minutes,
        fills={"in": folded.fills, **_ways(session, evidence)},
        entries={name: evidence.counts.get(name, 0) for name in ENTRY_COUNTS},
        intents=_answers(intents, evidence),
        intents_by_rung=_by_rung(intents, settings),
        intents_digest=evidence.digest,
        stop_moves={kind: sum(intent["intent_type"] == kind for intent in intents) for kind in STOP_MOVES},
        with_harvesting=Result.of(folded.lifecycles),
        without_harvesting=Result.of(held),
        fee_bps=terms.fee_bps,
        slippage_bps=terms.slippage_bps,
        proposals=_under("proposals:", evidence.counts),
        differences=verification.differences(evidence, folded),
    )


def _cents(money: Decimal) -> Decimal:
    return money.quantize(CENT, ROUND_HALF_EVEN, EXACT)


def _ways(session: Session, evidence: Evidence) -> dict[str, int]:
    closed = {f"closed_by_{way}": session.closings[way] for way in WAYS_TO_CLOSE}
    return {"opened": len(session.openings), "harvested": evidence.counts.get("paper:filled", 0), **closed}


def _answers(intents: Sequence[Mapping[str, Any]], evidence: Evidence) -> dict[str, int]:
    answers = {answer: n for answer, n in _under("paper:", evidence.counts).items() if answer in ANSWERS}
    return {"published": sum(intent["intent_type"] not in STOP_MOVES for intent in intents), **answers}


def _by_rung(intents: Sequence[Mapping[str, Any]], settings: Settings) -> dict[str, int]:
    """How many intents each rung had a part in."""
    fired = Counter(rung for intent in intents for rung in intent["rungs"])
    return {rung.name: fired[rung.name] for rung in settings.ladder.rungs}


def _under(prefix: str, counts: Mapping[str, int]) -> dict[str, int]:
    return {name.removeprefix(prefix): n for name, n in sorted(counts.items()) if name.startswith(prefix)}
