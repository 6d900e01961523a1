"""The fault classes of the server, each at a small scale; `make faults` runs all of them. And that each would fail."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from desk import Desk
from entries import BUY
from laboratory import log_cuts, lost_input, out_of_memory, rehearsed_run, server_errors, server_kills
from laboratory.arena import Arena
from laboratory.rehearsed_run import OFTEN, Rehearsed, at_once
from laboratory.report import Result
from laboratory.round_trips import Trips
from laboratory.server_errors import KEPT
from waiting import wait_until

from harvest_tasks.cli import main
from harvest_tasks.fills import stream
from harvest_tasks.fills.commit import CommitOutcome
from harvest_tasks.fills.ledger import Ledger
from harvest_tasks.fills.loading import FailedBook, LoadedBook
from harvest_tasks.fills.plan import Plan
from harvest_tasks.fills.router import Router
from harvest_tasks.fills.stream import InputStream
from harvest_tasks.fills.sweep import LOST_INBOX, unblock
from harvest_tasks.fills.watcher import watch
from harvest_tasks.processes.embedded_server import EmbeddedServer
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client, connect

SEED = int(os.environ.get("E2E_SEED", "20260123"))
BOOK = rehearsed_run.BOOKS[0]


@pytest.fixture
def judged(measured: Callable[[str], None]) -> Callable[[Result], None]:
    def judge(result: Result) -> None:
        measured(f"{result.cases} cases, {result.fills} fills, {result.intents} intents; {result.notes}")
        assert result.passed, "\n".join(line for failure in result.failures for line in failure.lines())
        assert result.fills > 0

    return judge


def played(module: Any, scale: float) -> Result:
    with Arena(module.ID, SEED, scale, jobs=1) as arena:
        result: Result = module.run(arena)
    return result


def test_a_server_killed_under_load_keeps_what_it_answered_for(judged: Callable[[Result], None]) -> None:
    judged(played(server_kills, 0.05))


def test_a_server_without_a_log_is_seen_to_lose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_kills, "REWRITES", ("--appendonly", "no"))
    result = played(server_kills, 0.01)
    assert result.lost > 0
    assert "was answered for and is not there" in result.failures[0].what


def test_a_cut_log_is_a_moment_of_the_run_and_work_goes_on(judged: Callable[[Result], None]) -> None:
    judged(played(log_cuts, 0.01))


def test_a_log_that_keeps_half_of_what_a_script_wrote_is_seen_as_torn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the lines that make the writes of a script one."""
    record = log_cuts._record

    def halved(*given: Any) -> tuple[Path, Any, int]:
        log, moments, intents = record(*given)
        file = log_cuts._incremental(log)
        content, begin, kept = file.read_bytes(), 0, b""
        for end, command in log_cuts._commands(content):
            kept += b"" if command[0].upper() in (b"MULTI", b"EXEC") else content[begin:end]
            begin = end
        file.write_bytes(kept)
        return log, moments, intents

    monkeypatch.setattr(log_cuts, "_record", halved)
    result = played(log_cuts, 0.004)
    assert result.torn > 0


def test_without_memory_or_room_on_disk_nothing_is_lost(judged: Callable[[Result], None]) -> None:
    judged(played(out_of_memory, 0.15))


def test_errors_of_the_server_leave_nothing_half_done(judged: Callable[[Result], None]) -> None:
    result = played(server_errors, 0.3)
    judged(result)
    assert len(result.notes["cases"]) == len(server_errors.KINDS) + 1


def test_lost_input_freezes_and_there_is_a_way_back(judged: Callable[[Result], None]) -> None:
    judged(played(lost_input, 0.3))


def test_a_worker_that_drops_what_it_could_not_commit_is_seen_to_lose(monkeypatch: pytest.MonkeyPatch) -> None:
    commit = Ledger.commit

    def dropping(
        self: Ledger, planned: Iterable[tuple[LoadedBook, Plan]]
    ) -> list[tuple[LoadedBook, Plan, CommitOutcome]]:
        settled = commit(self, planned)
        for loaded, _, outcome in settled:
            if isinstance(outcome, FailedBook):
                self._client.xtrim(keys.inbox(loaded.book), maxlen=0, approximate=False)
        return settled

    monkeypatch.setattr(Ledger, "commit", dropping)
    monkeypatch.setattr(out_of_memory, "FULL_DISK", 1)
    assert played(out_of_memory, 1.0).lost > 0


def test_a_loss_that_is_not_told_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harvest_tasks.fills.watcher.Watcher._freeze_after_loss", lambda *_: None)
    result = played(lost_input, 0.3)
    assert any("nobody says so" in failure.what for failure in result.failures)


# What commands say of a server that is not well.


@contextmanager
def unwell(server: EmbeddedServer, *command: str) -> Iterator[None]:
    client = connect(server.url())
    client.execute_command(*command)
    client.close()
    yield


ILL: Mapping[str, tuple[tuple[str, ...], int, str]] = {
    "read only": (("REPLICAOF", "127.0.0.1", "1"), 1, "harvest: You can't write against a read only replica"),
    "out of memory": (("CONFIG", "SET", "maxmemory", "1"), 1, "harvest: "),
    "a password": (("CONFIG", "SET", "requirepass", "x"), 3, "harvest: "),
    "forbidden": (("ACL", "SETUSER", "default", "-set"), 1, "harvest: "),
}


