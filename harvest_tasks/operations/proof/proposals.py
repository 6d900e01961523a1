"""Checks of the proposals' inputs, of what a cycle would compute now, and of what Redis holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Self

from harvest_tasks.metrics.scrape import Scrape
from harvest_tasks.operations import diagnosis
from harvest_tasks.operations.diagnosis import listed
from harvest_tasks.operations.proof.check import CheckResult, check_of, fails, from_findings, not_run, passes, refusals
from harvest_tasks.proposing import inputs, markets
from harvest_tasks.proposing.cycle import ALL_SYMBOLS, chosen_symbols, decide_proposals
from harvest_tasks.proposing.inputs import Inputs
from harvest_tasks.proposing.publish import Publication
from harvest_tasks.proposing.skip_reason import NoProposal
from harvest_tasks.proposing.summary import ProposalOutcome
from harvest_tasks.server.client import Client
from harvest_tasks.server.clock import server_sec
from harvest_tasks.server.liveness import oldest_sec
from harvest_tasks.settings.model import Settings
from kernel.proposals.partial_exit import HarvestAction

_FIELDS: Final = ("harvest_action", "R_net", "kill_score", "last_update_epoch")
PROPOSER: Final = diagnosis.UNITS["proposals"]
RESTART_PROPOSALS: Final = f"systemctl restart {PROPOSER} (or harvest up); journalctl -u {PROPOSER}"


@dataclass(frozen=True, slots=True)
class ProposalInputs:
    """The inputs of all proposals at `now` (unix s), and what a cycle would decide from them."""

    now: float
    gathered: Sequence[Inputs]
    decided: Sequence[Publication | ProposalOutcome]

    @classmethod
    def of(cls, client: Client, settings: Settings) -> Self:
        """Reads what a cycle reads, and writes nothing."""
        now = server_sec(client)
        gathered = inputs.read_inputs(client, settings, chosen_symbols(client, settings.symbols or (ALL_SYMBOLS,)))
        return cls(
            now, gathered, [decision for found in gathered for decision in decide_proposals(found, settings, now)]
        )

    @property
    def due(self) -> list[str]:
        """The books that should have a proposal."""
        return [d.book for d in self.decided if isinstance(d, Publication) and d.fields]


@check_of("market state")
def check_market_states(current: ProposalInputs, settings: Settings, scrape: Scrape) -> CheckResult:
    """Whether each symbol has a valid market state."""
    given = {found.symbol: found.market for found in current.gathered if found.market != {}}
    wrong = refusals(given, lambda reply: markets.read_market(reply, is_synthetic=False), NoProposal)
    if wrong:
        first = next(iter(wrong))
        remedy = f"correct the service that writes {settings.marketstate_prefix}{first}"
        return fails(listed(f"{name}: {why}" for name, why in wrong.items()), remedy)
    oldest = max(scrape.by("symbol", "market_state_age_seconds").values(), default=None)
    aged = "none states its time" if oldest is None else f"the oldest is {oldest:.0f} s old"
    return from_findings(
        [diagnosis.market_states_missing(scrape)],
        f"{len(given)} of {len(current.gathered)} symbols have a valid one, {aged}",
    )


@check_of("risk proposals")
def check_risk_proposals(current: ProposalInputs, settings: Settings) -> CheckResult:
    """Whether each risk proposal is valid; names the symbols that use the fallback."""
    wrong = refusals({found.symbol: found.risk for found in current.gathered}, markets.read_risk_proposal, NoProposal)
    if wrong:
        first = next(iter(wrong))
        remedy = f"correct the service that writes {settings.riskproposal_prefix}{first}"
        return fails(listed(f"{name}: {why}" for name, why in wrong.items()), remedy)
    without = [found.symbol for found in current.gathered if not _states_distance(found)]
    seen = f"{len(current.gathered) - len(without)} of {len(current.gathered)} symbols have one"
    if without:
        seen += f"; FALLBACK_STOP_PCT={settings.fallback_stop_pct} is used for {listed(without)}"
    return passes(seen)


@check_of("one cycle")
def check_one_cycle(current: ProposalInputs) -> CheckResult:
    """What `harvest propose --once` would compute now, without its writes."""
    wrong = [f"{d.book}: {d.detail or d.reason}" for d in current.decided if isinstance(d, ProposalOutcome)]
    if wrong:
        return fails(f"not computed: {listed(wrong)}", "correct that input; check again with harvest propose --once")
    flat = len(current.decided) - len(current.due)
    return passes(f"{len(current.due)} proposals computed, {flat} books without a position, nothing written")


@check_of("proposals")
def check_published(
    client: Client, settings: Settings, before: ProposalInputs, current: ProposalInputs, scrape: Scrape
) -> CheckResult:
    """Whether Redis holds a recent, complete proposal for each book that was due one before and after the watch."""
    books = [book for book in current.due if book in before.due]
    synthetic = diagnosis.positions_synthetic(scrape)
    if synthetic:
        return from_findings([synthetic], "")
    if not books:
        flawed = any(isinstance(decision, ProposalOutcome) for decision in current.decided)
        return not_run("none can be computed" if flawed else "no symbol has an open position, so no proposal is due")
    held = _held(client, settings, books)
    oldest = oldest_sec(settings.publish_interval_sec)
    wrong = [f"{book} {why}" for book, fields in held.items() if (why := _flaw(fields, current.now, oldest))]
    return fails(listed(wrong), RESTART_PROPOSALS) if wrong else passes(listed(map(_gist, held.items()), "; "))


def _states_distance(found: Inputs) -> bool:
    risk = markets.read_risk_proposal(found.risk)
    return bool(risk and risk.stop_dist_pct and risk.stop_dist_pct > 0)


def _held(client: Client, settings: Settings, books: Sequence[str]) -> dict[str, dict[str, str]]:
    """The proposal of each book; empty if it has none, or the key is of another type."""
    with client.pipeline(transaction=False) as pipe:
        for book in books:
            pipe.hgetall(settings.harvest_prefix + book)
        replies: list[Any] = pipe.execute(raise_on_error=False)
    return {book: reply if isinstance(reply, dict) else {} for book, reply in zip(books, replies, strict=True)}


def _flaw(fields: Mapping[str, str], now: float, oldest: float) -> str:
    """What is wrong with a proposal; empty if nothing is."""
    if not fields:
        return "has none"
    try:
        action, *numbers = (fields[name] for name in _FIELDS)
        HarvestAction(action)
        _, _, looked = (Decimal(text) for text in numbers)
    except (KeyError, ValueError, InvalidOperation):
        return f"has one without {', '.join(_FIELDS)}"
    age = now - float(looked)
    return f"was computed {age:.0f} s ago" if age > oldest else ""


def _gist(item: tuple[str, Mapping[str, str]]) -> str:
    book, fields = item
    return f"{book} {fields['harvest_action']}, R {float(fields['R_net']):.2f}, K {float(fields['kill_score']):.3f}"
