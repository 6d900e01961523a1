"""Random lives of random books at the kernel, through `plan`, against a model written from the rules alone (`model`).

A mismatch is told as the desk, all that was fed, and what differs.
"""

from collections import Counter

from laboratory.comparison import Kernel, Life
from laboratory.random_lives import SELDOM, SOON, live_through
from laboratory.random_moves import LOTS, drawn_setup
from run_summary import TALLIES

LIVES = 3_000
PATIENCE = 6


def test_random_lives_at_the_kernel_are_what_the_rules_say() -> None:
    branches = TALLIES.setdefault("random lives at the kernel", Counter())

    def live(setup: bytes, moves: list[bytes]) -> None:
        desk = drawn_setup(setup, LOTS)
        Life(desk, Kernel(desk), branches, PATIENCE).run(moves)

    live_through(live, LIVES)
    assert [branch for branch in SOON + SELDOM if not branches[branch]] == []
