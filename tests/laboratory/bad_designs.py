"""Designs of the worker's effect that are known to be wrong, played like the real one: the explorer must catch each.

Each takes an entry from an inbox, publishes once for it, and removes it. One atomic step is played along, so that
catching is not all that the explorer can do.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, Final

from harvest_tasks.server.client import Client
from laboratory import schedules
from laboratory.actors import Budget, Start, Story, Work
from laboratory.arena import Arena
from laboratory.report import Result
from laboratory.server_pool import Site, spread
from laboratory.steps import pack

ID: Final = "BAD"
TITLE: Final = "known-bad designs"

INBOX, OUT, DONE, LOCK = "inbox", "out", "done", "lock"
TTL: Final = {"the mark of what is done": [DONE], "the lock": [LOCK]}
SCRIPT: Final = """
if redis.call('XDEL', KEYS[1], ARGV[1]) == 1 then
  redis.call('XADD', KEYS[2], '*', 'for', ARGV[1])
end
"""
BUDGETS: Final = {
    "no mishap": Budget(),
    "a crash": Budget(crashes=1),
    "an expiry": Budget(expiries=1),
}


def mark_then_publish(client: Client, entry_id: str) -> None:
    """SETNX, then publish: a crash between them loses."""
    if client.set(DONE, entry_id, nx=True, ex=900):
        client.xadd(OUT, {"for": entry_id})
    client.xdel(INBOX, entry_id)


def publish_then_mark(client: Client, entry_id: str) -> None:
    """Two that look before one of them marks both publish."""
    if not client.exists(DONE):
        client.xadd(OUT, {"for": entry_id})
        client.set(DONE, entry_id, ex=900)
    client.xdel(INBOX, entry_id)


def check_under_a_lock(client: Client, entry_id: str) -> None:
    """A lock that expires, or whose holder crashes, protects nothing."""
    if not client.set(LOCK, "mine", nx=True, px=1000):
        return
    if not client.exists(DONE):
        client.xadd(OUT, {"for": entry_id})
        client.set(DONE, entry_id, ex=900)
    client.xdel(INBOX, entry_id)
    client.delete(LOCK)


def in_one_step(client: Client, entry_id: str) -> None:
    """As it should be."""
    client.eval(SCRIPT, 2, INBOX, OUT, entry_id)


GOOD: Final = "one atomic step"
DESIGNS: Final[Mapping[str, Callable[[Client, str], None]]] = {
    "SETNX, then publish": mark_then_publish,
    "publish, then mark": publish_then_mark,
    "lock with a TTL and a done-check": check_under_a_lock,
    GOOD: in_one_step,
}


@dataclass(slots=True)
class Score:
    """Of `schedules`, those after which nothing was published, and those after which it was twice."""

    design: str
    mishaps: str
    schedules: int = 0
    lost: int = 0
    doubled: int = 0

    def __str__(self) -> str:
        return f"{self.mishaps}: lost {self.lost:,}, doubled {self.doubled:,} of {self.schedules:,}"


def run(arena: Arena) -> Result:
    """At a scale below 1: without the expiries, which make the largest trees."""
    began = monotonic()
    wanted = [mishaps for mishaps, budget in reversed(BUDGETS.items()) if arena.scale >= 1 or not budget.expiries]
    scores = list(spread(arena, played, [(design, mishaps) for mishaps in wanted for design in DESIGNS]))
    result = Result(ID, TITLE, cases=sum(score.schedules for score in scores))
    for design in DESIGNS:
        _judge(result, arena, design, [score for score in scores if score.design == design])
    result.seconds = monotonic() - began
    return result


def played(site: Site, job: tuple[str, str]) -> Score:
    """All schedules of two workers of a design with one entry, with some mishaps; after each, a worker alone."""
    score = Score(*job)
    start, work = _start(), partial(_work, DESIGNS[score.design])
    cast: dict[str, Work] = {f"worker {number}": work for number in (1, 2)}
    for _ in schedules.every(lambda: Story(site.stage, start, cast, BUDGETS[score.mishaps])):
        site.stage.wire.say(("DEL", LOCK))
        site.stage.direct(work)
        (published,) = site.stage.wire.say(("XLEN", OUT))
        score.schedules += 1
        score.lost += published == 0
        score.doubled += published > 1
    return score


def _judge(result: Result, arena: Arena, design: str, scores: Sequence[Score]) -> None:
    """A bad design must fail, and the good one may not."""
    lost, doubled = sum(score.lost for score in scores), sum(score.doubled for score in scores)
    result.notes[design] = sorted(map(str, scores))
    if design == GOOD:
        result.lost, result.doubled = lost, doubled
        return
    known: Any = result.notes.setdefault("known_bad", {})
    known[design] = "caught" if lost + doubled else "missed"
    if not lost + doubled:
        result.failures.append(arena.failure(f"the explorer does not see what is wrong with: {design}"))


def _start() -> Start:
    made = [("FLUSHDB",), ("XADD", INBOX, "1-1", "e", "a fill that crosses a rung")]
    return Start(pack(*made), len(made), TTL, [OUT])


def _work(design: Callable[[Client, str], None], client: Client) -> None:
    for entry_id, _ in client.xrange(INBOX):
        design(client, entry_id)
