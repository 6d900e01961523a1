"""What the host took is told apart from what a probe took by itself."""

import pytest

from bench.latency import ENOUGH, Host, Probe, told

LOOKS = [(0.0, 5), (1.0, 5), (2.0, 7), (3.0, 7)]
"""Something was stolen between the looks at 1 and at 2."""


@pytest.mark.parametrize(
    ("began", "ended", "took"),
    [(0.1, 0.9, False), (0.0, 1.0, False), (0.5, 1.1, True), (1.2, 1.8, True), (1.9, 2.5, True), (2.0, 3.0, False)],
)
def test_what_was_stolen_within_a_time_counts_and_nothing_before_or_after(
    began: float, ended: float, took: bool
) -> None:
    assert Host(list(LOOKS)).took_between(began, ended) is took


def test_probes_that_were_left_alone_are_told_of_when_they_are_enough() -> None:
    held_up, alone = Probe(90.0, undisturbed=False), Probe(1.0, undisturbed=True)
    assert told([held_up] * 10 + [alone] * ENOUGH).endswith(f"(n={ENOUGH}) where nothing was stolen")
    assert "stolen" not in told([held_up] * 10 + [alone] * (ENOUGH - 1))
