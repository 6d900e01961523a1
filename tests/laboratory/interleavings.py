"""F1: every interleaving of two actors, command by command, with crashes, keys that expire and a kill switch that
turns; and random ones of three.

Watchers and workers run their real code against a real server. After each schedule fresh ones come; then everything
must be as if one watcher and one worker had done it all alone.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle, product
from math import ceil
from random import Random
from time import monotonic
from typing import Final

from laboratory import schedules
from laboratory.actors import Budget, Story, Switch
from laboratory.arena import Arena
from laboratory.invariants import Seen, Violation
from laboratory.prepared_scenario import ANSWERER, WATCHER, WORKER, Prepared, verdict
from laboratory.report import Result
from laboratory.scenarios import ALL
from laboratory.schedules import Choice, Played
from laboratory.server_pool import Site, spread

ID: Final = "F1"
TITLE: Final = "interleavings"

WORKERS: Final = (WORKER, WORKER)
BOTH: Final = (WATCHER, WORKER)
WATCHERS: Final = (WATCHER, WATCHER)
ANSWERING: Final = (ANSWERER, WORKER)
ANSWERERS: Final = (ANSWERER, ANSWERER)
THREES: Final = ((WATCHER, WORKER, WORKER), (WATCHER, WATCHER, WORKER), (ANSWERER, WATCHER, WORKER))
SWITCHES: Final = {"on": Switch(("SET", "quantum:kill", "1"), True), "off": Switch(("DEL", "quantum:kill"), False)}

SAMPLED: Final = 10_000
"""Random schedules of three actors."""
CHUNK: Final = 250
ADVENTUROUS: Final = 0.2
"""The chance, at each turn of a random schedule, of something other than a step."""
ANYTHING: Final = (Budget(crashes=2, expiries=2), Budget(crashes=2, expiries=2, turns=("on", "off")))
EVERYWHERE: Final = (
    (WORKERS, Budget(crashes=1, expiries=1)),
    (WORKERS, Budget(turns=("on", "off"))),
    (WATCHERS, Budget(crashes=1)),
)
"""Small trees."""
IN_ALL: Final = (*EVERYWHERE, *((each, Budget(crashes=1)) for each in (ANSWERERS, ANSWERING, BOTH)))
MORE: Final = (
    (0, BOTH, Budget(expiries=1)),
    (1, BOTH, Budget(turns=("on",))),
    (2, BOTH, Budget(turns=("on",))),
    (6, BOTH, Budget(turns=("on",))),
    (3, BOTH, Budget(expiries=1)),
    (2, BOTH, Budget(expiries=1)),
    (4, BOTH, Budget(expiries=1)),
    (5, BOTH, Budget(expiries=1)),
    (1, WATCHERS, Budget(expiries=1)),
    *((number, ANSWERING, Budget(expiries=1)) for number in range(len(ALL))),
    *((number, ANSWERERS, Budget(expiries=1)) for number in (0, 6)),
)
"""Trees of some thousands of schedules, by the scenario's number; the last in the order of their size."""


Failing = tuple[int, list[str], list[str]]
"""A schedule after which something is wrong: its length, its lines, and what is wrong."""


@dataclass(frozen=True, slots=True)
class Job:
    """All schedules of a scenario, by number; or, with `samples`, so many random ones by the chance `seed`."""

    scenario: int
    roles: Sequence[str]
    budget: Budget
    samples: int = 0
    seed: int = 0


@dataclass(slots=True)
class Tally:
    """What came of some schedules. `kinds` counts those in which something was lost, doubled and so on; `shortest` is
    the shortest of those.
    """

    scenario: str
    actors: int
    schedules: int = 0
    fills: int = 0
    intents: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    shortest: Failing | None = None

    def count(self, prepared: Prepared, seen: Seen, wrong: Sequence[Violation]) -> None:
        """One play that is over; what was there at its start does not count."""
        self.schedules += 1
        self.fills += prepared.scenario.fills
        self.intents += len(seen.sent) - prepared.sent
        self.kinds.update({violation.kind for violation in wrong})

    def add(self, other: "Tally") -> None:
        self.schedules += other.schedules
        self.fills += other.fills
        self.intents += other.intents
        self.kinds += other.kinds
        self.keep(other.shortest)

    def keep(self, failing: Failing | None) -> None:
        self.shortest = min(filter(None, (self.shortest, failing)), default=None)


