"""How classes let Hypothesis draw: so many examples by their own seed, nothing remembered, and a failing one made
smaller for a while.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis.internal.conjecture import engine

SHRINKING_SEC: Final = 20
"""By itself Hypothesis takes five minutes."""


def drawing(examples: int, steps: int = 50) -> settings:
    """`steps` are those of a machine."""
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        verbosity=Verbosity.quiet,
    )


@contextmanager
def short_shrinks() -> Iterator[None]:
    """While it lasts, a failing example is not made smaller for longer."""
    with patch.object(engine, "MAX_SHRINKING_SECONDS", SHRINKING_SEC):
        yield
