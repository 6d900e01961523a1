"""DET: the same entries give the same positions, journal and intents, byte for byte, however they are replayed.

Each of many seeds makes a journal that is replayed twice; one large journal is replayed whole, in random batches, and
with processes that crash. Each replay of one journal is in a process with another hash seed than the others.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from time import monotonic
from typing import Final

from laboratory.arena import Arena
from laboratory.replays import BATCHES, CRASHES, WHOLE, Course, Outcome
from laboratory.report import Result
from laboratory.server_pool import socket_of

ID: Final = "DET"
TITLE: Final = "determinism"
SEEDS: Final = 200
FILLS: Final = 100_000
FILLS_OF_A_SEED: Final = 60
CRASH_EVERY: Final = 1_000
"""Fills, at most, of the large journal."""
MANNERS: Final = (CRASHES, BATCHES, WHOLE)
ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Job:
    """Courses of one process, and its hash seed."""

    hash_seed: int
    courses: Sequence[Course]


Replayed = tuple[Job, Sequence[Outcome]]


def run(arena: Arena) -> Result:
    """At a scale below 1: fewer seeds, and a shorter journal."""
    began = monotonic()
    chance = arena.chance("journals")
    seeds = [chance.getrandbits(32) for _ in range(arena.count(SEEDS))]
    large = chance.getrandbits(32)
    jobs = [_large(n, Course(large, arena.count(FILLS), manner, n)) for n, manner in enumerate(MANNERS, start=1)]
    replayed = list(_replayed(arena, [*jobs, _twice(seeds, 4), _twice(seeds, 5)]))
    result = Result(ID, TITLE)
    for _, outcomes in replayed:
        _count(result, outcomes)
    _compare(result, arena, replayed)
    _tell(result, arena, [outcomes[0] for _, outcomes in replayed[: len(jobs)]])
    result.notes["seeds replayed twice"] = len(seeds)
    result.seconds = monotonic() - began
    return result


def replay(socket: str, job: Job) -> Sequence[Outcome]:
    """What came of the job's courses, in a process of its own. Raises AssertionError with what it said last."""
    argv = [sys.executable, "-m", "laboratory.replays", socket]
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
    environ = {**os.environ, "PYTHONHASHSEED": str(job.hash_seed), "PYTHONPATH": path}
    lines = "".join(json.dumps(asdict(course)) + "\n" for course in job.courses)
    done = subprocess.run(argv, input=lines, env=environ, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    assert not done.returncode, f"a replay ended: {done.stderr.strip().splitlines()[-1:]}"
    return [Outcome(**json.loads(line)) for line in done.stdout.splitlines()]


def _large(number: int, course: Course) -> Job:
    return Job(number, [course])


def _twice(seeds: Sequence[int], hash_seed: int) -> Job:
    """Once plainly, and once in random batches, with crashes or without."""
    if hash_seed % 2 == 0:
        return Job(hash_seed, [Course(seed, FILLS_OF_A_SEED, WHOLE) for seed in seeds])
    manners = (BATCHES, CRASHES)
    return Job(hash_seed, [Course(seed, FILLS_OF_A_SEED, manners[seed % 2], hash_seed) for seed in seeds])


def _replayed(arena: Arena, jobs: Sequence[Job]) -> Sequence[Replayed]:
    """In the order of the jobs, as many at the same time as the arena allows, each on a server of its own."""
    sockets: SimpleQueue[str] = SimpleQueue()
    for _ in range(arena.jobs):
        sockets.put(socket_of(arena.server(durable=False)))

    def work(job: Job) -> Replayed:
        socket = sockets.get()
        try:
            return job, replay(socket, job)
        finally:
            sockets.put(socket)

    with ThreadPoolExecutor(arena.jobs) as threads:
        return list(threads.map(work, jobs))


def _count(result: Result, outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        result.cases += 1
        result.fills += outcome.fills
        result.intents += outcome.intents


def _compare(result: Result, arena: Arena, replayed: Sequence[Replayed]) -> None:
    """Replays of one journal with the first of them."""
    first: dict[int, tuple[str, Mapping[str, str]]] = {}
    for job, outcomes in replayed:
        for course, outcome in zip(job.courses, outcomes, strict=True):
            manner = f"{course.manner}, hash seed {job.hash_seed}"
            other, parts = first.setdefault(course.seed, (manner, outcome.parts))
            if differing := [name for name in parts if parts[name] != outcome.parts[name]]:
                what = f"journal {course.seed} ({course.fills} fills): {', '.join(differing)} differ"
                result.failures.append(arena.failure(what, f"{other}\n{manner}"))


def _tell(result: Result, arena: Arena, large: Sequence[Outcome]) -> None:
    """Of the large journal: that it was one, with decisions and crashes in it."""
    crashes, fills = max(outcome.crashes for outcome in large), large[0].fills
    if crashes < fills // CRASH_EVERY:
        result.failures.append(arena.failure(f"only {crashes} crashes in {fills:,} fills"))
    if not all(outcome.intents for outcome in large):
        result.failures.append(arena.failure("a replay without an intent"))
    hashes = sorted({outcome.sha256[:16] for outcome in large})
    result.notes[f"hash of {fills:,} fills, replayed {len(large)} times with {crashes} crashes"] = hashes
    seconds = sum(outcome.seconds for outcome in large)
    result.notes["fills a second of one process"] = sum(outcome.fills for outcome in large) / seconds
