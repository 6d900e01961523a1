"""LUA: scripts that are wrong in one place each, made by rule; something of what tests them must notice every one.

Each is put in the place of the real script and goes through the trials of its contract and some interleavings, until
one objects. What nothing can notice, because it does the same, is listed with its reason in `lua_equivalents.json`.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from time import monotonic
from typing import Any, Final
from unittest.mock import patch

import redis

from harvest_tasks.fills import stream
from harvest_tasks.server import script
from harvest_tasks.server.client import Client
from harvest_tasks.server.script import Script
from laboratory.actors import Budget
from laboratory.arena import Arena
from laboratory.commit_trials import COMMIT
from laboratory.interleavings import WATCHERS, WORKERS, Job, play_all
from laboratory.lua_mutations import SCRIPTS, Mutant, mutants
from laboratory.publish_trials import PUBLISH
from laboratory.report import Result
from laboratory.route_trials import ROUTE
from laboratory.server_pool import Site, spread

ID: Final = "LUA"
TITLE: Final = "Lua mutants"
CHUNK: Final = 12
BATCH: Final = 500
"""Entries that a watcher reads at once, as it does outside of plays."""
TRIALS: Final[Mapping[str, Sequence[Callable[[Client], None]]]] = {"commit": COMMIT, "route": ROUTE, "publish": PUBLISH}
PLAYS: Final[Mapping[str, Sequence[Job]]] = {
    "commit": (
        Job(2, WORKERS, Budget(crashes=1, expiries=1), samples=8, seed=1),
        Job(5, WORKERS, Budget(crashes=1), samples=8, seed=2),
    ),
    "route": (
        Job(1, WATCHERS, Budget(crashes=1), samples=8, seed=1),
        Job(4, WATCHERS, Budget(crashes=1, expiries=1), samples=8, seed=2),
    ),
    "publish": (),
}
"""Interleavings of a script's own actors."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What objected to a mutant first; nothing if it survived."""

    mutant: Mutant
    noticed_by: str = ""


def run(arena: Arena) -> Result:
    """At a scale below 1: a part of the mutants."""
    began = monotonic()
    every = [mutant for name in SCRIPTS for mutant in mutants(name, script.load(name).text)]
    chosen = sorted(arena.chance("mutants").sample(every, arena.count(len(every))))
    jobs = [(), *(tuple(chosen[at : at + CHUNK]) for at in range(0, len(chosen), CHUNK))]
    verdicts = [verdict for some in spread(arena, judged, jobs) for verdict in some]
    result = Result(ID, TITLE, cases=len(verdicts))
    _tell(result, arena, sorted(verdicts, key=lambda verdict: verdict.mutant))
    for key in equivalents().keys() - {mutant.key for mutant in every}:
        result.failures.append(arena.failure(f"listed as equivalent, and there is no such mutant: {key}"))
    result.seconds = monotonic() - began
    return result


def judged(site: Site, some: Sequence[Mutant]) -> list[Verdict]:
    """What becomes of some mutants; of none, of the real scripts, to which nothing may object."""
    if not some:
        for name in SCRIPTS:
            objection = _objection(site, name, script.load(name))
            assert not objection, f"to the real {name}.lua objects {objection}"
    return [Verdict(mutant, _objection(site, mutant.name, mutant.script).partition(":")[0]) for mutant in some]


@lru_cache
def equivalents() -> Mapping[tuple[str, str, str], str]:
    """Mutants that do the same as the real script, by key: why."""
    listed: list[dict[str, str]] = json.loads(files("laboratory").joinpath("lua_equivalents.json").read_text("utf-8"))
    return {(each["script"], each["line"], each["change"]): each["why"] for each in listed}


@contextmanager
def in_place(changed: Script) -> Iterator[None]:
    """While it lasts, this is the script of that name."""
    real = script.load
    with (
        patch.object(script, "load", lambda name: changed if name == changed.name else real(name)),
        patch.object(stream, "READ_BATCH", BATCH),
    ):
        yield


def _objection(site: Site, name: str, tried: Script) -> str:
    """Who objects, and what to; empty if nobody does."""
    with in_place(tried):
        for trial in TRIALS[name]:
            if objection := _raised(lambda trial=trial: site.stage.direct(trial)):
                return f"{trial.__name__}: {objection}"
        objection = _raised(lambda: _play(site, name)) if PLAYS[name] else ""
        return objection and f"interleavings: {objection}"


def _raised(what: Callable[[], None]) -> str:
    try:
        what()
    except redis.ConnectionError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is noticed
        return f"{type(error).__name__} {error}"
    return ""


def _play(site: Site, name: str) -> None:
    """On a stage that knows the commits of this script."""
    path = site.stage.client.config_get("unixsocket")["unixsocket"]
    fresh = Site(str(path))
    try:
        with patch.object(stream, "READ_BATCH", 1):
            for job in PLAYS[name]:
                tally = play_all(fresh, job)
                assert not tally.kinds, tally.shortest
    finally:
        fresh.close()


def _tell(result: Result, arena: Arena, verdicts: Sequence[Verdict]) -> None:
    same = equivalents()
    killed = [verdict for verdict in verdicts if verdict.noticed_by]
    survivors = [verdict for verdict in verdicts if not verdict.noticed_by]
    for verdict in survivors:
        if verdict.mutant.key not in same:
            result.failures.append(arena.failure(f"nothing notices {verdict.mutant}"))
    for verdict in killed:
        if verdict.mutant.key in same:
            result.failures.append(arena.failure(f"{verdict.noticed_by} notices an equivalent: {verdict.mutant}"))
    listed = sum(verdict.mutant.key in same for verdict in verdicts)
    counts: dict[str, Any] = {"made": len(verdicts) - listed, "killed": len(killed), "equivalent": listed}
    result.notes["lua_mutants"] = counts
    result.notes["by script"] = dict(Counter(verdict.mutant.name for verdict in verdicts))
    result.notes["noticed by"] = dict(Counter(verdict.noticed_by for verdict in killed).most_common())
