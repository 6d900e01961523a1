"""What a proof concludes, without a server."""

import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from harvest_tasks.metrics.scrape import Scrape
from harvest_tasks.operations.proof import calc_only, proposal_rate
from harvest_tasks.operations.proof.proposal_rate import ProposalChange, WatchedProposals
from harvest_tasks.settings.model import Settings

ROOT = Path(__file__).parents[2]
SETTINGS = Settings.from_env({"REDIS_URL": "redis://localhost:1/0"})
NOTHING = Scrape([], None, 0.0)
BEFORE = {
    "harvest_action": "NONE",
    "position_side": "LONG",
    "position_source": "tracker",
    "market_state_source": "redis_hash",
    "new_sl_proposed": "",
    "kill_score": "0.5",
    "computed_at_utc": "2026-01-23T14:30:00",
}
NEXT = {"computed_at_utc": "2026-01-23T14:30:10"}


def publication(**changed: str) -> ProposalChange:
    return ProposalChange("BTCUSDT", BEFORE, {**BEFORE, **NEXT, **changed})


def test_proposals_reach_nothing_that_writes() -> None:
    found = calc_only.check_code()
    assert (found.subject, found.verdict) == ("calc-only code", "ok")


@pytest.mark.parametrize(
    "source",
    [
        "import harvest_tasks.fills.brain",
        "from harvest_tasks.fills import sweep",
        "from harvest_tasks.fills.ledger import Ledger",
        "def later():\n    from harvest_tasks.simulation.paper import executor",
    ],
)
def test_a_module_that_reaches_it_directly_or_not_is_found(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"sly_{abs(hash(source))}"
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    found = calc_only.check_code([name])
    assert found.verdict == "failed"
    assert found.seen.startswith("the proposal code imports harvest_tasks.")


def test_what_proposals_may_not_reach_is_what_the_import_contract_says() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (forbidden,) = (c["forbidden_modules"] for c in contracts if c["name"].startswith("proposals cannot reach"))
    assert sorted(calc_only.WRITERS) == sorted(forbidden)


@pytest.mark.parametrize(
    "changed",
    [
        {"harvest_action": "PARTIAL_25"},
        {"position_side": "SHORT"},
        {"position_source": "redis_hash"},
        {"market_state_source": "neutral"},
        {"new_sl_proposed": "100.2"},
        {"kill_score": "0.5011"},
        {"kill_score": "nothing"},
        {"computed_at_utc": "2026-01-23T14:31:00"},
        {"computed_at_utc": "2026-01-23T14:29:59"},
    ],
)
def test_a_publication_has_a_reason(changed: dict[str, str]) -> None:
    assert proposal_rate.is_due(publication(**changed), SETTINGS)


@pytest.mark.parametrize("changed", [{}, {"kill_score": "0.501"}, {"computed_at_utc": "2026-01-23T14:30:59"}])
def test_or_it_has_none(changed: dict[str, str]) -> None:
    assert not proposal_rate.is_due(publication(**changed), SETTINGS)


@pytest.mark.parametrize(("stop", "is_due"), [("100.1", False), ("100.11", True), ("", True)])
def test_a_stop_moves_by_more_than_a_ratio(stop: str, is_due: bool) -> None:
    before = {**BEFORE, "new_sl_proposed": "100"}
    moved = ProposalChange("BTCUSDT", before, {**before, **NEXT, "new_sl_proposed": stop})
    assert proposal_rate.is_due(moved, SETTINGS) is is_due


@pytest.mark.parametrize(
    ("seconds", "cycles", "publications", "verdict"),
    [
        (30.0, 3, [publication(harvest_action="PARTIAL_25")], "ok"),
        (30.0, 3, [], "ok"),
        (30.0, 3, [publication()], "failed"),
        (30.0, 0, [], "failed"),
        (19.0, 0, [], "not run"),
        (19.0, 1, [], "ok"),
    ],
)
def test_the_pace_is_kept_if_cycles_run_and_publish_for_a_reason(
    seconds: float, cycles: int, publications: Sequence[ProposalChange], verdict: str
) -> None:
    assert (
        proposal_rate.check_rate(WatchedProposals(seconds, cycles, publications), SETTINGS, NOTHING, NOTHING).verdict
        == verdict
    )
