"""What each user of systemd/users.acl is there for: all of it works, and nobody tries what he may not do.

All other tests of this folder have their programs log in as these users, too.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import inputs
import pytest
from cluster import Program
from desk import LIVE, Desk
from e2e.workload import settled
from entries import BUY, price
from processes import program
from users import GuardedServer, logins
from waiting import wait_until

from harvest_tasks.server import keys

HARVEST = str(Path(sys.executable).with_name("harvest"))
LOOKS = ("positions", "intents", "history", "explain BTCUSDT", "deadletter list", "config")

Environ = Callable[[str], dict[str, str]]


@pytest.fixture(scope="module")
def workers() -> dict[str, tuple[str, int]]:
    return {"fills": ("fills,watch,control", 3), "proposals": ("proposals,adhoc", 1)}


@pytest.fixture(scope="module")
def deployment() -> dict[str, str]:
    return {**LIVE, "ENABLE_STREAM": "true"}


def harvest(environ: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own program
        [HARVEST, *arguments], env=environ, capture_output=True, text=True, timeout=60.0, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_producers_fill_becomes_an_intent_that_an_executor_fills(
    desk: Desk, own_server: GuardedServer, environ_of: Environ
) -> None:
    producer = own_server.users.client(own_server, "producer")
    with program([HARVEST, "paper"], environ=environ_of("executor")):
        for entry in (BUY, price("105.2")):
            producer.xadd(desk.source, dict[Any, Any](entry))
        (intent,) = wait_until(desk.live_intents, 20.0, "the intent")
        wait_until(lambda: str(desk.position().holding.qty) == "0.75", 20.0, "the executor's fill")
    assert intent["qty"] == 0.25
    assert desk.position().ladder_state.reserved == 0


def test_proposals_are_published_and_asked_for(desk: Desk, environ_of: Environ) -> None:
    inputs.market_state(desk.client)
    inputs.position_hash(desk.client)
    wait_until(lambda: inputs.proposal(desk.client), 10.0, "a proposal")
    wait_until(lambda: desk.client.xlen("quantum:stream:harvest.proposal"), 5.0, "its entry in the stream")
    harvest(environ_of("harvest-proposal"), "propose", "--once", "--symbols", "BTCUSDT")


def test_an_operator_kills_releases_and_tries_again(desk: Desk, environ_of: Environ) -> None:
    as_operator = environ_of("operator")
    harvest(as_operator, "kill", "on")
    desk.feed(BUY, price("105.2"), BUY | {"qty": "NaN"})
    settled(desk)
    assert desk.live_intents() == []
    for command in LOOKS:
        harvest(as_operator, *command.split())
    inputs.position_hash(desk.client, qty="1", entry_price="100")
    harvest(as_operator, "reconcile", "--adopt", "BTCUSDT")
    harvest(as_operator, "kill", "off")
    desk.feed(price("105.3"))
    wait_until(desk.live_intents, 10.0, "what was due")


def test_no_program_is_the_owner(desk: Desk, programs: dict[str, Program]) -> None:
    before = logins(desk.client)
    for each in programs.values():
        each.kill()
    wait_until(lambda: set(logins(desk.client)) == {"default"}, 10.0, "their connections are gone")
    assert {*before} == {"default", "harvest-brain", "harvest-proposal", "harvest-beat"}
    assert logins(desk.client)["default"] == before["default"]


def test_a_user_who_may_not_turn_the_kill_switch_gets_one_line(desk: Desk, environ_of: Environ) -> None:
    done = subprocess.run(  # noqa: S603 - our own program
        [HARVEST, "kill", "off"], env=environ_of("monitor"), capture_output=True, text=True, timeout=60.0, check=False
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert done.stderr.startswith("harvest: ")
    desk.client.acl_log_reset()


def test_killed_processes_are_followed_by_others_that_may_take_over(desk: Desk, programs: dict[str, Program]) -> None:
    desk.feed(BUY, price("101"))
    for name in ("fills", "beat"):
        programs[name].kill()
        programs[name].start()
    desk.feed(price("105.2"))
    wait_until(desk.live_intents, 20.0, "the intent")


def test_flower_sees_the_workers(desk: Desk, environ_of: Environ, celery_setup: Any) -> None:
    inspecting = [sys.executable, "-m", "celery", "--app=harvest_tasks", "inspect", "ping", "--timeout=5"]
    done = subprocess.run(  # noqa: S603 - ours
        inspecting, env=environ_of("flower"), capture_output=True, text=True, timeout=60.0, check=False
    )
    assert "2 nodes online" in done.stdout, done.stdout + done.stderr


def test_a_monitor_reads_what_there_is(desk: Desk, own_server: GuardedServer) -> None:
    desk.feed(BUY, price("101"))
    settled(desk)
    for db in (0, 1):
        monitor = own_server.users.client(own_server, "monitor", db)
        assert list(monitor.scan_iter())
        assert monitor.info("memory")
    state = own_server.users.client(own_server, "monitor")
    assert state.xinfo_groups(desk.source)[0]["name"] == keys.GROUP
    assert state.hgetall(keys.COUNTS)
