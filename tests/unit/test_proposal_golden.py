"""221 recorded inputs and outputs of the proposal formulas."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from kernel.proposals.market import MarketState, P1Proposal
from kernel.proposals.partial_exit import HarvestAction
from kernel.proposals.proposal import compute_harvest_proposal
from kernel.proposals.snapshot import PositionSnapshot
from kernel.proposals.theta import HarvestTheta

TOLERANCE = 1e-12
CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "data" / "kernel_golden.json").read_text(encoding="utf-8")
)


def near(expected: float) -> Any:
    return pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE)


def test_there_are_221_cases() -> None:
    assert len(CASES) == 221


def test_every_action_occurs_among_the_recorded_cases() -> None:
    assert {case["expect"]["harvest_action"] for case in CASES} == {*HarvestAction}
    assert len({action.target for action in HarvestAction}) == len(HarvestAction)


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_a_recorded_case_comes_out_as_recorded(case: dict[str, Any]) -> None:
    proposal = compute_harvest_proposal(
        PositionSnapshot(**case["position"]),
        MarketState(**case["market_state"]),
        P1Proposal(**case["p1_proposal"]) if case["p1_proposal"] else None,
        HarvestTheta(**case["theta"]) if case["theta"] else None,
    )
    actual, expected = asdict(proposal), case["expect"]
    assert set(actual) == set(expected)
    assert actual["harvest_action"] == expected["harvest_action"]
    assert list(actual["reason_codes"]) == expected["reason_codes"]
    assert actual["new_sl_proposed"] == (
        None if expected["new_sl_proposed"] is None else near(expected["new_sl_proposed"])
    )
    for name in ("R_net", "risk_unit", "cost_est", "kill_score"):
        assert actual[name] == near(expected[name]), name
    assert actual["k_components"] == {name: near(value) for name, value in expected["k_components"].items()}
    assert list(actual["tranche_weights"]) == [near(weight) for weight in expected["tranche_weights"]]
