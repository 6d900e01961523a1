"""The age of the watcher's heartbeat, by the time left of its lease."""

import pytest

from harvest_tasks.fills.lease import LEASE_MS
from harvest_tasks.metrics import liveness
from harvest_tasks.metrics.replies import Replies
from harvest_tasks.settings.model import Settings

NOW_MS = 1_700_000_000_000
SETTINGS = Settings.from_env({})


def watcher_age(left_ms: int, watched_ms: int = NOW_MS - 90_000) -> float:
    replies = Replies({"lease": left_ms, "heartbeat": {"watched_ms": str(watched_ms)}}, {})
    ages, *_ = liveness.families(replies, SETTINGS, NOW_MS)
    return next(sample.value for sample in ages.samples if sample.labels == {"of": "watcher"})


@pytest.mark.parametrize(("left_ms", "age"), [(LEASE_MS, 0.0), (LEASE_MS - 500, 0.5), (1, (LEASE_MS - 1) / 1000)])
def test_a_lease_that_is_held_says_when_it_was_renewed(left_ms: int, age: float) -> None:
    assert watcher_age(left_ms) == age


@pytest.mark.parametrize("left_ms", [-2, -1])
def test_without_a_lease_the_end_of_the_last_slice_counts(left_ms: int) -> None:
    assert watcher_age(left_ms) == 90.0


def test_a_slice_that_ended_later_than_the_lease_was_renewed_counts() -> None:
    assert watcher_age(1, NOW_MS - 200) == 0.2
