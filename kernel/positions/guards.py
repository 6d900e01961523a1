"""The guards between a due intent and its publication, and the reasons they give.

What always holds of the guards:
1. They fail closed: whatever is not known to be allowed is refused.
2. A refusal leaves the rung armed; nothing else about the position changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from kernel.positions.intent import Intent
from kernel.positions.mark import FUTURE_TOLERANCE_MS
from kernel.positions.position import Position


class Refusal(StrEnum):
    """Why a due intent is held back."""

    KILLED = "killed"
    STALE = "stale"
    FROZEN = "frozen"
    NOTHING_LEFT = "nothing_left"
    BELOW_MINIMUM = "below_minimum"
    RATE_LIMITED = "rate_limited"
    DUPLICATE = "duplicate"


def is_fresh(time_ms: int, now_ms: int, fresh_ms: int) -> bool:
    """Whether a price of `time_ms` is younger than `fresh_ms` and not from the future."""
    return -FUTURE_TOLERANCE_MS <= now_ms - time_ms < fresh_ms


@dataclass(frozen=True, slots=True)
class Guards:
    """What the guards know now.

    `now_ms` is the server's time (unix ms), `fresh_ms` the age (ms) from which a price is stale, `killed` the kill
    switch, `budget` how many more intents this minute allows, `published` the ids of intents that are known to be out.
    """

    now_ms: int
    fresh_ms: int
    killed: bool
    budget: int
    published: frozenset[str] = frozenset()

    def refusal(self, intents: Sequence[Intent], position: Position) -> Refusal | None:
        """The first reason to hold back `intents` (at least one) or None; they go out together or not at all."""
        if self.killed:
            return Refusal.KILLED
        if position.frozen:
            return Refusal.FROZEN
        if not all(self.is_fresh(intent.time_ms) for intent in intents):
            return Refusal.STALE
        if self.budget < len(intents):
            return Refusal.RATE_LIMITED
        # Last: `published` is only looked up for intents that pass everything else.
        if any(intent.intent_id in self.published for intent in intents):
            return Refusal.DUPLICATE
        return None

    def is_fresh(self, time_ms: int) -> bool:
        """Whether a price of `time_ms` is neither too old nor from the future."""
        return is_fresh(time_ms, self.now_ms, self.fresh_ms)

    def spent(self, intents: int) -> "Guards":
        """The guards after `intents` more publications."""
        return replace(self, budget=self.budget - intents)