def run(arena: Arena) -> Result:
    """At a scale below 1: the small trees of some scenarios, and fewer random schedules."""
    began = monotonic()
    tallies = _by_scenario(spread(arena, play_all, [*_jobs(arena), *_samples(arena)]))
    result = Result(ID, TITLE, seconds=monotonic() - began)
    for tally in tallies:
        add(result, arena, tally)
    two = {tally.scenario: tally.schedules for tally in tallies if tally.actors == 2}
    result.notes["all schedules of two actors"] = {**two, "together": sum(two.values())}
    result.notes["random schedules of three actors"] = sum(t.schedules for t in tallies if t.actors == 3)
    result.notes["schedules a second"] = result.cases / result.seconds
    return result


def play_all(site: Site, job: Job, switches: Mapping[str, Switch] = SWITCHES) -> Tally:
    """Play what the job asks for; its budget's turns name `switches`."""
    scenario = ALL[job.scenario]
    prepared = site.prepared(scenario, job.roles, switches)
    start = partial(story, site, prepared, job)
    tally = Tally(scenario.name, len(job.roles))
    for number, played in enumerate(_random(start, job) if job.samples else schedules.every(start)):
        forget = number % 2 == 0
        seen, wrong = verdict(site.stage, prepared, played.play, forget)
        tally.count(prepared, seen, wrong)
        if wrong:
            tally.keep(failing(played, wrong, forget))
            if job.samples:
                _shorten(site, prepared, start, played.taken, tally)
    return tally


def add(result: Result, arena: Arena, tally: Tally) -> None:
    """Count `tally` in `result`, with its shortest failing schedule."""
    result.cases += tally.schedules
    result.fills += tally.fills
    result.intents += tally.intents
    result.lost += tally.kinds["lost"]
    result.doubled += tally.kinds["doubled"]
    result.torn += tally.kinds["torn"]
    result.out_of_order += tally.kinds["out_of_order"]
    if tally.shortest is not None:
        _, lines, wrong = tally.shortest
        result.failures.append(arena.failure(f"{tally.scenario}: {'; '.join(wrong)}", "\n".join(lines)))


def _jobs(arena: Arena) -> Iterator[Job]:
    """The largest trees first, so that no process is left with one at the end."""
    if arena.scale >= 1:
        yield from (Job(*more) for more in reversed(MORE))
        yield from (Job(number, *each) for each in reversed(IN_ALL) for number in range(len(ALL)))
        return
    numbers = arena.chance("scenarios").sample(range(len(ALL)), min(len(ALL), arena.count(len(ALL))))
    yield from (Job(number, *each) for number in numbers for each in EVERYWHERE)


def _samples(arena: Arena) -> Iterator[Job]:
    """Every combination of scenario, roles and budget in turn."""
    chance, left = arena.chance("samples"), arena.count(SAMPLED)
    combinations = [(number, *each) for each in product(THREES, ANYTHING) for number in range(len(ALL))]
    chance.shuffle(combinations)
    size = min(CHUNK, ceil(left / len(combinations)))
    for number, roles, budget in cycle(combinations):
        if left <= 0:
            return
        yield Job(number, roles, budget, min(size, left), chance.getrandbits(32))
        left -= size


def story(site: Site, prepared: Prepared, job: Job) -> Story:
    """One play of the job's roles."""
    cast = {f"{role} {number}": prepared.work(role) for number, role in enumerate(job.roles, start=1)}
    return Story(site.stage, prepared.start, cast, job.budget)


def _random(start: "partial[Story]", job: Job) -> Iterator[Played[Story]]:
    rng = Random(job.seed)  # noqa: S311 - to be repeated, not to be secret
    for _ in range(job.samples):
        yield schedules.random(start, rng, ADVENTUROUS)


def failing(played: Played[Story], wrong: Sequence[Violation], forget: bool) -> Failing:
    """What to tell of it."""
    end = "then fresh ones come, after " + ("dedup keys expired" if forget else "locks expired")
    return len(played.taken), [*played.play.lines(), end], [str(violation) for violation in wrong]


def _shorten(site: Site, prepared: Prepared, start: "partial[Story]", taken: Sequence[Choice], tally: Tally) -> None:
    """Look for a shorter one: the same beginning, and then plainly on."""
    for turns in range(len(taken)):
        played = schedules.again(start, taken[:turns])
        _, wrong = verdict(site.stage, prepared, played.play, forget=True)
        if wrong:
            tally.keep(failing(played, wrong, forget=True))
            return


def _by_scenario(tallies: Iterable[Tally]) -> list[Tally]:
    merged: dict[tuple[int, str], Tally] = {}
    for tally in tallies:
        merged.setdefault((tally.actors, tally.scenario), Tally(tally.scenario, tally.actors)).add(tally)
    return [merged[key] for key in sorted(merged)]
