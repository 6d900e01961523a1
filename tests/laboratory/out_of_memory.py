"""F7: the server runs out of memory, or of room for its log; after there is room again all goes on.

Out of memory, each command that would take some is refused. Without room for its log the server refuses to write, or
ends: at a limit to the size of its files (which the system tells it about by a signal that it survives or does not),
or on a full disk, here a small one in memory, where mounting is allowed.
"""

import os
import random
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Final

from redis.exceptions import OutOfMemoryError, RedisError
from users import GuardedServer
from waiting import wait_until

from harvest_tasks.processes.embedded_server import EmbeddedServer, wheel_executable
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings
from laboratory.accounting import Account, Wrong
from laboratory.arena import Arena, executable
from laboratory.arena_pool import blame, gather, note
from laboratory.fleet import SETTINGS, WRITTEN_AT_ONCE
from laboratory.invariants import Violation
from laboratory.lane import LIVE
from laboratory.producer import Producer
from laboratory.rehearsed_run import OFTEN, Rehearsed, at_once
from laboratory.report import Result
from laboratory.round_trips import Trips
from laboratory.threaded_path import Hands, not_allowed
from laboratory.traffic import WIDE_SPREAD

ID: Final = "F7"
TITLE: Final = "out of memory, disk full"

FULL_MEMORY: Final = 32
FULL_DISK: Final = 18
NONE: Final = -20_000
"""Bytes to spare when there are none at all."""
SWEEP: Final = 8
"""Cases of full memory on one server."""
REJECTED: Final = "max number of clients"
"""An error that the server counts elsewhere."""
TRIES: Final = 8
ROOM_BYTES: Final = (2_000, 200_000)
"""How much a log may still grow."""
DISK_BYTES: Final = 4 << 20
FLOOD: Final = 10
HIT_WITHIN_SEC: Final = 20.0
QUIET_WITHIN_SEC: Final = 30.0
IGNORING: Final = "#!/bin/sh\ntrap '' XFSZ\nexec {} \"$@\"\n"
"""A server that is told by an error, not by a signal, that a file may not grow."""


@dataclass(frozen=True, slots=True)
class Case:
    """`kind` is memory (`count` times), or one of the disks."""

    kind: str
    number: int
    count: int = 1


def run(arena: Arena) -> Result:
    result = Result(ID, TITLE)
    left = arena.count(FULL_MEMORY)
    cases = [Case("memory", n, min(SWEEP, left - n)) for n in range(0, left, SWEEP)]
    kinds = list(DISKS)
    if not can_mount(arena.directory):
        kinds.remove(MOUNTED)
        result.notes[MOUNTED] = "skipped: no right to mount"
    cases += [Case(kinds[n % len(kinds)], n) for n in range(arena.count(FULL_DISK))]
    gather(arena, result, _play, cases)
    return result


def _play(arena: Arena, case: Case) -> Result:
    result = Result(ID, TITLE)
    if case.kind == "memory":
        _fill_memory(arena, result, case)
    else:
        _fill_disk(arena, result, case)
    return result


# Memory.


def _fill_memory(arena: Arena, result: Result, case: Case) -> None:
    server = arena.server(durable=False, options=OFTEN)
    director, trips = arena.client(server), Trips(server.url())
    with at_once():
        for number in range(case.number, case.number + case.count):
            _without_memory(arena, result, director, trips, number)
    trips.close()


