"""How far one lifecycle is up its ladder: rungs spent, quantity reserved, the stop, and what the guards held back.

What always holds of a ladder state:
1. A rung is spent when its intent is published. Only the rejection, cancellation or expiry of that intent arms it
   again, and after `MAX_ATTEMPTS` attempts nothing does.
2. Reservations never sum to more than the position.
3. A stop only tightens.
4. A rung that is armed again asks for what its intents left unfilled, not more.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NamedTuple

from kernel.positions.quantities import ZERO

MAX_ATTEMPTS = 3
HARVEST_ACTION = "partial:"
"""The prefix of the action of every harvest."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What one rung asks for in an intent: its `share` (base currency), at its `attempt`, counted from 1."""

    rung: str
    attempt: int
    share: Decimal


@dataclass(frozen=True, slots=True)
class Reservation:
    """Quantity that a published intent may still take: `qty` (> 0, base currency).

    Its fills so far come to `filled` (base currency), the sum `value` of quantity * price, and the profit `pnl` (quote
    currency). `placed_ms` is when it was published (unix ms). `overdue`: it has no reply, and that was reported.
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
        """The reservation after a fill of `qty` for it; a fill of more than it reserved leaves 0."""
        return replace(
            self,
            qty=max(ZERO, self.qty - qty),
            filled=self.filled + qty,
            value=self.value + qty * price,
            pnl=self.pnl + pnl,
        )


class LadderState(NamedTuple):
    """The ladder and the stop of one lifecycle. Quantities are in base currency, `stop` and `atr` in quote currency.

    By the name of a rung: `spent`, `firings` (harvests published), `failures` (attempts that ended unfilled) and `owed`
    (the quantity that a rung asks for when it is armed again). `carry` is quantity that rounding left over for the next
    harvest. `stop` is the price of the stop, `stop_qty` the quantity that the newest published one protects,
    `break_even` whether it has been at break-even, `atr` the newest that a fill named (a price difference). `held` maps
    an action to the guard that held it back last, so that a refusal is journaled once and not per tick.
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
        """All quantity that published intents may still take (base currency)."""
        return sum((r.qty for r in self.reservations), ZERO)

    def firing(self, rungs: tuple[str, ...]) -> int:
        """The number of the next harvest of `rungs`, from 1; with the rungs it is unique in the lifecycle."""
        fired = dict(self.firings)
        return 1 + max(fired.get(rung, 0) for rung in rungs)

    def fired(self, claims: tuple[Claim, ...], left_over: Decimal, placed: tuple[Reservation, ...]) -> "LadderState":
        """The state after a harvest of `claims` was published, with the reservations `placed` for its parts."""
        rungs = tuple(claim.rung for claim in claims)
        number = self.firing(rungs)
        return self._replace(
            spent=self.spent + rungs,
            firings=tuple(sorted({**dict(self.firings), **dict.fromkeys(rungs, number)}.items())),
            owed=tuple(item for item in self.owed if item[0] not in rungs),
            carry=left_over,
            reservations=self.reservations + placed,
            # All that was due is published: no harvest is held back any more.
            held=tuple(item for item in self.held if not item[0].startswith(HARVEST_ACTION)),
        )

    def taken(self, intent_id: str, qty: Decimal, price: Decimal, pnl: Decimal) -> "LadderState":
        """The state after a fill of `qty` at `price` for `intent_id` that realized `pnl`: `qty` less is reserved."""
        after = (r.after(qty, price, pnl) if r.intent_id == intent_id else r for r in self.reservations)
        return self._replace(reservations=tuple(r for r in after if r.qty))

    def released(self, intent_id: str) -> tuple["LadderState", tuple[str, ...]]:
        """The state after the order of `intent_id` ended unfilled, and the names of the rungs that are given up.

        The order's quantity is free, and its rungs are armed again. A rung whose last attempt this was is given up: it
        stays spent. The parts of a harvest are one attempt: each adds what it left unfilled to what its rungs are owed.
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
        """The state with its reservations cut, newest first, until they sum to at most `limit` (base currency)."""
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

    def late_intents(self, placed_before_ms: int) -> tuple[str, ...]:
        """Ids of the intents that were published at or before `placed_before_ms` (unix ms), have no reply, and are not
        marked overdue yet.
        """
        return tuple(r.intent_id for r in self.reservations if r.placed_ms <= placed_before_ms and not r.overdue)

    def marked_overdue(self, placed_before_ms: int) -> "LadderState":
        """The state with `late_intents` marked overdue. Their quantity stays reserved: a reply may still come."""
        late = self.late_intents(placed_before_ms)
        marked = (replace(r, overdue=True) if r.intent_id in late else r for r in self.reservations)
        return self._replace(reservations=tuple(marked))

    def held_back(self, action: str, reason: str) -> "LadderState":
        """The state with `reason` as the last one that held `action` back."""
        return self._replace(held=tuple(sorted({**dict(self.held), action: reason}.items())))

    def not_held_back(self, action: str) -> "LadderState":
        """The state after nothing holds `action` back any more."""
        if not self.held:
            return self
        return self._replace(held=tuple(item for item in self.held if item[0] != action))


def _owing(
    owed: tuple[tuple[str, Decimal], ...], claims: tuple[Claim, ...], unfilled: Decimal
) -> tuple[tuple[str, Decimal], ...]:
    """`owed` with `unfilled` more: each of `claims` from the lowest rung on gets up to its share, the last the rest."""
    sums = dict(owed)
    for claim in claims:
        part = unfilled if claim is claims[-1] else min(claim.share, unfilled)
        sums[claim.rung] = sums.get(claim.rung, ZERO) + part
        unfilled -= part
    return tuple(sorted(sums.items()))
