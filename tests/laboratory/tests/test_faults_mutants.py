"""What tests the tests, at a small scale: scripts and code with one thing wrong in them, branches counted, replays.

And that each of them would say so if it found something; `make faults` has all of it, `make mutants` the whole kernel.
"""

import ast
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from desk import Desk
from laboratory import branches, determinism, lua_mutants, python_mutants
from laboratory.arena import Arena
from laboratory.lua_mutations import SCRIPTS, Mutant, mutants
from laboratory.python_mutations import ROOT, PythonMutant, lowered
from laboratory.replays import BATCHES, CRASHES, WHOLE, Course, Outcome
from laboratory.report import Result
from laboratory.scenarios import bought, marked
from laboratory.server_pool import Site, site_at, socket_of

from harvest_tasks.server import script
from harvest_tasks.server.client import Client

SEED = int(os.environ.get("E2E_SEED", "20260123"))
FEWEST_MUTANTS = 60
REMOVED = {
    "commit": ("without 'HINCRBY': redis.call('HINCRBY', position, 'version', 1)", "if -> false: if left == 0 then"),
    "route": ("acknowledged first", "without 'XADD': redis.call('XADD', inbox_prefix .. book, '*', 'e', packed)"),
    "publish": ("without 'PEXPIRE'",),
}
"""By script, what some mutants are told by, all of which must be noticed."""


@pytest.fixture
def judged(measured: Callable[[str], None]) -> Callable[[Result], None]:
    def judge(result: Result) -> None:
        measured(f"{result.cases} cases, {result.fills} fills, {result.intents} intents; {result.notes}")
        assert result.passed, "\n".join(line for failure in result.failures for line in failure.lines())

    return judge


@pytest.fixture
def site() -> Iterator[Site]:
    with Arena("LUA", SEED) as arena, site_at(socket_of(arena.server(durable=False))) as made:
        yield made


def made_of(name: str) -> list[Mutant]:
    return mutants(name, script.load(name).text)


def test_some_of_all_lua_mutants_are_noticed(judged: Callable[[Result], None]) -> None:
    with Arena(lua_mutants.ID, SEED, 0.08, jobs=1) as arena:
        result = lua_mutants.run(arena)
    judged(result)
    counts = result.notes["lua_mutants"]
    assert isinstance(counts, dict)
    assert counts["killed"] == counts["made"] >= FEWEST_MUTANTS


def test_the_worst_lua_mutants_are_there_and_noticed(site: Site) -> None:
    for name, tellings in REMOVED.items():
        for telling in tellings:
            (mutant,) = [each for each in made_of(name) if telling in str(each)]
            (verdict,) = lua_mutants.judged(site, [mutant])
            assert verdict.noticed_by, mutant


def test_a_lua_mutant_that_nothing_notices_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lua_mutants, "TRIALS", dict.fromkeys(SCRIPTS, ()))
    monkeypatch.setattr(lua_mutants, "PLAYS", dict.fromkeys(SCRIPTS, ()))
    with Arena(lua_mutants.ID, SEED, 0.01, jobs=1) as arena:
        result = lua_mutants.run(arena)
    assert not result.passed
    assert "nothing notices" in result.failures[0].what


@pytest.mark.parametrize("name", SCRIPTS)
def test_mutants_are_many_and_each_is_another_text(name: str) -> None:
    texts = [mutant.text for mutant in made_of(name)]
    assert len(texts) > FEWEST_MUTANTS
    assert len({*texts, script.load(name).text}) == len(texts) + 1


def test_a_mutant_is_found_again_in_a_script_that_moved() -> None:
    here = {mutant.key for mutant in made_of("route")}
    moved = {mutant.key for mutant in mutants("route", f"-- another first line\n{script.load('route').text}")}
    assert here == moved


def test_branches_are_counted_and_the_counting_script_does_what_the_real_one_does(redis: Client) -> None:
    plain: list[object] = []
    counted: list[object] = []
    for found, names in ((plain, ()), (counted, ("commit", "route"))):
        redis.flushall()
        with branches.counting(*names):
            desk = Desk(redis)
            desk.run(bought(trade_id="1"), marked("103"))
            desk.run(marked("106"))
            position = desk.client.hgetall("quantum:harvest:position:BTCUSDT")
            timeless = {name: value for name, value in position.items() if name.isalpha() and name != "applied"}
            found += [timeless, len(desk.suggestions()), desk.counts()]
    assert plain == counted
    taken = branches.read(redis)
    assert set(taken) == {*branches.all_branches("commit"), *branches.all_branches("route")}
    by_start = {label.partition(" ")[2]: n for label, n in taken.items()}
    assert by_start["if consumed ~= '' then"] == 2
    assert by_start["if n_trades > 0 then"] == 1
    assert by_start["if (redis.call('HGET', position, 'version') or '0') ~= version then"] == 0
    assert by_start["elseif kind == 'S' then"] == 2
    redis.flushdb()
    assert branches.read(redis) == taken
    branches.forget(redis)
    assert not branches.read(redis)


