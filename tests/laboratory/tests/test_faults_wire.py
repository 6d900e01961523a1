"""Cut lines, clocks that are set, histories, malformed entries and the stateful machine, at a small scale."""

import os
from collections.abc import Callable
from contextlib import nullcontext
from hashlib import sha1
from types import ModuleType

import pytest
from laboratory import branches, clock_steps, cut_replies, drawing, malformed, state_machine, trade_histories
from laboratory.arena import Arena
from laboratory.changed_scripts import changed
from laboratory.cutting_proxy import IDLE, KINDS, Cut, Proxy
from laboratory.report import Result
from laboratory.settable_clock import compiler
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import TimeoutError as Unanswered

from harvest_tasks.server import script
from harvest_tasks.server.client import connect

SEED = int(os.environ.get("E2E_SEED", "20260123"))
Judge = Callable[[ModuleType, float], Result]


@pytest.fixture
def judged(measured: Callable[[str], None]) -> Judge:
    """Run a class at a scale; it has to hold."""

    def judge(module: ModuleType, scale: float) -> Result:
        with Arena(module.ID, SEED, scale, jobs=1) as arena:
            result: Result = module.run(arena)
        measured(f"{result.cases} cases, {result.fills} fills, {result.intents} intents; {result.notes}")
        assert result.passed, "\n".join(line for failure in result.failures for line in failure.lines())
        return result

    return judge


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails is hardly made smaller."""
    monkeypatch.setattr(drawing, "SHRINKING_SEC", 1)


def failing(module: ModuleType, scale: float) -> Result:
    with Arena(module.ID, SEED, scale, jobs=1) as arena:
        result: Result = module.run(arena)
    assert not result.passed
    assert result.failures
    return result


def test_no_cut_of_the_line_loses_doubles_or_tears(judged: Judge) -> None:
    result = judged(cut_replies, 0.04)
    assert result.intents > 0
    assert sum(result.notes["roles ended with"].values()) > result.cases / 2  # type: ignore[attr-defined]


def test_a_proposal_that_is_published_again_after_a_cut_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    changed(monkeypatch, "publish", "if not is_new(stored_at(key), new) then", "if false then")
    assert "proposals" in failing(cut_replies, 0.005).failures[0].what


@pytest.mark.skipif(compiler() is None, reason="no C compiler to build a clock with that can be set")
def test_no_clock_that_is_set_lets_anything_slip_or_stop_for_good(judged: Judge) -> None:
    assert judged(clock_steps, 0.25).intents > 0


def test_histories_of_repeated_late_and_reused_trades_are_what_the_rules_say(judged: Judge) -> None:
    result = judged(trade_histories, 0.012)
    assert result.notes["told"]["repetitions"] > result.cases


@pytest.mark.usefixtures("soon")
def test_a_trade_that_is_not_known_again_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    changed(monkeypatch, "commit", "ipairs({trades, trades_before})", "ipairs({})")
    assert "the model has" in failing(trade_histories, 0.012).failures[0].schedule


def test_malformed_entries_go_to_their_letters_and_freeze_what_they_name(judged: Judge) -> None:
    result = judged(malformed, 0.03)
    assert result.notes["of the table"] > 0  # type: ignore[operator]


def test_the_machine_of_everything_comes_to_what_the_model_has(judged: Judge) -> None:
    result = judged(state_machine, 0.012)
    assert result.notes["done"]["crashes"] > 0
    assert result.notes["done"]["commits"] > 0


@pytest.mark.usefixtures("soon")
def test_the_machine_sees_a_commit_that_comes_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    counted, real = branches.counted("commit").text, branches.counted
    old = "if (redis.call('HGET', position, 'version') or '0') ~= version then"
    assert counted.count(old) == 1
    text = counted.replace(old, "if false then")
    late = script.Script("commit", text, sha1(text.encode(), usedforsecurity=False).hexdigest())
    monkeypatch.setattr(branches, "counted", lambda name: late if name == "commit" else real(name))
    assert "and then:" in failing(state_machine, 0.012).failures[0].schedule


@pytest.mark.parametrize("kind", KINDS)
def test_the_proxy_cuts_where_it_is_told_to(kind: str) -> None:
    with Arena("F8", SEED) as arena:
        server = arena.server(durable=False)
        proxy = Proxy(str(server.directory / "server.sock"))
        client, direct = connect(proxy.url, 0.2), arena.client(server)
        client.ping()
        proxy.begin(Cut(2, kind))
        client.set("a", "1")
        # A connection that was cut while nothing was asked for is found out before the next question.
        with nullcontext() if kind == IDLE else pytest.raises((Disconnected, Unanswered)):
            client.set("b", "1")
        assert proxy.has_cut
        assert [name.split()[0] for name in proxy.seen][:2] == ["SET", "SET"]
        assert direct.exists("a")
        assert bool(direct.exists("b")) is (kind not in KINDS[:2])
        client.close()
        proxy.close()
