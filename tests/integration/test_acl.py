"""systemd/users.acl on a real server: each user against each command and key, and who of them may.

A probe is a command as one would type it. The table says who may; everybody else gets NOPERM.
"""

import subprocess
import sys
from collections.abc import Iterator
from itertools import chain, product

import inputs
import pytest
from cluster import inherited
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError
from users import ROLES, Users, denied, guarded

from harvest_tasks.processes.embedded_server import EmbeddedServer
from harvest_tasks.proposing.publish import Publication, publish
from harvest_tasks.proposing.record import utc
from harvest_tasks.server.client import Client, connect

INPUT = "quantum:stream:execution.result"
INTENTS = "quantum:stream:trade.intent"
SUGGESTIONS = "quantum:stream:harvest.suggestions"
KILL = "quantum:kill"
POSITION = "quantum:harvest:position:BTCUSDT"
PROPOSAL = "quantum:harvest:proposal:BTCUSDT"
INBOX = "quantum:harvest:inbox:BTCUSDT"

NOBODY: frozenset[str] = frozenset()
EVERYBODY = frozenset(ROLES)
READERS = frozenset({"operator", "monitor"})


def only(*users: str) -> frozenset[str]:
    return frozenset(users)


def ruining(key: str) -> list[str]:
    """Every way to take a key away or to put another in its place."""
    return [
        f"DEL {key}",
        f"UNLINK {key}",
        f"GETDEL {key}",
        f"RENAME {key} elsewhere",
        f"RENAME elsewhere {key}",
        f"RENAMENX elsewhere {key}",
        f"COPY elsewhere {key} REPLACE",
        f"MOVE {key} 1",
        f"EXPIRE {key} 1",
        f"PEXPIRE {key} 1",
        f"EXPIREAT {key} 1",
        f"PEXPIREAT {key} 1",
        f"GETEX {key} EX 1",
        f"RESTORE {key} 0 x REPLACE",
        f"MIGRATE 127.0.0.1 1 {key} 0 1",
        f"LPUSH {key} x",
        f"HSET {key} x 1",
        f"SADD {key} x",
        f"SUNIONSTORE {key} elsewhere",
        f"SORT elsewhere STORE {key}",
        f"BITOP NOT {key} elsewhere",
        f"GEORADIUS elsewhere 0 0 1 m STORE {key}",
    ]


def writing(key: str) -> list[str]:
    return [f"{command} {key} 1" for command in ("SETNX", "GETSET", "APPEND", "INCRBY")] + [
        f"INCR {key}",
        f"SETRANGE {key} 0 1",
    ]


SERVER = (
    "KEYS *",
    "FLUSHALL",
    "FLUSHDB",
    "SWAPDB 0 1",
    "CONFIG GET maxmemory",
    "CONFIG SET maxmemory 1",
    "CONFIG REWRITE",
    "DEBUG SLEEP 0",
    "SCRIPT KILL",
    "SCRIPT FLUSH",
    "FUNCTION FLUSH",
    "FUNCTION LIST",
    "ACL LIST",
    "ACL SETUSER producer +@all",
    "ACL LOAD",
    "CLIENT LIST",
    "CLIENT KILL 127.0.0.1:1",
    "CLIENT PAUSE 1",
    "MONITOR",
    "SAVE",
    "BGSAVE",
    "BGREWRITEAOF",
    "REPLICAOF NO ONE",
    "FAILOVER",
    "SHUTDOWN NOSAVE",
    "MODULE LIST",
    "SLOWLOG GET",
    "LATENCY RESET",
    "EVAL return 0",
)
"""What is the owner's alone."""

