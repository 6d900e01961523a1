"""`harvest proof` on a real server: it passes a healthy Harvest, and of each broken set-up it names what failed."""

import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from threading import Timer

import inputs
import pytest
from click.testing import CliRunner, Result
from desk import Desk
from entries import BUY
from healthy_state import LONG_AGO_MS, Break, behind, lost, make_healthy
from users import guarded

from harvest_tasks.cli import main
from harvest_tasks.commands import session
from harvest_tasks.operations.diagnosis import CHECKS, UNITS
from harvest_tasks.operations.proof import proposal_rate, systemd_units
from harvest_tasks.operations.proof.calc_only import USER
from harvest_tasks.operations.proof.deployment import _PARTS
from harvest_tasks.processes.embedded_server import EmbeddedServer, free_port
from harvest_tasks.proposing.cycle import run_cycle
from harvest_tasks.server import keys, liveness
from harvest_tasks.server.client import Client, connect

PROPOSAL = "quantum:harvest:proposal:BTCUSDT"
SUGGESTIONS = "quantum:stream:harvest.suggestions"
SHADOW = {"SYMBOLS": "BTCUSDT,ETHUSDT", "SYNTHETIC_FALLBACK": "false"}
OPENED = {k: v for k, v in BUY.items() if k != "symbol"}
NUMBERS = count()
NOT_RUN = {"calc-only rights", "systemd units", "proposal rate", "rehearsal"}
"""Where there are no users and no systemd, nobody watches, and nothing may be written."""

Proof = Callable[..., Result]


@pytest.fixture
def desk(redis: Client) -> Desk:
    """A position over its first rung, whose proposal is published."""
    found = Desk(redis, **SHADOW)
    make_healthy(found)
    inputs.risk_proposal(redis)
    found.run({"symbol": "BTCUSDT", "status": "PRICE_UPDATE", "price": "105.2"})
    run_cycle(redis, found.settings, ["BTCUSDT", "ETHUSDT"], found.server_ms() / 1000)
    return found


