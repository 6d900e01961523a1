"""Builds what the kernel works on: entries (a clock counts them), rules, guards, ladders; folds them and decides."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import count
from typing import Any

from kernel.positions.decision import Decision, decide
from kernel.positions.entry import Entry, Fill, Mark, OrderEnded, OrderEndStatus, Side
from kernel.positions.guards import Guards
from kernel.positions.holding import RiskTerms
from kernel.positions.intent import Intent
from kernel.positions.ladder import Basis, Ladder, Rung
from kernel.positions.position import Position, apply
from kernel.positions.quantities import exact
from kernel.positions.rules import Rules

START_MS = 1_700_000_000_000
NOW_MS = START_MS + 1_000_000_000
"""After every entry, however many the tests before made."""
TERMS = RiskTerms()
_clock = count(1)


def ladder(text: str = "0.5:0.25,1.0:0.25,1.5:0.25", basis: Basis = Basis.ORIGINAL) -> Ladder:
    pairs = [item.split(":") for item in text.split(",")]
    return Ladder(tuple(Rung(Decimal(r), Decimal(fraction)) for r, fraction in pairs), basis)


def rules(**values: Any) -> Rules:
    """The default ladder without stops, unless `values` say otherwise."""
    return Rules(**{"ladder": ladder(), "set_be_at_r": Decimal(1000), **values})


def guards(now_ms: int = NOW_MS, **values: Any) -> Guards:
    return Guards(**{"now_ms": now_ms, "fresh_ms": 10**15, "killed": False, "budget": 1000, **values})


def next_id() -> str:
    return f"{START_MS + next(_clock)}-0"


def fill(side: str, qty: str, price: str, **values: Any) -> Fill:
    source_id = values.pop("source_id", None) or next_id()
    time_ms = values.pop("time_ms", int(source_id.partition("-")[0]))
    return Fill(source_id, time_ms, Side(side), Decimal(qty), Decimal(price), **values)


def mark(price: str, **values: Any) -> Mark:
    source_id = values.pop("source_id", None) or next_id()
    return Mark(source_id, values.pop("time_ms", int(source_id.partition("-")[0])), Decimal(price))


def outcome(intent_id: str, status: str = "REJECTED") -> OrderEnded:
    source_id = next_id()
    return OrderEnded(source_id, int(source_id.partition("-")[0]), OrderEndStatus(status), intent_id)


@exact
def fold(position: Position, entries: Iterable[Entry], terms: RiskTerms = TERMS) -> Position:
    """`position` after all `entries`, in order, in one decimal context."""
    for entry in entries:
        position = apply(position, entry, terms)
    return position


def long_100(**values: Any) -> Fill:
    """Buys 1 at 100 with a stop at 90: R is a tenth of the move."""
    return fill("BUY", "1", "100", **{"stop_loss": Decimal(90), **values})


def short_100(**values: Any) -> Fill:
    """Sells 1 at 100 with a stop at 110."""
    return fill("SELL", "1", "100", **{"stop_loss": Decimal(110), **values})


def look(position: Position, the_rules: Rules, the_guards: Guards) -> tuple[Position, list[Decision]]:
    """Decide once: what is new."""
    position, _, decisions = decide(position, the_rules, the_guards)
    return position, [decision for decision in decisions if not decision.repeated]


def run(
    entries: Sequence[Entry],
    the_rules: Rules | None = None,
    the_guards: Guards | None = None,
    position: Position | None = None,
) -> tuple[Position, list[Decision]]:
    """Fold `entries` one by one, deciding after each; all recorded decisions."""
    position = position or Position("BTCUSDT")
    made: list[Decision] = []
    for entry in entries:
        position = apply(position, entry, TERMS)
        position, decisions = look(position, the_rules or rules(), the_guards or guards())
        made += decisions
    return position, made


def intents(decisions: Sequence[Decision]) -> list[Intent]:
    """What was published."""
    return [intent for d in decisions if d.refusal is None for intent in d.intents]


def refusals(decisions: Sequence[Decision]) -> list[tuple[str, str]]:
    """What was held back: action and reason."""
    return [(d.action, d.refusal.value) for d in decisions if d.refusal is not None]
