"""Probes delayed by CPU steal are reported apart from undisturbed ones."""

import pytest

from bench.latency import MIN_UNDISTURBED, Probe, StealMonitor, describe

SAMPLES = [(0.0, 5), (1.0, 5), (2.0, 7), (3.0, 7)]
"""CPU steal happened between the samples at 1 and at 2."""


@pytest.mark.parametrize(
    ("began", "ended", "stole"),
    [(0.1, 0.9, False), (0.0, 1.0, False), (0.5, 1.1, True), (1.2, 1.8, True), (1.9, 2.5, True), (2.0, 3.0, False)],
)
def test_only_cpu_steal_within_the_time_counts(began: float, ended: float, stole: bool) -> None:
    assert StealMonitor(list(SAMPLES)).stole_between(began, ended) is stole


def test_undisturbed_probes_are_reported_if_there_are_enough() -> None:
    held_up, alone = Probe(90.0, undisturbed=False), Probe(1.0, undisturbed=True)
    assert describe([held_up] * 10 + [alone] * MIN_UNDISTURBED).endswith(f"(n={MIN_UNDISTURBED}) without CPU steal")
    assert "CPU steal" not in describe([held_up] * 10 + [alone] * (MIN_UNDISTURBED - 1))