PROBES: dict[str, frozenset[str]] = {
    **dict.fromkeys(SERVER, NOBODY),
    **dict.fromkeys(chain(*map(ruining, (INPUT, INTENTS, SUGGESTIONS, KILL))), NOBODY),
    **dict.fromkeys(writing(KILL), NOBODY),
    **dict.fromkeys((probe for probe in ruining(POSITION) if not probe.startswith("HSET")), NOBODY),
    # the input: written by two, read by the brain, repaired by the operator, cut by nobody
    f"XADD {INPUT} * a b": only("producer", "executor", "operator"),
    f"XTRIM {INPUT} MAXLEN 0": NOBODY,
    f"XDEL {INPUT} 0-1": NOBODY,
    f"XSETID {INPUT} 999999999999999-0": NOBODY,
    f"XGROUP CREATE {INPUT} harvest_brain_group 0": only("harvest-brain"),
    f"XGROUP DESTROY {INPUT} harvest_brain_group": NOBODY,
    f"XGROUP DELCONSUMER {INPUT} harvest_brain_group harvest_brain": NOBODY,
    f"XREADGROUP GROUP harvest_brain_group x STREAMS {INPUT} >": only("harvest-brain"),
    f"XACK {INPUT} harvest_brain_group 0-1": only("harvest-brain"),
    f"XLEN {INPUT}": READERS | only("harvest-brain"),
    # what Harvest publishes
    f"XADD {INTENTS} * a b": only("harvest-brain"),
    f"XADD {SUGGESTIONS} * a b": only("harvest-brain"),
    "XADD quantum:stream:harvest.decisions * a b": only("harvest-brain"),
    "XADD quantum:stream:harvest.deadletter * a b": only("harvest-brain"),
    "XDEL quantum:stream:harvest.deadletter 0-1": only("operator"),
    "XADD quantum:stream:harvest.proposal * a b": only("harvest-proposal"),
    f"HSET {PROPOSAL} a b": only("harvest-proposal"),
    f"DEL {PROPOSAL}": only("harvest-proposal"),
    f"XTRIM {INTENTS} MAXLEN 0": NOBODY,
    f"XDEL {INTENTS} 0-1": NOBODY,
    f"XREADGROUP GROUP x x STREAMS {INTENTS} >": only("executor"),
    f"XREAD STREAMS {INTENTS} 0": READERS | only("harvest-brain"),
    # the kill switch
    f"SET {KILL} 0": only("operator"),
    f"GET {KILL}": READERS | only("harvest-brain"),
    # what Harvest remembers
    f"HSET {POSITION} a b": only("harvest-brain"),
    f"DEL {POSITION}": NOBODY,
    f"HGETALL {POSITION}": READERS | only("harvest-brain", "harvest-proposal", "executor"),
    f"XADD {INBOX} * a b": only("harvest-brain", "operator"),
    f"XTRIM {INBOX} MAXLEN 0": only("harvest-brain"),
    f"DEL {INBOX}": NOBODY,
    "LPUSH quantum:harvest:window 1": only("harvest-brain"),
    "DEL quantum:harvest:window": NOBODY,
    "HSET quantum:harvest:trades:BTCUSDT:1 a b": only("harvest-brain"),
    "SET quantum:dedup:harvest:x:y 1": only("harvest-brain"),
    "DEL quantum:dedup:harvest:x:y": NOBODY,
    "SADD quantum:harvest:books BTCUSDT": only("harvest-brain", "operator"),
    "DEL quantum:harvest:lost": only("harvest-brain", "operator"),
    "HINCRBY quantum:harvest:counts in 1": only("harvest-brain", "harvest-proposal", "executor", "operator"),
    "SET quantum:harvest:paper:x filled": only("executor"),
    # what others write
    "HSET quantum:marketstate:BTCUSDT sigma 1": NOBODY,
    "HSET quantum:state:positions:BTCUSDT qty 1": NOBODY,
    "HSET quantum:config:harvest:BTCUSDT min_r 9": NOBODY,
    "HGETALL quantum:marketstate:BTCUSDT": READERS | only("harvest-brain", "harvest-proposal"),
    "HGETALL quantum:secret:of:another:service": READERS | only("harvest-brain"),
    "GET another:service": READERS,
    "SET another:service 1": NOBODY,
    # Celery's messages
    "LPUSH fills x": only("harvest-proposal", "harvest-brain", "harvest-beat", "operator"),
    "LPUSH proposals x": only("harvest-proposal", "harvest-brain", "harvest-beat"),
    "BRPOP fills 0.01": only("harvest-brain"),
    "BRPOP proposals 0.01": only("harvest-proposal"),
    "LLEN fills": READERS | only("harvest-brain", "harvest-beat", "flower"),
    "DEL fills": NOBODY,
    "HDEL unacked x": only("harvest-brain", "harvest-proposal"),
    "HGETALL unacked": READERS,
    "SETEX celery-task-meta-x 1 y": only("harvest-proposal"),
    "PUBLISH /1.celery.pidbox x": only("harvest-proposal", "harvest-brain", "flower", "operator"),
    "PUBLISH /1.celeryev/task.sent x": only("harvest-proposal", "harvest-brain", "harvest-beat", "flower"),
    "PUBLISH another x": NOBODY,
    # looking
    "PING": EVERYBODY,
    "ACL DRYRUN harvest-proposal PING": only("operator"),
    "ACL LIST": NOBODY,
    "INFO memory": READERS,
    "SCAN 0": READERS | only("harvest-brain"),
    "XINFO STREAM quantum:stream:trade.intent": READERS | only("harvest-brain"),
}

NOT_ASKED = ("wrong number of arguments", "unknown command", "unknown subcommand", "Unknown subcommand")
"""Errors raised before the ACL check: a probe that gets one proves nothing."""
SCRIPT_ERRORS = ("ACL failure in script", "can't run this command", "can't access at least one of the keys")


