"""What has been harvested of one lifecycle: rungs spent, quantity reserved, the stop, and what guards held back.

What always holds of a ladder state:
1. A rung is spent when its intent is published and armed again only by that intent's rejection, cancellation or
   expiry, at most `MAX_ATTEMPTS` times in all.
2. Reservations never sum to more than the position.
3. A stop only tightens.
4. A rung that is armed again asks for what its intents left unfilled, and no more.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NamedTuple

from kernel.positions.quantities import ZERO

MAX_ATTEMPTS = 3
HARVEST_ACTION = "partial:"
"""What the action of every harvest begins with."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A rung's part in an intent: its `share` of the position (base currency) at its `attempt`, counted from 1."""

    rung: str
    attempt: int
    share: Decimal


@dataclass(frozen=True, slots=True)
class Reservation:
    """Quantity that a published intent may still take (`qty` > 0, base currency).

    It took `filled` so far, at prices that make `value` and with the profit `pnl` (both in quote currency). `overdue`:
    it went unanswered for too long, and that was said.
    """

    intent_id: str
    qty: Decimal
    claims: tuple[Claim, ...]
    placed_ms: int
    filled: Decimal = ZERO
    value: Decimal = ZERO
    pnl: Decimal = ZERO
    overdue: bool = False

    def after(self, qty: Decimal, price: Decimal, pnl: Decimal) -> "Reservation":
        """After a fill of `qty` for it, which may be more than it reserved: then no quantity is left."""
        return replace(
            self,
            qty=max(ZERO, self.qty - qty),
            filled=self.filled + qty,
            value=self.value + qty * price,
            pnl=self.pnl + pnl,
        )


class LadderState(NamedTuple):
    """`spent`, `firings` (harvests published), `failures` (attempts that ended unfilled) and `owed` (what a rung that
    is armed again asks for) name rungs; `carry` is quantity that rounding left over for the next harvest.

    `stop_qty` is the quantity that the newest published stop protects. `held` maps an action to the guard that held it
    back last, so that a refusal is journaled once, not per tick.
    """

    spent: tuple[str, ...] = ()
    firings: tuple[tuple[str, int], ...] = ()
    failures: tuple[tuple[str, int], ...] = ()
    owed: tuple[tuple[str, Decimal], ...] = ()
    carry: Decimal = ZERO
    reservations: tuple[Reservation, ...] = ()
    stop: Decimal | None = None
    stop_qty: Decimal | None = None
    break_even: bool = False
    atr: Decimal | None = None
    held: tuple[tuple[str, str], ...] = ()

    @property
    def reserved(self) -> Decimal:
        """All quantity that published intents may still take."""
        return sum((r.qty for r in self.reservations), ZERO)

    def firing(self, rungs: tuple[str, ...]) -> int:
        """The number of the next harvest of `rungs`, from 1: no two of a lifecycle have both rungs and number alike."""
        fired = dict(self.firings)
        return 1 + max(fired.get(rung, 0) for rung in rungs)

    def fired(self, claims: tuple[Claim, ...], left_over: Decimal, placed: tuple[Reservation, ...]) -> "LadderState":
        """After a harvest of `claims` was published, with a reservation for each part that is to be filled."""
        rungs = tuple(claim.rung for claim in claims)
        number = self.firing(rungs)
        return self._replace(
            spent=self.spent + rungs,
            firings=tuple(sorted({**dict(self.firings), **dict.fromkeys(rungs, number)}.items())),
            owed=tuple(item for item in self.owed if item[0] not in rungs),
            carry=left_over,
            reservations=self.reservations + placed,
            # All that was due went out: whatever held an earlier harvest back is over.
            held=tuple(item for item in self.held if not item[0].startswith(HARVEST_ACTION)),
        )

    def taken(self, intent_id: str, qty: Decimal, price: Decimal, pnl: Decimal) -> "LadderState":
        """After a fill of `qty` at `price` that names `intent_id` and realized `pnl`: that much less is reserved."""
        after = (r.after(qty, price, pnl) if r.intent_id == intent_id else r for r in self.reservations)
        return self._replace(reservations=tuple(r for r in after if r.qty))

    def released(self, intent_id: str) -> tuple["LadderState", tuple[str, ...]]:
        """After `intent_id` ended unfilled: its quantity is free, its rungs armed again or, once exhausted, spent.

        The second value names the rungs that are exhausted now. The parts of a harvest are one attempt: each adds what
        it left to what its rungs are owed.
        """
        ended = next((r for r in self.reservations if r.intent_id == intent_id), None)
        if ended is None:
            return self, ()
        before = dict(self.failures)
        failed = before | {c.rung: max(c.attempt, before.get(c.rung, 0)) for c in ended.claims}
        retried = tuple(claim for claim in ended.claims if failed[claim.rung] < MAX_ATTEMPTS)
        armed = {claim.rung for claim in retried}
        # Another part may have armed it already.
        given_up = tuple(rung for rung, n in failed.items() if n >= MAX_ATTEMPTS > before.get(rung, 0))
        freed = self._replace(
            reservations=tuple(r for r in self.reservations if r is not ended),
            spent=tuple(rung for rung in self.spent if rung not in armed and rung not in given_up) + given_up,
            failures=tuple(sorted(failed.items())),
            owed=tuple(item for item in _owing(self.owed, retried, ended.qty) if item[0] not in given_up),
        )
        return freed, given_up

    def capped(self, limit: Decimal) -> "LadderState":
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
        return self._replace(reservations=tuple(kept))

    def late(self, placed_before_ms: int) -> tuple[str, ...]:
        """Ids of the intents that were published by then, are unanswered, and were not called overdue yet."""
        return tuple(r.intent_id for r in self.reservations if r.placed_ms <= placed_before_ms and not r.overdue)

    def called_overdue(self, placed_before_ms: int) -> "LadderState":
        """With those marked: their quantity stays reserved, for the answer may still come."""
        late = self.late(placed_before_ms)
        marked = (replace(r, overdue=True) if r.intent_id in late else r for r in self.reservations)
        return self._replace(reservations=tuple(marked))

    def held_back(self, action: str, reason: str) -> "LadderState":
        """With `reason` noted as the last one that held `action` back."""
        return self._replace(held=tuple(sorted({**dict(self.held), action: reason}.items())))

    def let_go(self, action: str) -> "LadderState":
        """With nothing noted for `action`."""
        if not self.held:
            return self
        return self._replace(held=tuple(item for item in self.held if item[0] != action))


def _owing(
    owed: tuple[tuple[str, Decimal], ...], claims: tuple[Claim, ...], unfilled: Decimal
) -> tuple[tuple[str, Decimal], ...]:
    """`owed` with `unfilled` more, shared out over `claims` from the lowest rung on; the last one takes the rest."""
    sums = dict(owed)
    for claim in claims:
        part = unfilled if claim is claims[-1] else min(claim.share, unfilled)
        sums[claim.rung] = sums.get(claim.rung, ZERO) + part
        unfilled -= part
    return tuple(sorted(sums.items()))