def test_each_branch_has_a_label_of_its_own() -> None:
    for name in SCRIPTS:
        labels = branches.all_branches(name)
        assert len(labels) == len(set(labels)) > 0


def test_a_few_journals_have_one_outcome_however_they_are_replayed(judged: Callable[[Result], None]) -> None:
    with Arena(determinism.ID, SEED, 0.02) as arena:
        result = determinism.run(arena)
    judged(result)
    assert result.fills > determinism.FILLS * 0.02 * len(determinism.MANNERS)
    assert result.intents > 0


def outcome(**parts: str) -> Outcome:
    return Outcome("", {"positions": "1", "intents": "2", **parts}, fills=9, entries=9, intents=1, crashes=0, seconds=1)


def test_replays_that_differ_are_a_failure() -> None:
    jobs = [determinism.Job(seed, [Course(3, 9, manner)]) for seed, manner in ((1, WHOLE), (2, BATCHES), (4, CRASHES))]
    outcomes = [outcome(), outcome(), outcome(intents="another's")]
    result = Result(determinism.ID, determinism.TITLE, cases=3)
    with Arena(determinism.ID, SEED) as arena:
        determinism._compare(result, arena, [(job, [each]) for job, each in zip(jobs, outcomes, strict=True)])
    (failure,) = result.failures
    assert failure.what == "journal 3 (9 fills): intents differ"
    assert failure.schedule == "whole, hash seed 1\ncrashes, hash seed 4"


def test_another_journal_has_another_outcome(site: Site) -> None:
    path = site.stage.client.config_get("unixsocket")["unixsocket"]
    courses = [Course(1, 50, WHOLE), Course(2, 50, WHOLE), Course(1, 50, BATCHES, 3), Course(1, 50, CRASHES, 4)]
    first, other, *same = determinism.replay(str(path), determinism.Job(7, courses))
    assert first.sha256 != other.sha256
    assert {each.sha256 for each in same} == {first.sha256}


def test_decorators_are_applied_below_their_functions() -> None:
    text = "class A:\n    @property\n    def b(self):\n        return 1\n\n@c\n@d(1)\ndef e():\n    pass\n"
    below = lowered(text)
    assert (
        below
        == "class A:\n    def b(self):\n        return 1\n    b = property(b)\n\ndef e():\n    pass\ne = c(d(1)(e))\n"
    )


def test_a_guard_that_lets_pass_what_it_should_not_is_noticed() -> None:
    wanted = {"kernel/positions/guards.py": ("is_fresh", "Guards.is_fresh")}
    score = python_mutants.tried(wanted, ("unit/test_kernel_corners",), 1)
    assert score.killed == score.made > 0


def functions_of(path: Path) -> Iterator[str]:
    """Functions of a module and `Class.method`s."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{each.name}" for each in node.body if isinstance(each, ast.FunctionDef))


def test_every_function_that_is_named_as_a_guard_or_as_equivalent_exists() -> None:
    guards = {(path, function) for path, functions in python_mutants.GUARDS.items() for function in functions}
    dotted = {function for function, _, _ in python_mutants.equivalents()}
    known = {
        (str(path.relative_to(ROOT)), function)
        for package in ("kernel", "harvest_tasks")
        for path in (ROOT / package).rglob("*.py")
        for function in functions_of(path)
    }
    assert guards - known == set()
    assert dotted - {f"{path.removesuffix('.py').replace('/', '.')}.{name}" for path, name in known} == set()


def test_nothing_is_claimed_of_a_kernel_that_has_changed(tmp_path: Path) -> None:
    kept = tmp_path / "mutmut.json"
    assert python_mutants.of_the_kernel(kept) is None
    counts = {"made": 2, "killed": 1, "equivalent": 0}
    kept.write_text(json.dumps({"sha256": python_mutants.kernel_sha256(), "kernel": counts}))
    assert python_mutants.of_the_kernel(kept) == counts
    kept.write_text(json.dumps({"sha256": "of another", "kernel": counts}))
    assert python_mutants.of_the_kernel(kept) is None


def test_a_mutant_that_is_listed_as_equivalent_and_noticed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [PythonMutant("f", f"was {n}", "now", f"m{n}") for n in range(4)]
    monkeypatch.setattr(python_mutants, "equivalents", lambda: {made[0].key: "", made[1].key: ""})
    verdicts = {mutant.name: noticed for mutant, noticed in zip(made, (True, False, True, False), strict=True)}
    score = python_mutants._score(made, verdicts)
    assert (score.made, score.killed, score.equivalent) == (2, 1, 2)
    assert (score.false, score.survivors) == ([made[0]], [made[3]])


def test_the_same_seed_chooses_the_same_mutants() -> None:
    every = made_of("commit")
    chosen = [Arena(lua_mutants.ID, SEED).chance("mutants").sample(every, 9) for _ in range(2)]
    assert chosen[0] == chosen[1] != Random(0).sample(every, 9)  # noqa: S311 - to be repeated