def _without_memory(arena: Arena, result: Result, director: Client, trips: Trips, number: int) -> None:
    """No memory from one round trip to another; both at random."""
    rng = arena.chance(number)
    rehearsed = Rehearsed(director, trips, arena.chance(f"entries {number}"))
    start, length = rng.randrange(rehearsed.trips_needed * 3 // 4), rng.choice((2, 4, 12, 40))
    spare = rng.choice((NONE, NONE, rng.randrange(30_000)))
    for _ in range(TRIES):
        refused = _play_without(rehearsed, director, start, start + length, spare)
        seen, wrong = rehearsed.verdict()
        if refused or wrong:
            break
        # Nothing that takes memory was asked for meanwhile, so this was no case.
        length, spare = length * 2, spare // 2 if spare > 0 else spare
    wrong += [Violation("I13", "other", repr(e)) for e in rehearsed.failed if not isinstance(e, OutOfMemoryError)]
    blame(arena, result, wrong, f"memory {number}: {spare} bytes to spare from round trip {start} for {length}")
    result.cases += 1
    result.fills += rehearsed.fills
    result.intents += len(seen.sent)
    note(result, "cases", memory=1)
    note(result, "commands refused", for_want_of_memory=refused)


def _play_without(rehearsed: Rehearsed, director: Client, start: int, end: int, spare: int) -> int:
    """No memory but `spare` bytes from round trip `start` to `end`; how many commands were refused."""
    director.config_resetstat()
    rehearsed.begin({start: lambda: _limit(director, spare), end: lambda: director.config_set("maxmemory", 0)})
    rehearsed.go_on()
    return refusals(director, "OOM")


def _limit(director: Client, spare: int) -> None:
    director.config_set("maxmemory", int(director.info("memory")["used_memory"]) + spare)


def refusals(client: Client, error: str) -> int:
    """How often the server answered with `error` since its statistics began."""
    if error == REJECTED:
        return int(client.info("stats")["rejected_connections"])
    known = client.info("errorstats")
    return int(known.get(f"errorstat_{error}", {"count": 0})["count"])


# Disk.


@dataclass(frozen=True, slots=True)
class Disk:
    """A server whose log gets no more room once it is `fill`ed, until it is `free`d. `ends`: the server ends of it."""

    server: GuardedServer
    fill: Callable[[int], None]
    free: Callable[[], object]
    ends: bool


def _fill_disk(arena: Arena, result: Result, case: Case) -> None:
    rng = arena.chance(f"{case.kind} {case.number}")
    settings = Settings.from_env({**SETTINGS, **LIVE})
    with ExitStack() as stack:
        disk = stack.enter_context(DISKS[case.kind](arena))
        client = arena.client(disk.server)
        producer = Producer(client, settings, rng, spread=WIDE_SPREAD)
        account = Account(client, settings)
        hands = stack.enter_context(Hands(disk.server, settings))
        wrong = _through(disk, client, producer, account, rng)
        # What the log says is the same.
        disk.server.kill()
        disk.server.start()
        wrong = wrong or judged(account, producer)
        wrong += [Violation("I13", "other", what) for what in hands.unexpected]
    blame(arena, result, wrong, f"{case.kind} {case.number}")
    result.cases += 1
    result.fills += producer.fills
    result.intents += account.intents
    note(result, "cases", **{case.kind: 1})
    note(result, "entries refused", for_want_of_room=producer.refused)


def _through(disk: Disk, client: Client, producer: Producer, account: Account, rng: random.Random) -> list[Violation]:
    """Load before, while and after there is no room."""
    _load(producer, rng.randint(2, 8))
    disk.fill(rng.randint(*ROOM_BYTES))
    try:
        wait_until(lambda: _is_hit(disk, client, producer), HIT_WITHIN_SEC, "the server feels that there is no room")
    except AssertionError as error:
        return [Violation("I13", "other", str(error))]
    _load(producer, 3)
    sleep(rng.uniform(0.0, 0.1))
    disk.free()
    if disk.ends:
        disk.server.kill()
        disk.server.start()
        client.connection_pool.disconnect()
    wait_until(lambda: _is_healthy(client), HIT_WITHIN_SEC, "the server writes again")
    producer.resolve()
    _load(producer, 3)
    return judged(account, producer)


def _load(producer: Producer, rounds: int) -> None:
    """Some entries, unless the server has ended."""
    with suppress(ConnectionError, RedisError):
        for _ in range(rounds):
            producer.feed(FLOOD)
            producer.answer()


def _is_hit(disk: Disk, client: Client, producer: Producer) -> bool:
    _load(producer, 1)
    if disk.ends:
        return not disk.server.answers()
    return refusals(client, "MISCONF") > 0


def _is_healthy(client: Client) -> bool:
    return bool(client.info("persistence")["aof_last_write_status"] == "ok")


def judged(account: Account, producer: Producer) -> list[Violation]:
    """Once all is applied."""
    client = producer.client
    try:
        client.delete(keys.LEASE, *(keys.lock(book) for book in producer.books))
        wait_until(lambda: account.check().is_quiet, QUIET_WITHIN_SEC, "all is applied")
    except Wrong as wrong:
        return [Violation("I4", kind, str(wrong)) for kind in wrong.kinds]
    except AssertionError as late:
        return [Violation("I9", "lost", str(late))]
    return [*producer.unlike(), *account.judge(producer.fed), *not_allowed(client)]


@contextmanager
def _killed_at_limit(arena: Arena) -> Iterator[Disk]:
    """The system ends the server at its next write."""
    with GuardedServer(executable(), unix=True, options=WRITTEN_AT_ONCE) as server:
        yield Disk(server, lambda _: _limit_files(server, 1), lambda: None, ends=True)


@contextmanager
def _gives_up_at_limit(arena: Arena) -> Iterator[Disk]:
    """The server promised that each answer is on disk, and ends rather than break that."""
    with GuardedServer(_ignoring(arena), unix=True, options=("--appendfsync", "always")) as server:
        yield Disk(server, lambda room: _limit_files(server, _size(server) + room), lambda: None, ends=True)


@contextmanager
def _refuses_at_limit(arena: Arena) -> Iterator[Disk]:
    with GuardedServer(_ignoring(arena), unix=True, options=WRITTEN_AT_ONCE) as server:
        yield Disk(
            server,
            lambda room: _limit_files(server, _size(server) + room),
            lambda: _limit_files(server, resource.RLIM_INFINITY),
            ends=False,
        )


@contextmanager
def _refuses_on_full_disk(arena: Arena) -> Iterator[Disk]:
    place = arena.directory / "small"
    with (
        _mounted(place),
        GuardedServer(executable(), unix=True, options=(*WRITTEN_AT_ONCE, "--dir", str(place))) as server,
    ):
        ballast = place / "ballast"
        yield Disk(server, lambda room: _fill(ballast, room), ballast.unlink, ends=False)


MOUNTED: Final = "a small disk is full"
DISKS: Final = {
    "killed at a limit": _killed_at_limit,
    "ends itself at a limit": _gives_up_at_limit,
    "refuses at a limit": _refuses_at_limit,
    MOUNTED: _refuses_on_full_disk,
}


def _limit_files(server: EmbeddedServer, size: int) -> None:
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def _size(server: EmbeddedServer) -> int:
    return max(file.stat().st_size for file in (server.directory / "appendonlydir").iterdir())


def _ignoring(arena: Arena) -> str:
    script = arena.directory / "server"
    script.write_text(IGNORING.format(executable() or wheel_executable()))
    script.chmod(0o700)
    return str(script)


def _fill(ballast: Path, room: int) -> None:
    """Leave so many bytes of the disk."""
    disk = os.statvfs(ballast.parent)
    ballast.write_bytes(bytes(max(1, disk.f_bavail * disk.f_frsize - room)))


@contextmanager
def _mounted(place: Path) -> Iterator[None]:
    place.mkdir(exist_ok=True)
    _mount("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(place))
    try:
        yield
    finally:
        _mount("umount", "--lazy", str(place))


def can_mount(directory: Path) -> bool:
    try:
        with _mounted(directory / "try"):
            return True
    except (subprocess.CalledProcessError, FileNotFoundError):
        return False


def _mount(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)  # noqa: S603 - on a directory of our own
