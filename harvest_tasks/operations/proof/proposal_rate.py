"""How often proposals are computed while the proof watches, and whether each publication had a reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from time import monotonic, sleep
from typing import Any, Final

from harvest_tasks.metrics.scrape import Scrape
from harvest_tasks.operations.diagnosis import listed
from harvest_tasks.operations.proof.check import CheckResult, check_of, fails, not_run, passes
from harvest_tasks.operations.proof.proposals import RESTART_PROPOSALS
from harvest_tasks.server import keys, liveness
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings

STEP_SEC: Final = 0.25
"""Two publications of a book within this time count as one."""
CHANGES: Final = ("harvest_action", "position_side", "position_source", "market_state_source")
"""A proposal is new when one of these fields changes."""
_FIELDS: Final = (*CHANGES, "new_sl_proposed", "kill_score", "computed_at_utc")
RESULTS: Final = ("published", "unchanged", "removed")

_Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ProposalChange:
    """A replaced proposal: its fields before (empty if there was none) and after."""

    book: str
    before: _Fields
    after: _Fields


@dataclass(frozen=True, slots=True)
class WatchedProposals:
    """What was seen within `seconds`: `cycles` that ended, and `changes` of proposals."""

    seconds: float
    cycles: int
    changes: Sequence[ProposalChange]


def watch_proposals(client: Client, settings: Settings, books: Sequence[str], seconds: float) -> WatchedProposals:
    """Poll the proposals of `books` for `seconds`."""
    until = monotonic() + seconds
    ended, held = _read_proposals(client, settings, books)
    cycles, publications = 0, list[ProposalChange]()
    while monotonic() < until:
        sleep(max(0.0, min(STEP_SEC, until - monotonic())))
        now_ended, now_held = _read_proposals(client, settings, books)
        cycles += now_ended != ended
        publications += [ProposalChange(b, held[b], now_held[b]) for b in books if now_held[b] not in ({}, held[b])]
        ended, held = now_ended, now_held
    return WatchedProposals(seconds, cycles, publications)


@check_of("proposal rate")
def check_rate(watched: WatchedProposals, settings: Settings, before: Scrape, after: Scrape) -> CheckResult:
    """Whether cycles ran, and every publication had a reason."""
    evaluated = _evaluated(after) - _evaluated(before)
    if watched.cycles == 0 and watched.seconds < 2 * settings.publish_interval_sec:
        return not_run(f"{watched.seconds:g} s are less than two PUBLISH_INTERVAL_SEC: give a larger --seconds")
    if watched.cycles == 0:
        return fails(f"no cycle ended in {watched.seconds:g} s", RESTART_PROPOSALS)
    wrong = [p.book for p in watched.changes if not is_due(p, settings)]
    if wrong:
        remedy = "give workers and this command the same CHANGE_EPS_PCT and MAX_PUBLISH_AGE_SEC"
        return fails(f"published without a reason: {listed(wrong)}", remedy)
    seen = f"in {watched.seconds:g} s {watched.cycles} cycles ended and {evaluated:.0f} books were evaluated"
    count = len(watched.changes)
    return passes(f"{seen}; {f'{count} publications, each with a reason' if count else 'nothing new was published'}")


def is_due(published: ProposalChange, settings: Settings) -> bool:
    """Whether publish.lua should have published it; a second implementation of its rule."""
    before, after = published.before, published.after
    if not before or any(before[name] != after[name] for name in CHANGES):
        return True
    stops, scores, times = ((before[n], after[n]) for n in ("new_sl_proposed", "kill_score", "computed_at_utc"))
    return (
        (stops[0] != stops[1] and _moved(*stops, settings.change_eps_pct * abs(_decimal(stops[0]) or Decimal(0))))
        or _moved(*scores, settings.change_eps_pct)
        or not 0 <= _age_sec(*times) < settings.max_publish_age_sec
    )


def _moved(before: str, after: str, most: Decimal) -> bool:
    """Whether they differ by more than `most`; text that is no number counts as moved."""
    old, new = _decimal(before), _decimal(after)
    return old is None or new is None or abs(new - old) > most


def _decimal(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _age_sec(before: str, after: str) -> float:
    return (datetime.fromisoformat(after) - datetime.fromisoformat(before)).total_seconds()


def _evaluated(scrape: Scrape) -> float:
    counted = scrape.by("result", "proposals_total")
    skipped = scrape.by("reason", "proposals_skipped_total").values()
    return sum(counted.get(result, 0) for result in RESULTS) + sum(skipped)


def _read_proposals(client: Client, settings: Settings, books: Sequence[str]) -> tuple[str | None, dict[str, _Fields]]:
    """When the newest cycle ended, and each book's proposal (empty if it has none)."""
    with client.pipeline(transaction=False) as pipe:
        pipe.hget(keys.HEARTBEAT, liveness.PROPOSALS_CYCLE_MS)
        for book in books:
            pipe.hmget(settings.harvest_prefix + book, _FIELDS)
        ended, *replies = pipe.execute(raise_on_error=False)
    return ended, {book: _fields(reply) for book, reply in zip(books, replies, strict=True)}


def _fields(reply: Any) -> _Fields:
    if isinstance(reply, Exception) or None in reply:
        return {}
    return dict(zip(_FIELDS, reply, strict=True))
