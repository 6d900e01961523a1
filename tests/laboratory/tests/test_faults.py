"""The fault harness at a small scale, and that it would see what it looks for; `make faults` is the whole of it."""

import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from laboratory import bad_designs, interleavings, kill_switch
from laboratory.__main__ import main
from laboratory.actors import CRASH, EXPIRE, GO, TURN, Budget, Start, Story, Switch
from laboratory.arena import Arena
from laboratory.changed_scripts import changed
from laboratory.interleavings import WATCHERS, WORKERS, Job, play_all
from laboratory.report import Result
from laboratory.server_pool import Site, site_at, socket_of
from laboratory.steps import pack

from harvest_tasks.server.client import Client

SEED = int(os.environ.get("E2E_SEED", "20260123"))


@pytest.fixture
def judged(measured: Callable[[str], None]) -> Callable[[Result], None]:
    def judge(result: Result) -> None:
        measured(f"{result.cases} cases, {result.intents} intents; {result.notes}")
        assert result.passed, "\n".join(line for failure in result.failures for line in failure.lines())

    return judge


@pytest.fixture
def site() -> Iterator[Site]:
    with Arena("F1", SEED) as arena, site_at(socket_of(arena.server(durable=False))) as made:
        yield made


def test_no_interleaving_loses_doubles_or_reorders(judged: Callable[[Result], None]) -> None:
    with Arena(interleavings.ID, SEED, 0.03, jobs=1) as arena:
        result = interleavings.run(arena)
    judged(result)
    assert result.cases > interleavings.SAMPLED * 0.03
    assert result.fills > 0
    assert result.intents > 0


def test_nothing_that_may_be_typed_as_kill_switch_lets_an_intent_slip(judged: Callable[[Result], None]) -> None:
    with Arena(kill_switch.ID, SEED, 0.08, jobs=1) as arena:
        result = kill_switch.run(arena)
    judged(result)
    assert result.cases > len(kill_switch.SWITCHES) * len(kill_switch.PUBLISHING)


def test_the_explorer_catches_each_known_bad_design(judged: Callable[[Result], None]) -> None:
    with Arena(bad_designs.ID, SEED, 0.1, jobs=1) as arena:
        result = bad_designs.run(arena)
    judged(result)
    bad = set(bad_designs.DESIGNS) - {bad_designs.GOOD}
    assert result.notes["known_bad"] == dict.fromkeys(bad, "caught")


@pytest.mark.parametrize(
    ("old", "new", "job", "kind"),
    [
        (
            "if (redis.call('HGET', position, 'version') or '0') ~= version then",
            "if false then",
            Job(0, WORKERS, Budget(expiries=1)),
            "doubled",
        ),
        ("#intents > 0 and (is_killed() or", "#intents > 0 and (", Job(0, WORKERS, Budget(turns=("on",))), "other"),
        ("redis.call('HINCRBY', position, 'version', 1)", "", Job(0, WORKERS, Budget()), "torn"),
    ],
)
def test_the_explorer_catches_a_step_that_does_less_than_it_should(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, old: str, new: str, job: Job, kind: str
) -> None:
    changed(monkeypatch, "commit", old, new)
    tally = play_all(request.getfixturevalue("site"), job)
    assert tally.kinds[kind] > 0
    assert tally.shortest is not None
    turns, lines, wrong = tally.shortest
    assert len(lines) == turns + 1
    assert wrong


def test_the_tree_of_two_watchers_has_both_orders(site: Site) -> None:
    tally = play_all(site, Job(1, WATCHERS, Budget()))
    assert tally.schedules > 1
    assert not tally.kinds


def setting(client: Client, *keys: str) -> None:
    for key in keys:
        client.set(key, "1")


def start(**ttl: list[str]) -> Start:
    made = [("FLUSHDB",)]
    return Start(pack(*made), len(made), ttl, ["out"], {"on": Switch(("SET", "kill", "1"), True)})


def test_what_a_crashed_actor_sent_has_arrived_and_nothing_after_it(site: Site) -> None:
    story = Story(site.stage, start(), {"one": lambda client: setting(client, "a", "b", "c")}, Budget(crashes=1))
    story.take((GO, "one"))
    story.take((GO, "one"))
    story.take((CRASH, "one"))
    assert story.options() == []
    assert sorted(site.stage.client.keys()) == ["a", "b"]
    assert story.lines()[-1] == "one: crashes before it sees the reply"


def test_only_keys_that_exist_can_expire(site: Site) -> None:
    cast = {"one": lambda client: setting(client, "a", "b")}
    story = Story(site.stage, start(lease=["a"]), cast, Budget(expiries=1))
    assert story.options() == [(GO, "one")]
    story.take((GO, "one"))
    assert story.options() == [(GO, "one"), (EXPIRE, "lease")]
    story.take((EXPIRE, "lease"))
    assert story.options() == [(GO, "one")]
    assert site.stage.client.keys() == []


def test_what_is_published_while_the_switch_is_on_is_seen_at_once(site: Site) -> None:
    cast = {"one": lambda client: client.xadd("out", {"a": "b"})}
    story = Story(site.stage, start(), cast, Budget(turns=("on",)))
    story.take((TURN, "on"))
    story.take((GO, "one"))
    assert story.wrong == [("I3", "one published though the kill switch was on")]


def test_an_actor_that_fails_is_a_finding(site: Site) -> None:
    def fail(client: Client) -> None:
        client.set("a", "1")
        client.hset("a", "b", "c")

    story = Story(site.stage, start(), {"one": fail}, Budget())
    story.take((GO, "one"))
    story.take((GO, "one"))
    assert "WRONGTYPE" in story.wrong[0][1]


def test_a_run_writes_what_it_saw_and_fails_when_something_did_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    told = ["--only", "BAD", "--scale", "0.1", "--jobs", "1", "--seed", "7"]
    assert main(told) == 0
    latest = json.loads((tmp_path / ".faults/latest.json").read_text())
    (of_class,) = latest["classes"]
    assert (latest["seed"], of_class["id"], of_class["passed"]) == (7, "BAD", True)
    assert of_class["cases"] > 0
    assert set(latest["known_bad"].values()) == {"caught"}

    monkeypatch.setattr(bad_designs, "run", partial(failing, bad_designs.run))
    capsys.readouterr()
    assert main(told) == 1
    shown = capsys.readouterr().out
    assert "make faults SEED=7 ONLY=BAD" in shown
    assert "one: a step" in shown


def failing(run: Callable[[Arena], Result], arena: Arena) -> Result:
    result = run(arena)
    result.failures.append(arena.failure("something", "one: a step"))
    return result