@pytest.fixture
def consumed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The queues that workers say they consume."""
    queues = set(UNITS)
    monkeypatch.setattr(session, "consumed_queues", lambda: queues)
    return queues


@pytest.fixture
def proof(environ: Mapping[str, str], consumed: set[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Proof:
    """On a machine without systemd, unless a test says otherwise."""
    monkeypatch.setattr(systemd_units, "BOOTED", tmp_path / "none")

    def prove(*arguments: str, **extra: str) -> Result:
        given = {**environ, "COLUMNS": "200", **SHADOW, **extra}
        return CliRunner().invoke(main, ["proof", "--seconds", "0", *arguments], env=given)

    return prove


def verdicts(done: Result, verdict: str) -> list[str]:
    return [result["subject"] for result in json.loads(done.stdout) if result["verdict"] == verdict]


def first_failed(done: Result) -> dict[str, str]:
    return next(result for result in json.loads(done.stdout) if result["verdict"] == "failed")


def test_a_healthy_one_passes_and_what_was_not_run_is_said(desk: Desk, proof: Proof) -> None:
    done = proof("--json")
    assert (done.exit_code, verdicts(done, "failed")) == (0, [])
    assert {*verdicts(done, "not run")} == NOT_RUN
    assert proof().stdout.splitlines()[-1].endswith("ok, 4 not run.")


def test_it_says_what_it_saw(desk: Desk, proof: Proof) -> None:
    seen = {result["subject"]: result["seen"] for result in json.loads(proof("--json").stdout)}
    assert seen["risk proposals"].startswith("1 of 2 symbols have one; FALLBACK_STOP_PCT=0.02 is used for ETHUSDT")
    assert seen["proposals"] == "BTCUSDT PARTIAL_25, R 2.55, K 0.500"
    assert seen["one cycle"].startswith("1 proposals computed, 1 books without a position")
    assert seen["each intent once"].startswith("the 2 newest intents")
    assert seen["dedup and rungs"] == "2 dedup keys of recent intents exist; 1 rungs published, all spent"
    assert seen["kill switch"] == "off: quantum:kill is absent"


def test_it_writes_nothing(desk: Desk, proof: Proof) -> None:
    before = written(desk.client)
    assert proof().exit_code == 0
    assert written(desk.client) == before


def written(client: Client) -> dict[bytes | str, bytes | None]:
    return {name: client.dump(name) for name in client.scan_iter()}


def replayed(desk: Desk) -> None:
    """An intent published a second time."""
    (_, fields), *_ = desk.client.xrange(SUGGESTIONS)
    desk.client.xadd(SUGGESTIONS, fields)


def unsaid(desk: Desk) -> None:
    desk.client.delete(SUGGESTIONS)


def dead_letter(desk: Desk) -> None:
    desk.run({"symbol": "BTCUSDT", "status": "PRICE_UPDATE", "price": "-1"})


def failing(desk: Desk) -> None:
    """A proposal worker that ended long ago."""
    desk.client.hset(PROPOSAL, "last_update_epoch", str((desk.server_ms() - LONG_AGO_MS) // 1000))


def forgotten(desk: Desk) -> None:
    desk.client.hset(keys.position("BTCUSDT"), "spent", "")


def undeduplicated(desk: Desk) -> None:
    desk.client.delete(*desk.client.keys("quantum:dedup:*"))


def another_type(name: str) -> Break:
    return lambda desk: desk.client.delete(name) + desk.client.lpush(name, "1")


BROKEN: Mapping[str, tuple[Break, str, str, str]] = {
    "beat is dead": (behind(liveness.BEAT_MS), "heartbeats", "beat", "quantum-harvest-beat"),
    "no group": (lambda d: d.client.xgroup_destroy(d.source, keys.GROUP), "consumer group", "nothing reads", "brain"),
    "lost input": (lost, "consumer group", "lost before they were read", "harvest reconcile --adopt"),
    "a frozen book": (lambda d: d.run({**BUY, "qty": "-1"}), "books", "BTCUSDT", "harvest release BTCUSDT"),
    "no market state": (lambda d: d.client.delete("quantum:marketstate:BTCUSDT"), "market state", "1", "start the"),
    "a market state text": (lambda d: inputs.market_state(d.client, sigma="high"), "market state", "'high'", "correct"),
    "an impossible market state": (lambda d: inputs.market_state(d.client, p_chop="7"), "market state", "7", "correct"),
    "a risk proposal of text": (lambda d: inputs.risk_proposal(d.client, "ETHUSDT", "wide"), "risk proposals", "wide",
                                "quantum:risk:proposal:ETHUSDT"),
    "no proposal": (lambda d: d.client.delete(PROPOSAL), "proposals", "BTCUSDT has none", "quantum-harvest-proposal"),
    "half a proposal": (lambda d: d.client.hdel(PROPOSAL, "kill_score"), "proposals", "without", "proposal"),
    "an old proposal": (failing, "proposals", "computed 36", "quantum-harvest-proposal"),
    "no intents in the stream": (unsaid, "output streams", "the streams hold none", "that deletes keys"),
    "an intent twice": (replayed, "each intent once", "published twice: hv-", "harvest explain BTCUSDT"),
    "a forgotten rung": (forgotten, "dedup and rungs", "BTCUSDT at 0.5 R", "harvest kill on"),
    "no dedup keys": (undeduplicated, "dedup and rungs", "quantum:dedup:harvest:BTCUSDT:1:", "that deletes keys"),
    "the kill switch": (lambda d: d.client.set("quantum:kill", "1"), "kill switch", "it is on", "harvest kill off"),
    "a dead letter": (dead_letter, "recent errors", "1 signed", "harvest deadletter list"),
    "a stream of another type": (another_type(keys.DEADLETTER), "server", "refuses", "wrong type"),
}  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN)
def test_of_each_broken_set_up_it_names_what_failed_and_how_to_fix_it(desk: Desk, proof: Proof, broken: str) -> None:
    break_it, subject, cause, remedy = BROKEN[broken]
    break_it(desk)
    done = proof("--json")
    failed = first_failed(done)
    assert (done.exit_code, failed["subject"]) == (1, subject), done.output
    assert (cause in failed["seen"], remedy in failed["remedy"]) == (True, True), failed


def test_the_table_is_followed_by_how_to_fix_it(desk: Desk, proof: Proof) -> None:
    desk.client.set("quantum:kill", "1")
    *_, cause, remedy, sums = proof().stdout.splitlines()
    assert cause == "kill switch: it is on: nothing is published"
    assert remedy == "Fix: harvest kill off, if intents should be published"
    assert sums.endswith("1 failed, 4 not run.")


def test_every_check_of_the_doctor_is_part_of_it() -> None:
    elsewhere = {"market_states_missing", "positions_synthetic", "kill_switch_on"}
    shared = [check.__name__ for part in _PARTS for check in part.checks]
    assert sorted([*shared, *elsewhere]) == sorted([*(check.__name__ for check in CHECKS), "server_unreachable"])


def test_a_queue_that_nobody_consumes_fails(desk: Desk, proof: Proof, consumed: set[str]) -> None:
    consumed.remove("fills")
    failed = first_failed(proof("--json"))
    assert (failed["subject"], failed["seen"]) == ("workers", "no worker consumes fills")


def test_more_intents_than_the_limit_fail(desk: Desk, proof: Proof) -> None:
    failed = first_failed(proof("--json", HARVEST_MAX_ACTIONS_PER_MIN="1"))
    assert (failed["subject"], failed["seen"][:9]) == ("rate limit", "2 intents")


def test_proposals_for_synthetic_positions_fail(desk: Desk, proof: Proof) -> None:
    synthetic = Desk(desk.client, SYMBOLS="BTCUSDT,ETHUSDT")
    run_cycle(desk.client, synthetic.settings, ["ETHUSDT"], desk.server_ms() / 1000)
    failed = first_failed(proof("--json"))
    assert (failed["subject"], failed["seen"][:19]) == ("proposals", "synthetic positions")
    assert "SYNTHETIC_FALLBACK=false" in failed["remedy"]


def test_proposals_that_nobody_computes_fail(desk: Desk, proof: Proof) -> None:
    failed = first_failed(proof("--json", "--seconds", "0.5", PUBLISH_INTERVAL_SEC="0.1"))
    assert (failed["subject"], failed["seen"]) == ("proposal rate", "no cycle ended in 0.5 s")


def test_a_publication_is_seen_while_one_watches(desk: Desk) -> None:
    def publish() -> None:
        inputs.market_state(desk.client, **inputs.FLIPPED)
        run_cycle(desk.client, desk.settings, ["BTCUSDT"], desk.server_ms() / 1000)

    later = Timer(0.2, publish)
    later.start()
    watched = proposal_rate.watch_proposals(desk.client, desk.settings, ["BTCUSDT"], 1.0)
    later.join()
    (seen,) = watched.changes
    assert (seen.before["harvest_action"], seen.after["harvest_action"]) == ("PARTIAL_25", "FULL_CLOSE_PROPOSED")
    assert watched.cycles == 1


def test_memory_that_is_nearly_used_up_fails(desk: Desk, proof: Proof) -> None:
    used = int(desk.client.info("memory")["used_memory"])
    desk.client.config_set("maxmemory", str(int(used * 1.08)))
    try:
        failed = first_failed(proof("--json"))
    finally:
        desk.client.config_set("maxmemory", "0")
    assert failed["subject"] == "memory"
    assert "maxmemory" in failed["remedy"]


@pytest.fixture
def owned(desk: Desk) -> Iterator[Callable[..., None]]:
    """Makes the user of the proposal worker."""
    yield lambda *rights: desk.client.execute_command("ACL", "SETUSER", USER, "on", "nopass", *rights)
    desk.client.execute_command("ACL", "DELUSER", USER)


def test_a_proposal_worker_that_may_write_intents_fails(desk: Desk, proof: Proof, owned: Callable[..., None]) -> None:
    owned("+xadd", "~quantum:stream:*", "+get", "~quantum:kill")
    failed = first_failed(proof("--json"))
    assert (failed["subject"], failed["remedy"]) == (
        "calc-only rights",
        "run systemd/users.sh to make the ACL file, then ACL LOAD",
    )
    assert "XADD quantum:stream:trade.intent" in failed["seen"]
    assert "SET quantum:kill" not in failed["seen"]


def test_with_the_users_of_the_acl_file_the_operator_sees_their_rights_and_the_owner_rehearses(
    server: EmbeddedServer, proof: Proof
) -> None:
    with guarded(server.executable) as (own, users):
        with connect(own.url()) as client:
            make_healthy(Desk(client, **SHADOW))
        as_owner = proof("--json", REDIS_URL=own.url())
        as_operator = proof("--json", "--active", REDIS_URL=users.url(own, "operator"))
        password = users.password("operator")
    assert "calc-only rights" in verdicts(as_owner, "ok")
    assert "calc-only rights" in verdicts(as_operator, "ok")
    # Where no cycle ran there is no proposal; no right is missing.
    assert verdicts(as_owner, "failed") == verdicts(as_operator, "failed") == ["proposals"]
    assert "rehearsal" in verdicts(as_operator, "not run")
    assert password not in as_operator.output


SYSTEMCTL = """#!/bin/sh
for unit in {units}; do
  echo Id=$unit.service; echo LoadState={load}; echo ActiveState={state}; echo NRestarts=1; echo
