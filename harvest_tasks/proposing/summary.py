"""What did a cycle of proposals do? The outcome of each book, the sums, and the log lines."""

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from harvest_tasks.logs import Line
from harvest_tasks.proposing.skip_reason import SkipReason
from harvest_tasks.proposing.sources import Source

log = logging.getLogger(__name__)

_NAMED = 5
"""A log line names at most this many books."""


class ProposalResult(StrEnum):
    PUBLISHED = "published"
    UNCHANGED = "unchanged"
    REMOVED = "removed"
    SKIPPED = "skipped"


_NOTHING: Mapping[str, str] = MappingProxyType({})


class WarnedFlaws:
    """The flaws that this process has warned of: it warns again only when one changed, or is back after it was gone."""

    def __init__(self) -> None:
        self._last: defaultdict[str, dict[str, str]] = defaultdict(dict)

    def changed(self, kind: str, flaws: Mapping[str, str]) -> list[str]:
        """Those of `flaws` (by book; empty text: no flaw) that differ from the last call with this `kind`."""
        last = self._last[kind]
        fresh = [flaw for book, flaw in flaws.items() if flaw and last.get(book) != flaw]
        last |= flaws
        return fresh

    def forget(self) -> None:
        self._last.clear()


warned_flaws = WarnedFlaws()


class ProposalOutcome(NamedTuple):
    """What became of one book's proposal. `fields` is the proposal as computed now, empty if none was computed."""

    symbol: str
    book: str
    result: ProposalResult
    reason: SkipReason | None = None
    detail: str = ""
    fields: Mapping[str, str] = _NOTHING

    def as_dict(self) -> dict[str, Any]:
        """The proposal's fields and what became of it, for JSON."""
        outcome = {"symbol": self.symbol, "book": self.book, "result": self.result.value}
        return {**self.fields, **outcome, "reason": self.reason.value if self.reason else "", "detail": self.detail}


@dataclass(frozen=True, slots=True)
class CycleSummary:
    """Outcomes of one cycle at `now_ms` (unix ms). `stale` names the symbols whose market state is too old."""

    now_ms: int
    outcomes: Sequence[ProposalOutcome]
    stale: Sequence[str] = ()

    def count(self, result: ProposalResult) -> int:
        return sum(outcome.result is result for outcome in self.outcomes)

    @property
    def computed(self) -> int:
        return sum(bool(outcome.fields) for outcome in self.outcomes)

    @property
    def skipped(self) -> dict[str, int]:
        """How many books were skipped, by reason."""
        return dict(sorted(Counter(outcome.reason.value for outcome in self.outcomes if outcome.reason).items()))

    @property
    def synthetic(self) -> list[str]:
        """The books whose proposal rests on a synthetic position."""
        return [o.book for o in self.outcomes if o.fields.get("position_source") == Source.SYNTHETIC]

    def as_dict(self) -> dict[str, Any]:
        """The sums, for JSON."""
        return {
            "computed": self.computed,
            **{result.value: self.count(result) for result in ProposalResult},
            "skipped_by_reason": self.skipped,
            "synthetic": len(self.synthetic),
            "stale_market_states": len(self.stale),
        }

    def report(self) -> None:
        """Log each proposal that changed, and warn once of each thing that an operator should look at."""
        log.debug("proposals: %s", self)
        if log.isEnabledFor(logging.INFO):
            self._report_changes()
        synthetic, stale = set(self.synthetic), set(self.stale)
        flaws = {o.book: o.book if o.book in synthetic else "" for o in self.outcomes}
        if new := warned_flaws.changed("synthetic", flaws):
            log.warning("proposals for synthetic positions: %s", _listed(new))
        flaws = {o.symbol: o.symbol if o.symbol in stale else "" for o in self.outcomes}
        if new := warned_flaws.changed("stale", flaws):
            log.warning("market states that are too old or have an impossible time: %s", _listed(new))
        if new := warned_flaws.changed("unusable", {o.book: _flaw(o) for o in self.outcomes}):
            log.warning("inputs that cannot be used: %s", _listed(new))

    def _report_changes(self) -> None:
        for outcome in self.outcomes:
            if outcome.result in (ProposalResult.PUBLISHED, ProposalResult.REMOVED):
                log.info(Line(f"proposal {outcome.result}", book=outcome.book, **_gist(outcome.fields)))

    def __str__(self) -> str:
        """The sums in one line."""
        sums = [f"computed={self.computed}", *(f"{result}={self.count(result)}" for result in ProposalResult)]
        return " ".join([*sums, *(f"skipped:{reason}={n}" for reason, n in self.skipped.items())])


def _gist(fields: Mapping[str, str]) -> dict[str, str]:
    """What a proposal says, in short."""
    names = ("harvest_action", "R_net", "kill_score", "new_sl_proposed")
    return {name: fields[name] for name in names if name in fields}


def _flaw(outcome: ProposalOutcome) -> str:
    return f"{outcome.book} {outcome.reason} ({outcome.detail})" if outcome.detail else ""


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)}: {', '.join(names[:_NAMED])}{more}"
