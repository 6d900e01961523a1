"""F14: a server that answers with errors: it forgot its scripts, is busy, loads, obeys another, asks who is there.

Tasks end with what Redis says, or leave a book to the next bell; nothing is done by halves, and once the server is well
again all is applied, once.
"""

import random
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from redis.exceptions import RedisError, ResponseError
from waiting import wait_until

from harvest_tasks.server.client import Client, connect
from harvest_tasks.settings.model import Settings
from laboratory.accounting import Account
from laboratory.arena import Arena
from laboratory.arena_pool import blame, gather, note
from laboratory.fleet import SETTINGS, WRITTEN_AT_ONCE
from laboratory.invariants import Violation
from laboratory.out_of_memory import REJECTED, judged, refusals
from laboratory.producer import Producer
from laboratory.rehearsed_run import OFTEN, Rehearsed, at_once
from laboratory.report import Result
from laboratory.round_trips import Act, Trips
from laboratory.threaded_path import Hands
from laboratory.traffic import WIDE_SPREAD

ID: Final = "F14"
TITLE: Final = "errors of the server"

CASES: Final = 30
TRIES: Final = 6
FORGOTTEN_TIMES: Final = 10
NOWHERE: Final = ("127.0.0.1", 1)
"""A master that nobody can reach."""
OLD, NEW = "what it was", "what it is now"
"""Passwords."""
LOADED_ENTRIES: Final = 600
OTHER_LOG: Final = 10_000
"""Commands of others in the log: a server that loads answers after each 1,024, and a login takes several answers."""
SLOW_LOADING: Final = ("--key-load-delay", "1", "--aof-use-rdb-preamble", "no")
QUIET_WITHIN_SEC: Final = 30.0
BUSY_MS: Final = 5
BUSY: Final = "local began = os.clock() while os.clock() - began < tonumber(ARGV[1]) do end return 1"
BUSY_SEC: Final = (0.3, 0.6)
KEPT: Final = ("+acl", "+config", "+info", "+client")
"""What the director of a case may do all the time."""
TAKEN: Final = (
    *("-evalsha", "-xreadgroup", "-set", "-hgetall", "-xrange", "-@all"),
    *("-xadd", "-hincrby", "-lpush", "-ltrim", "-sadd", "-zrem", "-xtrim", "-hlen"),
)


@dataclass(frozen=True, slots=True)
class Trouble:
    """`begin` makes it, `end` ends it; the server answers `word` meanwhile."""

    word: str
    begin: Act
    end: Act


Kind = Callable[[Client, Trips, random.Random], Trouble]


def run(arena: Arena) -> Result:
    result = Result(ID, TITLE)
    kinds = [*KINDS, LOADING]
    gather(arena, result, _play, [(kinds[n % len(kinds)], n) for n in range(arena.count(CASES))])
    return result


def _play(arena: Arena, case: tuple[str, int]) -> Result:
    kind, number = case
    result = Result(ID, TITLE, cases=1)
    if kind == LOADING:
        _loading(arena, result, number)
    else:
        _troubled(arena, result, kind, number)
    note(result, "cases", **{kind: 1})
    return result


