"""Proposals as they stand: kill score and its parts, R, age, and the market states they rest on."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import Metric

from harvest_tasks.metrics.families import gauge, gauges
from harvest_tasks.metrics.replies import Command, Replies
from harvest_tasks.proposing.markets import age_sec
from harvest_tasks.proposing.publish import LIFETIMES
from harvest_tasks.proposing.sources import Source
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.symbols import books, of_book
from kernel.proposals.partial_exit import HarvestAction

MOST: Final = 500
"""Books, or symbols, with series of their own: those with the highest kill score, or the oldest market state."""
PARTS: Final = ("regime_flip", "sigma_spike", "ts_drop", "age_penalty")
OWN_FIELDS: Final = ("kill_score", "R_net", "last_update_epoch", "harvest_action", "position_source")
FIELDS: Final = (*OWN_FIELDS, *(f"k_{part}" for part in PARTS))
TIME: Final = "ts_timestamp"


@dataclass(frozen=True, slots=True)
class Score:
    """A proposal in floats; `looked` is when it was last looked at (unix s), `parts` in the order of `PARTS`."""

    book: str
    kill_score: float
    r_net: float
    looked: float
    action: str
    source: str
    parts: Sequence[float]


def more_commands(settings: Settings, replies: Replies) -> dict[str, Command]:
    known: set[str] = replies.get("known", set())
    symbols = _symbols(settings, replies)
    wanted = known.union(*(books(symbol) for symbol in settings.symbols or ()))
    return {
        **{_proposal(book): ("HMGET", settings.harvest_prefix + book, *FIELDS) for book in sorted(wanted)},
        **{_market(symbol): ("HMGET", settings.marketstate_prefix + symbol, TIME, "sigma") for symbol in symbols},
    }


def families(replies: Replies, more: Replies, settings: Settings, now: float) -> Iterator[Metric]:
    names = [name.removeprefix(_proposal("")) for name in more.given if name.startswith(_proposal(""))]
    found = [score for book in names if (score := _score(book, more.get(_proposal(book))))]
    yield from _scores(sorted(found, key=lambda score: (-score.kill_score, score.book)), now)
    yield from _sums(found)
    yield from _markets(_symbols(settings, replies), more, settings, now)


def _symbols(settings: Settings, replies: Replies) -> list[str]:
    """Whose market matters: those that are configured, and those with an open position."""
    return sorted({*(settings.symbols or ()), *map(of_book, replies.get("open", ()))})


def _score(book: str, fields: Sequence[str | None] | None) -> Score | None:
    """None where there is no proposal, or none of ours."""
    if fields is None or not any(fields):
        return None
    k, r, looked, action, source, *parts = (text or "" for text in fields)
    try:
        return Score(book, float(k), float(r), float(looked), action, source, [float(part) for part in parts])
    except ValueError:
        return None


def _scores(found: Sequence[Score], now: float) -> Iterator[Metric]:
    shown = found[:MOST]
    yield gauges(
        "kill_score",
        "How much speaks for leaving: 0.5 is calm, from 0.6 on a full close is proposed, 0.93 is the most.",
        ("book",),
        {(s.book,): s.kill_score for s in shown},
    )
    yield gauges(
        "kill_score_part",
        "What makes the score, before weights: regime_flip 0 or 1, sigma_spike to 2, ts_drop to 0.5, age_penalty to 1.",
        ("book", "part"),
        {(s.book, part): value for s in shown for part, value in zip(PARTS, s.parts, strict=True)},
    )
    yield gauges(
        "proposal_r_net", "R multiple of the proposal, net of costs.", ("book",), {(s.book,): s.r_net for s in shown}
    )
    yield gauges(
        "proposal_age_seconds",
        "Time since the proposal was last computed, changed or not: is the queue proposals consumed?",
        ("book",),
        {(s.book,): max(0.0, now - s.looked) for s in shown},
    )
    yield gauge(
        "proposals_left_out",
        f"Proposals beyond the {MOST} shown, which have the highest kill scores.",
        len(found) - len(shown),
    )


def _sums(found: Sequence[Score]) -> Iterator[Metric]:
    actions = Counter(score.action for score in found)
    yield gauges(
        "proposals_held",
        "Proposals that stand now, by what they propose.",
        ("action",),
        {(action.value,): float(actions[action.value]) for action in HarvestAction},
    )
    yield gauge(
        "proposals_held_synthetic",
        "Of those, the ones for invented positions: set SYNTHETIC_FALLBACK=false in production.",
        sum(score.source == Source.SYNTHETIC for score in found),
    )


def _markets(symbols: Sequence[str], more: Replies, settings: Settings, now: float) -> Iterator[Metric]:
    replies = {symbol: more.get(_market(symbol)) or (None, None) for symbol in symbols}
    ages = {symbol: age_sec({TIME: time or ""}, now) for symbol, (time, _) in replies.items()}
    timed = sorted(((age, symbol) for symbol, age in ages.items() if age is not None), reverse=True)
    yield gauges(
        "market_state_age_seconds",
        f"Age of the symbol's market state, of the {MOST} oldest; +Inf: its time is none. Does its producer run?",
        ("symbol",),
        {(symbol,): age for age, symbol in timed[:MOST]},
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
        "Symbols by their market state: without one there is no proposal; untimed ones do not say how old they are.",
        ("state",),
        {(state,): float(count) for state, count in states.items()},
    )


def _proposal(book: str) -> str:
    return f"proposal {book}"


def _market(symbol: str) -> str:
    return f"market {symbol}"
