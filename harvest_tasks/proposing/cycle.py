"""One cycle of proposals: read, compute, publish.

A cycle reads everything about its symbols in one round trip, or in two if some are tracked. The server publishes the
first proposals while the next ones are computed; the cycle waits for its replies once, at the end.
"""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import groupby
from typing import Final, cast

from harvest_tasks.proposing import markets, publish
from harvest_tasks.proposing.inputs import Inputs, read_inputs
from harvest_tasks.proposing.publish import LIFETIMES, Publication, PublishReply, removal
from harvest_tasks.proposing.record import proposal_fields
from harvest_tasks.proposing.skip_reason import NoProposal, SkipReason
from harvest_tasks.proposing.sources import OpenPosition, Source, SourcedPosition, sourced_positions
from harvest_tasks.proposing.summary import CycleSummary, ProposalOutcome, ProposalResult
from harvest_tasks.server import keys, liveness
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.symbols import symbol_of, valid_symbol
from kernel.proposals.proposal import compute_harvest_proposal
from kernel.proposals.theta import HarvestTheta

ALL_SYMBOLS: Final = "*"


def run_cycle(client: Client, settings: Settings, names: Sequence[str], now: float) -> CycleSummary:
    """Run one cycle over the symbols `names`, or, with `*`, over every symbol that ever had a fill.

    `*` includes closed positions, so that their proposals are removed; a position that only another program knows must
    be named. `now` is in unix seconds by the server's clock. Raises `InvalidSymbol` before anything is read.
    """
    gathered = read_inputs(client, settings, chosen_symbols(client, names))

    decided = (decision for inputs in gathered for decision in decide_proposals(inputs, settings, now))

    outcomes = apply_decisions(client, settings, decided, now)
    summary = CycleSummary(int(now * 1000), outcomes, _stale(gathered, settings, now))
    _record_cycle(client, summary)
    summary.report()
    return summary


def chosen_symbols(client: Client, names: Sequence[str]) -> list[str]:
    if ALL_SYMBOLS in names:
        return sorted({symbol_of(book) for book in cast("set[str]", client.smembers(keys.BOOKS))})
    return [valid_symbol(name) for name in dict.fromkeys(names)]


def decide_proposals(inputs: Inputs, settings: Settings, now: float) -> Iterator[Publication | ProposalOutcome]:
    """What to publish for each book of the symbol, or why nothing can be published; at least one decision."""
    positions = sourced_positions(inputs, settings, now)
    for sourced in positions:
        yield _decision(sourced, inputs, settings, now)
    sourced_books = [sourced.book for sourced in positions]
    for book in sorted({inputs.symbol, *filter(inputs.tracked.get, inputs.tracked)}):
        if book not in sourced_books:
            yield removal(book)


def _decision(
    sourced: SourcedPosition, inputs: Inputs, settings: Settings, now: float
) -> Publication | ProposalOutcome:
    if not isinstance(sourced, OpenPosition):
        return _skipped(sourced.book, sourced.reason, f"{sourced.source}: {sourced.detail}")
    try:
        market = markets.read_market(inputs.market, is_synthetic=sourced.source is Source.SYNTHETIC)
        risk = markets.read_risk_proposal(inputs.risk)
    except NoProposal as error:
        return _skipped(sourced.book, error.reason, error.detail)
    proposal = compute_harvest_proposal(sourced.position, market.state, risk, _theta(settings.fallback_stop_pct))
    return Publication(sourced.book, proposal_fields(sourced, market, proposal, now))


def _record_cycle(client: Client, summary: CycleSummary) -> None:
    """Record that a cycle ended, and add what it did to the counters."""
    sums = {liveness.PROPOSALS_PREFIX + name: count for name, count in _counts(summary).items()}
    liveness.record_sign(client, liveness.PROPOSALS_CYCLE_MS, summary.now_ms, sums)


def _counts(summary: CycleSummary) -> dict[str, int]:
    results = {result.value: summary.count(result) for result in ProposalResult if result is not ProposalResult.SKIPPED}
    skipped = {f"skipped:{reason}": count for reason, count in summary.skipped.items()}
    counts = {**results, **skipped, "synthetic": len(summary.synthetic)}
    return {name: count for name, count in counts.items() if count}


@lru_cache(maxsize=1)
def _theta(fallback_stop_pct: Decimal) -> HarvestTheta:
    return HarvestTheta(fallback_stop_pct=float(fallback_stop_pct))


def apply_decisions(
    client: Client, settings: Settings, decisions: Iterable[Publication | ProposalOutcome], now: float
) -> list[ProposalOutcome]:
    """Publish the decisions as they are made. Returns their outcomes in the same order."""
    kept: list[Publication | ProposalOutcome] = []
    replies = iter(publish.publish(client, settings, _publications(decisions, kept), now))
    outcomes = (d if isinstance(d, ProposalOutcome) else _outcome(d, next(replies)) for d in kept)
    return [o for _, group in groupby(outcomes, lambda o: o.symbol) for o in _worth_reporting(list(group))]


def _publications(
    decisions: Iterable[Publication | ProposalOutcome], kept: list[Publication | ProposalOutcome]
) -> Iterator[Publication]:
    """The decisions to publish; every decision is also added to `kept`."""
    for decision in decisions:
        kept.append(decision)
        if isinstance(decision, Publication):
            yield decision


def _worth_reporting(outcomes: list[ProposalOutcome]) -> list[ProposalOutcome]:
    """A symbol's outcomes without the books that had nothing to remove, unless it has no others."""
    return [o for o in outcomes if o.reason is not SkipReason.NO_POSITION] or outcomes[-1:]


def _outcome(published: Publication, reply: PublishReply) -> ProposalOutcome:
    book, fields = published.book, published.fields
    match reply:
        case PublishReply.PUBLISHED:
            return ProposalOutcome(symbol_of(book), book, ProposalResult.PUBLISHED, fields=fields)
        case PublishReply.UNCHANGED:
            return ProposalOutcome(symbol_of(book), book, ProposalResult.UNCHANGED, fields=fields)
        case PublishReply.REMOVED:
            return ProposalOutcome(symbol_of(book), book, ProposalResult.REMOVED)
        case PublishReply.ABSENT:
            return _skipped(book, SkipReason.NO_POSITION)
        case PublishReply.WRONG_TYPE:
            return _skipped(book, SkipReason.WRONG_KEY_TYPE, "its proposal key or the proposal stream")


def _skipped(book: str, reason: SkipReason, detail: str = "") -> ProposalOutcome:
    return ProposalOutcome(symbol_of(book), book, ProposalResult.SKIPPED, reason, detail)


def _stale(gathered: Sequence[Inputs], settings: Settings, now: float) -> list[str]:
    """The symbols whose market state is older than a proposal may get."""
    oldest = LIFETIMES * settings.max_publish_age_sec
    ages = ((inputs.symbol, markets.market_age_sec(inputs.market, now)) for inputs in gathered)
    return [name for name, age in ages if age is not None and age > oldest]