def _troubled(arena: Arena, result: Result, kind: str, number: int) -> None:
    """The trouble lasts from one round trip to another; it is no case unless somebody met it."""
    rng = arena.chance(number)
    server = arena.server(durable=False, options=(*OFTEN, "--busy-reply-threshold", str(BUSY_MS)))
    director, trips = arena.client(server), Trips(server.url())
    with at_once():
        rehearsed = Rehearsed(director, trips, arena.chance(f"entries {number}"))
        start, length = rng.randrange(rehearsed.trips_needed * 3 // 4), rng.choice((1, 4, 12))
        for _ in range(TRIES):
            director.config_resetstat()
            trouble = KINDS[kind](director, trips, rng)
            rehearsed.begin({start: trouble.begin, start + length: trouble.end})
            rehearsed.go_on()
            met = refusals(director, trouble.word)
            seen, wrong = rehearsed.verdict()
            if met or wrong:
                break
            length *= 3
    if not met:
        wrong.append(Violation("I13", "other", f"nobody met {kind}"))
    blame(arena, result, wrong, f"{kind} from round trip {start} for {length}")
    result.fills, result.intents = rehearsed.fills, len(seen.sent)
    note(result, "answers", **{trouble.word: met})
    trips.close()


def _forgets(director: Client, trips: Trips, rng: random.Random) -> Trouble:
    """Its scripts, again and again: also between being told one and being asked for it."""

    def forget(times: int) -> None:
        director.script_flush()
        if times:
            trips.after(rng.choice((1, 1, 2, 5)), partial(forget, times - 1))

    return Trouble("NOSCRIPT", lambda: forget(FORGOTTEN_TIMES), lambda: None)


def _busy(director: Client, trips: Trips, rng: random.Random) -> Trouble:
    """With a script that ends, or is ended."""
    seconds, is_killed = rng.uniform(*BUSY_SEC), rng.random() < 0.5
    other = connect(_url(director))
    script = threading.Thread(target=_run_script, args=(other, seconds), daemon=True)

    def begin() -> None:
        script.start()
        wait_until(lambda: _is_busy(director), 10.0, "the server is busy")

    def end() -> None:
        if is_killed:
            with suppress(ResponseError):  # it has just ended
                director.script_kill()
        script.join()
        other.close()

    return Trouble("BUSY", begin, end)


def _run_script(client: Client, seconds: float) -> None:
    with suppress(RedisError):
        client.eval(BUSY, 0, seconds)


def _is_busy(director: Client) -> bool:
    try:
        director.ping()
    except ResponseError as error:
        return "BUSY" in str(error)
    return False


def _read_only(director: Client, trips: Trips, rng: random.Random) -> Trouble:
    """It became a replica."""
    return Trouble("READONLY", lambda: _obey(director), lambda: _lead(director))


def _master_down(director: Client, trips: Trips, rng: random.Random) -> Trouble:
    """It became a replica that answers nothing until it has heard from its master."""

    def begin() -> None:
        director.config_set("replica-serve-stale-data", "no")
        _obey(director)

    return Trouble("MASTERDOWN", begin, lambda: _lead(director))


def _obey(director: Client) -> None:
    director.execute_command("REPLICAOF", *NOWHERE)


def _lead(director: Client) -> None:
    director.execute_command("REPLICAOF", "NO", "ONE")
    director.config_set("replica-serve-stale-data", "yes")


def _wants_password(director: Client, trips: Trips, rng: random.Random) -> Trouble:
    def begin() -> None:
        director.config_set("requirepass", NEW)
        _hang_up(director)

    return Trouble("NOAUTH", begin, lambda: _without_password(director, trips))


def _changed_password(director: Client, trips: Trips, rng: random.Random) -> Trouble:
    def begin() -> None:
        director.config_set("requirepass", NEW)
        trips.client.connection_pool.connection_kwargs["password"] = OLD
        trips.client.connection_pool.reset()
        _hang_up(director)

    return Trouble("WRONGPASS", begin, lambda: _without_password(director, trips))


def _without_password(director: Client, trips: Trips) -> None:
    director.config_set("requirepass", "")
    trips.client.connection_pool.connection_kwargs.pop("password", None)
    trips.client.connection_pool.reset()


def _hang_up(director: Client) -> None:
    """Who is connected stays known; so have all others connect again."""
    director.client_kill_filter(_type="normal", skipme=True)


def _may_not(director: Client, trips: Trips, rng: random.Random) -> Trouble:
    taken = rng.choice(TAKEN)

    def begin() -> None:
        director.execute_command("ACL", "SETUSER", "default", taken, *KEPT)

    return Trouble("NOPERM", begin, lambda: _may_again(director))


def _may_again(director: Client) -> None:
    director.execute_command("ACL", "SETUSER", "default", "+@all")


def _full(director: Client, trips: Trips, rng: random.Random) -> Trouble:
    """Of clients."""

    def begin() -> None:
        director.config_set("maxclients", 1)
        _hang_up(director)

    return Trouble(REJECTED, begin, lambda: director.config_set("maxclients", 1_000))


def _url(client: Client) -> str:
    return f"unix://{client.connection_pool.connection_kwargs['path']}"


KINDS: Final[Mapping[str, Kind]] = {
    "forgets its scripts": _forgets,
    "busy with a script": _busy,
    "read only": _read_only,
    "master down": _master_down,
    "wants a password": _wants_password,
    "has another password": _changed_password,
    "forbids a command": _may_not,
    "full of clients": _full,
}


# Loading.

LOADING: Final = "loads its log"


def _loading(arena: Arena, result: Result, number: int) -> None:
    """A server that is started again, and reads a long log while all come back to it."""
    server = arena.server(options=(*WRITTEN_AT_ONCE, *SLOW_LOADING))
    settings, client = Settings.from_env(SETTINGS), arena.client(server)
    producer = Producer(client, settings, arena.chance(f"entries {number}"), spread=WIDE_SPREAD)
    account = Account(client, settings)
    with Hands(server, settings) as hands:
        producer.feed(LOADED_ENTRIES)
        wait_until(lambda: account.check().is_quiet, QUIET_WITHIN_SEC, "all is applied")
        _lengthen_log(client)
        server.kill()
        server.start(QUIET_WITHIN_SEC)
        client.connection_pool.disconnect()
        producer.feed(LOADED_ENTRIES // 10)
        wrong = judged(account, producer)
        wrong += [Violation("I13", "other", what) for what in hands.unexpected]
        met = hands.failed["BusyLoadingError"]
    if not met:
        wrong.append(Violation("I13", "other", "nobody met a server that loads"))
    blame(arena, result, wrong, f"{LOADING} {number}")
    result.fills, result.intents = producer.fills, account.intents
    note(result, "answers", LOADING=met)


def _lengthen_log(client: Client) -> None:
    with client.pipeline(transaction=False) as pipe:
        for _ in range(OTHER_LOG):
            pipe.incr("others")
        pipe.execute()
