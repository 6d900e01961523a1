"""F15: the kill switch turned at each step of two workers, to everything that an operator may have typed.

Closed is whatever is not clearly open: from the turn on no intent goes out, and once it is off again what is due goes.
"""

from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Final

from laboratory import interleavings, schedules
from laboratory.actors import TURN, Budget, Switch
from laboratory.arena import Arena
from laboratory.interleavings import Job, Tally, failing, play_all, story
from laboratory.invariants import Violation
from laboratory.prepared_scenario import WORKER, verdict
from laboratory.report import Result
from laboratory.scenarios import ALL
from laboratory.server_pool import Site, spread

ID: Final = "F15"
TITLE: Final = "kill switch"

KEY: Final = "quantum:kill"
TYPED: Final = (
    *("1", "2", "true", "on", "yes", "false", "off", "no", "null", "none"),
    *(" ", " 0", "0 ", "00", "0.0", "-0", "+0", "0\n", "\x00", "\uff10"),
)
"""Texts that all close: only the absent, the empty and the plain `0` open."""
OTHER_TYPES: Final = {
    "a hash": ("HSET", KEY, "0", "0"),
    "a list": ("RPUSH", KEY, "0"),
    "a set": ("SADD", KEY, "0"),
    "a sorted set": ("ZADD", KEY, 0, "0"),
    "a stream": ("XADD", KEY, "*", "0", "0"),
}
CLOSED: Final = {
    **{repr(text): Switch(("SET", KEY, text), True) for text in TYPED},
    **{name: Switch(command, True) for name, command in OTHER_TYPES.items()},
}
OPEN: Final = {
    "absent": Switch(("DEL", KEY), False),
    "''": Switch(("SET", KEY, ""), False),
    "'0'": Switch(("SET", KEY, "0"), False),
}
"""Also the ways to switch off again."""
SWITCHES: Final = {**CLOSED, **OPEN}


PUBLISHING: Final = [number for number, scenario in enumerate(ALL) if scenario.publishes]


def run(arena: Arena) -> Result:
    """At a scale below 1: every value before a worker comes, and fewer of them at each step."""
    began = monotonic()
    values = list(SWITCHES)
    at_each_step = arena.chance("values").sample(values, min(len(values), arena.count(len(values))))
    jobs = [(_at_each_step, value) for value in at_each_step] + [(_at_first, value) for value in values]
    result = Result(ID, TITLE)
    for tally in spread(arena, _play, jobs):
        interleavings.add(result, arena, tally)
    result.seconds = monotonic() - began
    result.notes["values that close the switch"] = len(CLOSED)
    result.notes["values that open it"] = len(OPEN)
    result.notes["values turned to at each step"] = len(at_each_step)
    return result


def _play(site: Site, job: tuple[Callable[[Site, str], Tally], str]) -> Tally:
    play, value = job
    return play(site, value)


def _at_first(site: Site, value: str) -> Tally:
    """The switch has the value before a worker comes: it publishes if that opens, and not if it closes."""
    tally = Tally(f"kill switch {value}", 1)
    for number in PUBLISHING:
        job = Job(number, (WORKER,), Budget(turns=(value,)))
        prepared = site.prepared(ALL[number], job.roles, SWITCHES)
        played = schedules.again(partial(story, site, prepared, job), [(TURN, value)])
        published = played.play.sent - prepared.sent
        seen, wrong = verdict(site.stage, prepared, played.play, forget=False)
        if (published > 0) is SWITCHES[value].closes:
            wrong.append(Violation("I3", "other", f"{published} intents went out with the kill switch at {value}"))
        tally.count(prepared, seen, wrong)
        if wrong:
            tally.keep(failing(played, wrong, forget=False))
    return tally


def _at_each_step(site: Site, value: str) -> Tally:
    """Turned to the value at any step of two workers, and to another at any later one."""
    at = list(SWITCHES).index(value)
    number, then = PUBLISHING[at % len(PUBLISHING)], list(OPEN)[at % len(OPEN)]
    return play_all(site, Job(number, (WORKER, WORKER), Budget(turns=(value, then))), SWITCHES)
