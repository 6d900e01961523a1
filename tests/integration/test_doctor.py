"""`harvest doctor` on a real server: of each broken set-up it names the cause first, and how to fix it."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping

import inputs
import pytest
from click.testing import CliRunner, Result
from desk import LIVE, Desk
from entries import BUY
from healthy_state import LONG_AGO_MS, Break, behind, lost, make_healthy

from harvest_tasks.cli import main
from harvest_tasks.commands import session
from harvest_tasks.fills import sweep
from harvest_tasks.operations.diagnosis import CHECKS, UNITS
from harvest_tasks.processes.embedded_server import EmbeddedServer, free_port
from harvest_tasks.proposing.cycle import run_cycle
from harvest_tasks.reconciling import mismatch
from harvest_tasks.server import keys, liveness
from harvest_tasks.server.client import Client, connect

Doctor = Callable[..., Result]


@pytest.fixture
def consumed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The queues that workers say they consume."""
    queues = set(UNITS)
    monkeypatch.setattr(session, "consumed_queues", lambda: queues)
    return queues


@pytest.fixture
def desk(redis: Client) -> Desk:
    found = Desk(redis, **LIVE, HARVEST_INTENT_TIMEOUT_SEC="1")
    make_healthy(found)
    return found


@pytest.fixture
def doctor(environ: Mapping[str, str], consumed: set[str]) -> Doctor:
    return lambda *arguments, **extra: CliRunner().invoke(
        main, ["doctor", *arguments], env={**environ, "COLUMNS": "200", **extra}
    )


def first_word(result: Result) -> str:
    return result.stdout.partition(":")[0]


def test_of_a_healthy_one_it_says_that_nothing_is_wrong(desk: Desk, doctor: Doctor) -> None:
    done = doctor()
    assert (done.exit_code, done.stdout) == (0, f"Nothing is wrong: {len(CHECKS) + 1} checks passed.\n")
    assert json.loads(doctor("--json").stdout) == []


def unanswered(desk: Desk) -> None:
    then = str(desk.server_ms() - 5_000)
    desk.run({"symbol": "BTCUSDT", "status": "PRICE_UPDATE", "price": "105", "ts": then})
    desk.run({**BUY, "symbol": "ETHUSDT", "ts": then})
    desk.run({"symbol": "ETHUSDT", "status": "PRICE_UPDATE", "price": "105", "ts": then})
    sweep.sweep(desk.client, desk.settings)
    desk.process()
    assert desk.journal("unanswered")


def differing(desk: Desk) -> None:
    inputs.write_hash(desk.client, keys.position_state("BTCUSDT"), {"side": "LONG", "qty": "3", "entry_price": "100"})
    mismatch.reconcile_books(desk.client, desk.settings)


def unread(desk: Desk) -> None:
    desk.client.delete(desk.source)
    desk.feed(BUY, at=f"{desk.server_ms() - LONG_AGO_MS}-0")
    desk.client.xgroup_create(desk.source, keys.GROUP, id="0")


def synthetic(desk: Desk) -> None:
    shadow = Desk(desk.client)
    run_cycle(desk.client, shadow.settings, ["SOLUSDT"], desk.client.time()[0])


BROKEN: Mapping[str, tuple[Break, str, str]] = {
    "beat is dead": (behind(liveness.BEAT_MS), "beat", "quantum-harvest-beat"),
    "no watcher works": (behind(liveness.WATCHED_MS), "watcher", "quantum-harvest-brain"),
    "no sweep": (behind(liveness.SWEPT_MS), "sweep", "quantum-harvest-brain"),
    "no proposals": (behind(liveness.PROPOSALS_CYCLE_MS), "proposals", "quantum-harvest-proposal"),
    "no reconciliation": (behind(liveness.RECONCILED_MS), "reconciliation", "quantum-harvest-brain"),
    "no group": (lambda d: d.client.xgroup_destroy(d.source, keys.GROUP), "group", "quantum-harvest-brain"),
    "no input": (lambda d: d.client.delete(d.source), "group", "quantum-harvest-brain"),
    "unread input": (unread, "input", "quantum-harvest-brain"),
    "a counter of another type": (
        lambda d: d.client.delete(keys.WINDOW) + d.client.hset(keys.WINDOW, "a", "b"),
        "rights",
        "delete the key",
    ),
    "an inbox nobody empties": (
        lambda d: d.client.xadd(keys.inbox("ETHUSDT"), {"e": ""}, id="1-0") and d.client.sadd(keys.WAITING, "ETHUSDT"),
        "inboxes",
        "harvest positions",
    ),
    "lost input": (lost, "lost input", "harvest reconcile --adopt"),
    "a strange record": (lambda d: d.client.hset(keys.position("BTCUSDT"), "qty", "many"), "records", "backup"),
    "another position": (differing, "positions", "harvest reconcile"),
    "a frozen book": (lambda d: d.run({**BUY, "qty": "-1"}), "frozen books", "harvest release BTCUSDT"),
    "no market state": (lambda d: d.client.delete("quantum:marketstate:SOLUSDT"), "market state", "harvest propose"),
    "an old market state": (
        lambda d: d.client.hset("quantum:marketstate:SOLUSDT", "ts_timestamp", "1700000000"),
        "market state",
        "start the service",
    ),
    "synthetic positions": (synthetic, "synthetic positions", "SYNTHETIC_FALLBACK=false"),
    "an old price": (
        lambda d: d.client.hset(keys.position("BTCUSDT"), "mark_ms", str(d.server_ms() - LONG_AGO_MS)),
        "prices",
        "price feed",
    ),
    "no executor": (unanswered, "intents", "start the executor"),
    "the kill switch": (lambda d: d.client.set("quantum:kill", "1"), "kill switch", "harvest kill off"),
}  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN)
def test_of_each_broken_set_up_it_names_the_cause_and_how_to_fix_it(desk: Desk, doctor: Doctor, broken: str) -> None:
    break_it, subject, remedy = BROKEN[broken]
    break_it(desk)
    done = doctor()
    assert (done.exit_code, first_word(done)) == (1, subject), done.output
    assert remedy in done.stdout.splitlines()[1]