done
"""


@pytest.mark.parametrize(
    ("load", "state", "verdict", "seen"),
    [
        ("loaded", "active", "ok", "2 active, restarted by systemd 2 times"),
        ("loaded", "failed", "failed", "quantum-harvest-beat.service is failed"),
        ("not-found", "inactive", "not run", "units are not installed here"),
    ],
)
def test_units_are_active_or_fail_or_are_not_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, load: str, state: str, verdict: str, seen: str
) -> None:
    program = tmp_path / "systemctl"
    program.write_text(SYSTEMCTL.format(units="quantum-harvest-beat quantum-harvest-brain", load=load, state=state))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(systemd_units, "BOOTED", tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = systemd_units.check_units()
    assert (found.verdict.value, seen in found.seen) == (verdict, True)
    assert ("systemctl restart quantum-harvest-beat.service" in found.remedy) is (verdict == "failed")


def test_active_rehearses_in_an_empty_database_and_leaves_it_empty(desk: Desk, proof: Proof, url: str) -> None:
    before = written(desk.client)
    done = proof("--json", "--active")
    acts = [result for result in json.loads(done.stdout) if result["subject"].startswith("rehearsal")]
    assert [act["verdict"] for act in acts] == ["ok"] * 4, acts
    assert written(desk.client) == before
    assert desk.client.info("keyspace").keys() <= {"db0"}


@pytest.mark.parametrize(
    ("act", "part", "broken"),
    [
        ("kill switch", "set_kill_switch", lambda *_, **__: None),
        ("rate limit", "server_ms", lambda _: 0),
        (
            "each once",
            "Rehearsal.open",
            lambda own, symbol: own.feed(symbol, **{**OPENED, "trade_id": str(next(NUMBERS))}),
        ),
        ("one cycle", "CALM", {"sigma": "none"}),
    ],
)
def test_what_does_not_hold_in_the_rehearsal_is_named(
    desk: Desk, proof: Proof, monkeypatch: pytest.MonkeyPatch, act: str, part: str, broken: object
) -> None:
    monkeypatch.setattr(f"harvest_tasks.operations.proof.rehearsal.{part}", broken)
    done = proof("--json", "--active")
    assert first_failed(done)["subject"] == f"rehearsal: {act}"


def test_active_goes_round_what_is_in_use(desk: Desk, proof: Proof, url: str) -> None:
    used = [connect(url.replace("/0", f"/{db}")) for db in range(1, 16)]
    for client in used:
        client.set("another", "program's")
    try:
        done = proof("--json", "--active")
        assert json.loads(done.stdout)[-1]["seen"] == "no database of the server is empty"
        used[2].flushdb()
        assert len(verdicts(proof("--json", "--active"), "ok")) == len(verdicts(done, "ok")) + 4
        assert [client.dbsize() for client in used] == [1, 1, 0, *[1] * 12]
    finally:
        for client in used:
            client.flushdb()
            client.close()


def test_the_report_has_every_result_and_no_password(desk: Desk, proof: Proof, url: str, tmp_path: Path) -> None:
    desk.client.set("quantum:kill", "1")
    desk.client.execute_command("ACL", "SETUSER", "auditor", "on", ">secret", "~*", "&*", "+@all")
    try:
        done = proof("--report", str(tmp_path / "proof.md"), REDIS_URL=url.replace("://", "://auditor:secret@"))
    finally:
        desk.client.execute_command("ACL", "DELUSER", "auditor")
    text = (tmp_path / "proof.md").read_text()
    assert done.exit_code == 1
    assert text.count("\n| ") == len(json.loads(proof("--json").stdout)) + 1
    assert "Fix: harvest kill off" in text
    assert "secret" not in text + done.output


def test_a_report_that_cannot_be_written_is_one_line(desk: Desk, proof: Proof, tmp_path: Path) -> None:
    done = proof("--report", str(tmp_path / "none" / "proof.md"))
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "--report" in done.stderr


def test_without_a_server_it_is_one_line_and_the_exit_code_3(proof: Proof) -> None:
    place = f"127.0.0.1:{free_port()}/0"
    done = proof(REDIS_URL=f"redis://:secret@{place}")
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr == (
        f"harvest: the server at redis://***@{place} does not answer: connection refused. "
        "Fix: start it, or correct REDIS_URL (harvest config)\n"
    )