@pytest.mark.parametrize("ill", list(ILL))
def test_a_command_says_in_one_line_what_ails_the_server(ill: str) -> None:
    command, code, begins = ILL[ill]
    with Arena("F14", SEED) as arena:
        server = arena.server(durable=False)
        with unwell(server, *command):
            told = CliRunner().invoke(main, ["kill", "on"], env={"REDIS_URL": server.url()})
    assert told.exit_code == code
    assert told.stderr.startswith(begins)
    assert told.stderr.count("\n") == 1


# What a server that is not well, or a stranger's hand, must not lead to.


def test_a_failed_book_is_logged_with_what_the_server_said(caplog: pytest.LogCaptureFixture, redis: Client) -> None:
    desk = Desk(redis)
    desk.run(BUY)
    redis.delete(keys.WINDOW)
    redis.set(keys.position("BTCUSDT"), "not a hash")
    redis.sadd(keys.WAITING, "BTCUSDT")
    desk.process("BTCUSDT")
    assert "WRONGTYPE" in caplog.text


WRITES = ("xadd", "hincrby", "lpush", "ltrim", "sadd", "zrem", "xtrim", "hlen")


@pytest.mark.parametrize("command", WRITES)
def test_a_forbidden_command_leaves_nothing_half_done(command: str) -> None:
    with Arena("F14", SEED) as arena, at_once():
        server = arena.server(durable=False, options=OFTEN)
        director, trips = arena.client(server), Trips(server.url())
        played_ = Rehearsed(director, trips, arena.chance(1))
        played_.begin(
            {
                40: lambda: director.execute_command("ACL", "SETUSER", "default", f"-{command}", *KEPT),
                90: lambda: director.execute_command("ACL", "SETUSER", "default", "+@all"),
            }
        )
        played_.go_on()
        _, wrong = played_.verdict()
        trips.close()
    assert wrong == []


def test_a_group_destroyed_after_a_takeover_over_a_trimmed_stream_freezes_every_book(redis: Client) -> None:
    desk = Desk(redis)
    desk.run(BUY)
    desk.feed(BUY)
    redis.xreadgroup(keys.GROUP, "a watcher that died", {desk.source: ">"})
    desk.run()
    desk.feed(BUY, BUY)
    redis.xgroup_destroy(desk.source, keys.GROUP)
    redis.xtrim(desk.source, maxlen=1, approximate=False)
    watch(redis, desk.settings, 0.05, lambda _: None)
    desk.process()
    assert desk.position().frozen.startswith("lost_input")


def test_the_newest_entry_deleted_behind_a_full_batch_leaves_nothing_unread(
    redis: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "READ_BATCH", 2)
    desk = Desk(redis)
    desk.run(BUY)
    *_, newest = desk.feed(BUY, BUY, BUY)
    redis.xdel(desk.source, newest)
    for _ in range(2):
        watch(redis, desk.settings, 0.05, lambda _: None)
    desk.process()
    assert desk.position().frozen.startswith("lost_input")
    assert InputStream(redis, desk.settings).progress().has_reached(newest)


def test_a_deleted_inbox_freezes_its_book(redis: Client) -> None:
    desk = Desk(redis)
    desk.run(BUY)
    desk.feed(BUY, BUY)
    desk.route()
    redis.delete(keys.inbox("BTCUSDT"))
    unblock(redis, ["BTCUSDT"], 1000)
    desk.process()
    assert desk.position().frozen == LOST_INBOX
    assert redis.smembers(keys.WAITING) == set()


def test_an_inbox_that_was_emptied_meanwhile_freezes_nothing(redis: Client) -> None:
    desk = Desk(redis)
    desk.run(BUY)
    unblock(redis, ["BTCUSDT"], 1000)
    assert desk.process() == {}
    assert desk.position().frozen == ""


def test_a_lock_that_is_no_lock_holds_its_book_up_for_no_longer_than_one(redis: Client) -> None:
    desk = Desk(redis)
    desk.feed(BUY)
    desk.route()
    redis.hset(keys.lock("BTCUSDT"), "a", "1")
    unblock(redis, ["BTCUSDT"], 200)
    wait_until(lambda: desk.process("BTCUSDT").get("applied") == 1, 10, "the book is applied")


def test_a_lease_that_is_no_lease_is_not_said_to_be_the_input(redis: Client) -> None:
    desk = Desk(redis)
    desk.run(BUY)
    desk.feed(BUY)
    entries, _ = InputStream(redis, desk.settings).read()
    redis.delete(keys.LEASE)
    redis.hset(keys.LEASE, "a", "1")
    with pytest.raises(Exception, match=keys.LEASE):
        Router(redis, desk.settings).move("mine", 1000, entries)


def test_a_counter_that_is_no_number_leaves_nothing_half_done(redis: Client) -> None:
    desk = Desk(redis)
    desk.run(BUY)
    desk.feed(BUY)
    desk.route()
    redis.hset(keys.COUNTS, "applied", "many")
    desk.process()
    assert desk.position().holding.qty == 1
