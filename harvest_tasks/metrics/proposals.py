"""Current proposals: kill score and its parts, R, age, and the market states they are computed from."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import Metric

from harvest_tasks.metrics.families import MAX_SERIES, gauge, gauges
from harvest_tasks.metrics.replies import Replies
from harvest_tasks.proposing.markets import market_age_sec
from harvest_tasks.proposing.publish import LIFETIMES
from harvest_tasks.proposing.sources import Source
from harvest_tasks.server.client import Command
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.symbols import possible_books, symbol_of
from kernel.proposals.partial_exit import HarvestAction

SCORE_PARTS: Final = ("regime_flip", "sigma_spike", "ts_drop", "age_penalty")
OWN_FIELDS: Final = ("kill_score", "R_net", "last_update_epoch", "harvest_action", "position_source")
_FIELDS: Final = (*OWN_FIELDS, *(f"k_{part}" for part in SCORE_PARTS))
TIME: Final = "ts_timestamp"


@dataclass(frozen=True, slots=True)
class ProposalFigures:
    """A proposal in floats. `computed_at` is in unix seconds, `parts` is in the order of `SCORE_PARTS`."""

    book: str
    kill_score: float
    r_net: float
    computed_at: float
    action: str
    source: str
    parts: Sequence[float]


def more_commands(settings: Settings, replies: Replies) -> dict[str, Command]:
    known: set[str] = replies.get("known", set())
    symbols = _symbols(settings, replies)
    wanted = known.union(*(possible_books(symbol) for symbol in settings.symbols or ()))
    return {
        **{_proposal_name(book): ("HMGET", settings.harvest_prefix + book, *_FIELDS) for book in sorted(wanted)},
        **{_market_name(symbol): ("HMGET", settings.marketstate_prefix + symbol, TIME, "sigma") for symbol in symbols},
    }


def families(replies: Replies, more: Replies, settings: Settings, now: float) -> Iterator[Metric]:
    names = [name.removeprefix(_proposal_name("")) for name in more.given if name.startswith(_proposal_name(""))]
    found = [score for book in names if (score := _score(book, more.get(_proposal_name(book))))]
    yield from _scores(sorted(found, key=lambda score: (-score.kill_score, score.book)), now)
    yield from _sums(found)
    yield from _markets(_symbols(settings, replies), more, settings, now)


def _symbols(settings: Settings, replies: Replies) -> list[str]:
    """Symbols whose market state is read: the configured ones and those with an open position."""
    return sorted({*(settings.symbols or ()), *map(symbol_of, replies.get("open", ()))})


def _score(book: str, fields: Sequence[str | None] | None) -> ProposalFigures | None:
    """None if there is no proposal or it cannot be read."""
    if fields is None or not any(fields):
        return None
    k, r, looked, action, source, *parts = (text or "" for text in fields)
    try:
        return ProposalFigures(book, float(k), float(r), float(looked), action, source, [float(part) for part in parts])
    except ValueError:
        return None


def _scores(found: Sequence[ProposalFigures], now: float) -> Iterator[Metric]:
    shown = found[:MAX_SERIES]
    yield gauges(
        "kill_score",
        "Strength of the reasons to close: 0.5 is calm, from 0.6 a full close is proposed, 0.93 is the maximum.",
        ("book",),
        {(s.book,): s.kill_score for s in shown},
    )
    yield gauges(
        "kill_score_part",
        "Unweighted parts of the score: regime_flip 0 or 1, sigma_spike to 2, ts_drop to 0.5, age_penalty to 1.",
        ("book", "part"),
        {(s.book, part): value for s in shown for part, value in zip(SCORE_PARTS, s.parts, strict=True)},
    )
    yield gauges(
        "proposal_r_net", "R multiple of the proposal, net of costs.", ("book",), {(s.book,): s.r_net for s in shown}
    )
    yield gauges(
        "proposal_age_seconds",
        "Time since the proposal was last computed. If this grows, check that a worker consumes the queue proposals.",
        ("book",),
        {(s.book,): max(0.0, now - s.computed_at) for s in shown},
    )
    yield gauge(
        "proposals_left_out",
        f"Proposals without their own series: only the {MAX_SERIES} with the highest kill scores have one.",
        len(found) - len(shown),
    )


def _sums(found: Sequence[ProposalFigures]) -> Iterator[Metric]:
    actions = Counter(score.action for score in found)
    yield gauges(
        "proposals_held",
        "Current proposals by proposed action.",
        ("action",),
        {(action.value,): float(actions[action.value]) for action in HarvestAction},
    )
    yield gauge(
        "proposals_held_synthetic",
        "Current proposals for synthetic positions. Must be 0 in production: set SYNTHETIC_FALLBACK=false.",
        sum(score.source == Source.SYNTHETIC for score in found),
    )


def _markets(symbols: Sequence[str], more: Replies, settings: Settings, now: float) -> Iterator[Metric]:
    replies = {symbol: more.get(_market_name(symbol)) or (None, None) for symbol in symbols}
    ages = {symbol: market_age_sec({TIME: time or ""}, now) for symbol, (time, _) in replies.items()}
    timed = sorted(((age, symbol) for symbol, age in ages.items() if age is not None), reverse=True)
    yield gauges(
        "market_state_age_seconds",
        f"Age of the market state, for the {MAX_SERIES} oldest; +Inf: invalid time. If this grows, check its producer.",
        ("symbol",),
        {(symbol,): age for age, symbol in timed[:MAX_SERIES]},
    )
    oldest = LIFETIMES * settings.max_publish_age_sec
    states = {
        "missing": sum(not any(reply) for reply in replies.values()),
        "untimed": sum(any(reply) and ages[symbol] is None for symbol, reply in replies.items()),
        "stale": sum(age > oldest for age, _ in timed),
        "fresh": sum(age <= oldest for age, _ in timed),
    }
    yield gauges(
        "market_states",
        "Symbols by state of their market state. missing: no proposal. untimed: has no timestamp.",
        ("state",),
        {(state,): float(count) for state, count in states.items()},
    )


def _proposal_name(book: str) -> str:
    return f"proposal {book}"


def _market_name(symbol: str) -> str:
    return f"market {symbol}"
