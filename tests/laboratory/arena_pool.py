"""Work spread over processes, each item in an arena of its own: for classes whose cases start servers themselves."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from typing import TypeVar

from laboratory.arena import Arena
from laboratory.invariants import Violation
from laboratory.report import Result

Item = TypeVar("Item")
Play = Callable[[Arena, Item], Result]
"""A module's own function; what it is given can be pickled."""


def gather(arena: Arena, result: Result, play: Play[Item], items: Sequence[Item]) -> None:
    """Play all of `items`, `arena.jobs` at a time, and add what came of them. Notes that count are added up."""
    for part in _played(arena, play, items):
        together = {name: _sum(result.notes.get(name), note) for name, note in part.notes.items()}
        result.add(part)
        result.notes |= together


def blame(arena: Arena, result: Result, wrong: Sequence[Violation], schedule: str) -> None:
    """Count in what did not hold in one case, if anything."""
    if not wrong:
        return
    kinds = Counter(violation.kind for violation in wrong)
    result.lost += kinds["lost"]
    result.doubled += kinds["doubled"]
    result.torn += kinds["torn"]
    result.out_of_order += kinds["out_of_order"]
    result.failures.append(arena.failure("; ".join(str(violation)[:400] for violation in wrong[:5]), schedule))


def note(result: Result, name: str, **counts: int) -> None:
    """Add to the counts of the note `name`."""
    before = result.notes.get(name, {})
    result.notes[name] = _sum(before, {kind.replace("_", " "): n for kind, n in counts.items() if n})


def _played(arena: Arena, play: Play[Item], items: Sequence[Item]) -> Iterator[Result]:
    there = partial(_in_its_arena, arena.fault_id, arena.seed, arena.scale, play)
    if min(arena.jobs, len(items)) <= 1:
        yield from map(there, items)
        return
    with ProcessPoolExecutor(min(arena.jobs, len(items)), get_context("spawn")) as pool:
        try:
            for future in as_completed([pool.submit(there, item) for item in items]):
                yield future.result()
        finally:
            # After a failure nobody waits for the rest.
            pool.shutdown(wait=False, cancel_futures=True)


def _in_its_arena(fault_id: str, seed: int, scale: float, play: Play[Item], item: Item) -> Result:
    with Arena(fault_id, seed, scale, jobs=1) as place:
        return play(place, item)


def _sum(one: object, other: object) -> object:
    if isinstance(one, dict) and isinstance(other, dict):
        return {name: _sum(one.get(name), other.get(name)) for name in {**one, **other}}
    if isinstance(one, int) and isinstance(other, int):
        return one + other
    return one if other is None else other