@pytest.fixture(scope="module")
def place(server: EmbeddedServer) -> Iterator[tuple[EmbeddedServer, Users]]:
    # If DEBUG is disabled, the server refuses it before the ACL check.
    with guarded(server.executable, "--enable-debug-command", "yes") as made:
        yield made


@pytest.fixture
def owner(place: tuple[EmbeddedServer, Users]) -> Iterator[Client]:
    connected = connect(place[0].url())
    yield connected
    connected.close()


@pytest.fixture(params=ROLES)
def user(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def client(place: tuple[EmbeddedServer, Users], user: str) -> Iterator[Client]:
    running, users = place
    connected = users.client(running, user)
    yield connected
    connected.close()


def may(client: Client, probe: str) -> bool:
    try:
        client.execute_command(*(["EVAL", "return 1", "0"] if probe.startswith("EVAL") else probe.split()))
    except NoPermissionError:
        return False
    except ResponseError as error:
        assert not any(text in str(error) for text in NOT_ASKED), f"{probe}: {error}"
    return True


def test_each_user_may_do_what_the_table_says_and_nothing_else(client: Client, user: str) -> None:
    assert {probe for probe in PROBES if may(client, probe)} == {probe for probe, who in PROBES.items() if user in who}


def test_nobody_gets_in_without_a_password_or_with_anothers(
    place: tuple[EmbeddedServer, Users], owner: Client, user: str
) -> None:
    users = place[1]
    others = next(other for other in ROLES if other != user)
    for password in ("", users.password(others)):
        with pytest.raises(AuthenticationError, match="invalid username-password"):
            owner.execute_command("AUTH", user, password)


@pytest.mark.parametrize(
    ("scripting", "write"),
    [
        *product(("harvest-proposal", "harvest-brain"), (f"SET {KILL} 0", f"XTRIM {INPUT} MAXLEN 0", f"DEL {INPUT}")),
        ("harvest-proposal", f"XADD {INTENTS} * a b"),
        ("harvest-proposal", f"XADD {SUGGESTIONS} * a b"),
        ("harvest-proposal", f"HSET {POSITION} a b"),
    ],
)
def test_a_script_does_for_nobody_what_he_may_not_do_himself(
    place: tuple[EmbeddedServer, Users], owner: Client, scripting: str, write: str
) -> None:
    running, users = place
    client = users.client(running, scripting)
    words = write.split()
    sha = client.script_load(f"return redis.call({', '.join(map(repr, words))})")
    for keys in ([], [words[1]]):
        with pytest.raises(ResponseError) as refused:
            client.evalsha(sha, len(keys), *keys)
        assert any(text in str(refused.value) for text in SCRIPT_ERRORS), refused.value
    assert owner.get(KILL) in (None, "0")


@pytest.mark.parametrize("command", ["hset", "del", "pexpire"])
def test_a_user_who_may_not_do_all_of_publishing_does_nothing_of_it(
    place: tuple[EmbeddedServer, Users], owner: Client, command: str
) -> None:
    settings = inputs.settings()
    owner.hset(PROPOSAL, "harvest_action", "FULL_CLOSE_PROPOSED")
    owner.execute_command("ACL", "SETUSER", "hampered", "on", "nopass", "~*", "+@all", f"-{command}")
    hampered = connect(f"redis://hampered:any@{place[0].url().rpartition('://')[2]}")
    proposals = [Publication("BTCUSDT", {"harvest_action": "NONE", "computed_at_utc": utc(inputs.NOW)})]
    try:
        with pytest.raises(NoPermissionError, match=f"{command.upper()} {PROPOSAL}"):
            publish(hampered, settings, proposals, inputs.NOW)
    finally:
        hampered.close()
        owner.execute_command("ACL", "DELUSER", "hampered")
    assert owner.hgetall(PROPOSAL) == {"harvest_action": "FULL_CLOSE_PROPOSED"}


def test_no_user_is_left_out_of_the_table(owner: Client) -> None:
    assert {*owner.acl_users()} == {*ROLES, "default"}


@pytest.mark.parametrize("asking", ["operator", "flower"])
def test_who_asks_workers_that_are_not_there_waits_in_vain_and_breaks_no_rule(
    place: tuple[EmbeddedServer, Users], owner: Client, asking: str
) -> None:
    running, users = place
    owner.acl_log_reset()
    ping = [sys.executable, "-m", "celery", "--app=harvest_tasks", "inspect", "ping", "--timeout=0.5"]
    environ = {**inherited(), **users.environ(running, asking)}
    done = subprocess.run(ping, env=environ, capture_output=True, text=True, timeout=60.0, check=False)  # noqa: S603 - ours
    assert "No nodes replied" in done.stderr
    assert denied(owner) == []