def test_a_market_state_that_is_missing_is_worse_than_one_that_is_old(desk: Desk, doctor: Doctor) -> None:
    desk.client.hset("quantum:marketstate:SOLUSDT", "ts_timestamp", "1700000000")
    assert doctor().stdout.splitlines()[0] == "market state: too old: SOLUSDT"
    desk.client.delete("quantum:marketstate:BTCUSDT")
    assert doctor().stdout.splitlines()[0] == "market state: symbols without one: 1"


def test_a_queue_that_no_worker_consumes_is_named_with_its_unit(desk: Desk, doctor: Doctor, consumed: set[str]) -> None:
    consumed.remove("adhoc")
    assert doctor().stdout == (
        "workers: no worker consumes adhoc\nFix: systemctl restart quantum-harvest-adhoc (or harvest up)\n"
    )


def test_a_queue_that_grows_is_named(desk: Desk, doctor: Doctor, server: EmbeddedServer) -> None:
    with EmbeddedServer(server.executable) as own, connect(own.url(db=1)) as broker:
        broker.lpush("fills", *map(str, range(201)))
        done = doctor(BROKER_URL=own.url(db=1))
    assert first_word(done) == "queues"
    assert "fills" in done.stdout


def test_the_first_cause_goes_before_what_follows_from_it(desk: Desk, doctor: Doctor, consumed: set[str]) -> None:
    consumed.clear()
    behind(liveness.BEAT_MS)(desk)
    desk.client.set("quantum:kill", "1")
    done = doctor()
    assert first_word(done) == "workers"
    assert done.stdout.splitlines()[2] == (
        "2 more may follow from it: run harvest doctor again, or see harvest doctor --all."
    )
    assert [finding["subject"] for finding in json.loads(doctor("--json").stdout)] == ["workers", "beat", "kill switch"]
    assert [word in doctor("--all").stdout for word in ("workers", "beat", "kill switch")] == [True] * 3


def test_a_server_that_deletes_keys_is_named(desk: Desk, doctor: Doctor) -> None:
    desk.client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        assert first_word(doctor()) == "eviction"
    finally:
        desk.client.config_set("maxmemory-policy", "noeviction")


def test_a_server_that_keeps_nothing_is_named(doctor: Doctor, server: EmbeddedServer) -> None:
    with EmbeddedServer(server.executable, options=("--appendonly", "no")) as own:
        assert first_word(doctor(REDIS_URL=own.url())) == "persistence"


def test_a_user_without_rights_is_named_and_his_password_is_not(
    desk: Desk, doctor: Doctor, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    desk.client.execute_command("ACL", "SETUSER", "blind", "on", ">secret", "~*", "+@all", "-hgetall")
    try:
        done = doctor(REDIS_URL=url.replace("redis://", "redis://blind:secret@"), BROKER_URL=url)
    finally:
        desk.client.execute_command("ACL", "DELUSER", "blind")
    assert first_word(done) == "rights"
    assert "hgetall" in caplog.text
    assert "secret" not in done.output + caplog.text


def test_a_user_who_may_not_ask_the_workers_is_informed_and_the_rest_is_checked(
    desk: Desk, environ: dict[str, str], url: str, caplog: pytest.LogCaptureFixture
) -> None:
    desk.client.set("quantum:kill", "1")
    desk.client.execute_command("ACL", "SETUSER", "reader", "on", ">secret", "~*", "-@all", "+@read", "+@connection")
    desk.client.execute_command("ACL", "SETUSER", "reader", "+info", "+time", "+select")
    broker = url.replace("redis://", "redis://reader:secret@").replace("/0", "/1")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "harvest_tasks", "doctor"],
            env={**environ, "BROKER_URL": broker},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        desk.client.execute_command("ACL", "DELUSER", "reader")
    assert (done.returncode, done.stdout.partition(":")[0]) == (1, "kill switch"), done.stdout + done.stderr
    assert done.stderr.startswith("cannot ask workers which queues they consume: ")
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stdout + done.stderr


def test_without_a_server_that_is_all_it_says_and_the_exit_code_is_3(doctor: Doctor) -> None:
    done = doctor(REDIS_URL=f"redis://:secret@127.0.0.1:{free_port()}/0")
    assert (done.exit_code, first_word(done)) == (3, "server")
    assert "secret" not in done.output


def test_without_a_broker_that_is_the_first_thing(desk: Desk, doctor: Doctor) -> None:
    done = doctor(BROKER_URL=f"redis://:secret@127.0.0.1:{free_port()}/1")
    assert (done.exit_code, first_word(done)) == (1, "broker")
    assert "secret" not in done.output
