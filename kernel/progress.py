"""What has been harvested of one lifecycle: rungs spent, quantity reserved, the stop, and what guards held back.

What always holds of progress:
1. A rung is spent when its intent is published and armed again only by that intent's rejection, cancellation or
   expiry, at most `MAX_ATTEMPTS` intents in all.
2. Reservations never sum to more than the position.
3. A stop only tightens.
"""

from dataclasses import dataclass, replace
from decimal import Decimal

from kernel.quantities import ZERO

MAX_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Reservation:
    """Quantity that a published intent may still take (`qty` > 0, base currency).

    `filled` is what it took so far; `carried` is what firing it added to (or took from) the carry, so that an intent
    that ends early puts its rungs back as they were, less what it filled.
    """

    intent_id: str
    qty: Decimal
    rungs: tuple[str, ...]
    placed_ms: int
    carried: Decimal = ZERO
    filled: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Progress:
    """`spent` and `failures` name rungs; `carry` is quantity owed to the next rung (rounding left it over).

    `held` maps an action to the guard that held it back last, so that a refusal is journaled once, not per tick.
    """

    spent: tuple[str, ...] = ()
    failures: tuple[tuple[str, int], ...] = ()
    carry: Decimal = ZERO
    reservations: tuple[Reservation, ...] = ()
    stop: Decimal | None = None
    break_even: bool = False
    atr: Decimal | None = None
    held: tuple[tuple[str, str], ...] = ()

    @property
    def reserved(self) -> Decimal:
        """All quantity that published intents may still take."""
        return sum((r.qty for r in self.reservations), ZERO)

    def attempt(self, rungs: tuple[str, ...]) -> int:
        """The number of the next intent of `rungs`, counted from 1."""
        failed = dict(self.failures)
        return 1 + max(failed.get(rung, 0) for rung in rungs)

    def taken(self, intent_id: str, qty: Decimal) -> "Progress":
        """After a fill of `qty` that names `intent_id`: that much less is reserved."""
        kept = []
        for r in self.reservations:
            if r.intent_id != intent_id:
                kept.append(r)
            elif r.qty > qty:
                kept.append(replace(r, qty=r.qty - qty, filled=r.filled + qty))
        return replace(self, reservations=tuple(kept))

    def released(self, intent_id: str) -> tuple["Progress", tuple[str, ...]]:
        """After `intent_id` ended unfilled: its quantity is free, its rungs armed again or, once exhausted, spent.

        The second value names the rungs that are exhausted now.
        """
        ended = next((r for r in self.reservations if r.intent_id == intent_id), None)
        if ended is None:
            return self, ()
        failed = dict(self.failures)
        failed.update({rung: failed.get(rung, 0) + 1 for rung in ended.rungs})
        exhausted = tuple(rung for rung in ended.rungs if failed[rung] >= MAX_ATTEMPTS)
        armed_again = set(ended.rungs) - set(exhausted)
        freed = replace(
            self,
            reservations=tuple(r for r in self.reservations if r is not ended),
            spent=tuple(rung for rung in self.spent if rung not in armed_again),
            failures=tuple(sorted(failed.items())),
            carry=self.carry + ended.carried - ended.filled if armed_again else self.carry,
        )
        return freed, exhausted

    def clamped(self, limit: Decimal) -> "Progress":
        """With reservations cut, newest first, until they sum to at most `limit`."""
        excess = self.reserved - limit
        if excess <= 0:
            return self
        kept = list(self.reservations)
        while excess > 0:
            newest = kept.pop()
            if newest.qty > excess:
                kept.append(replace(newest, qty=newest.qty - excess))
            excess -= newest.qty
        return replace(self, reservations=tuple(kept))

    def held_back(self, action: str, reason: str) -> "Progress":
        """With `reason` noted as the last one that held `action` back."""
        return replace(self, held=tuple(sorted({**dict(self.held), action: reason}.items())))

    def let_go(self, action: str) -> "Progress":
        """With nothing noted for `action`."""
        return replace(self, held=tuple(item for item in self.held if item[0] != action))
