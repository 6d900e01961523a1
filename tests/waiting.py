"""Waiting for what another process does: a condition with a deadline, never a fixed pause."""

import time
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")


def wait_until(predicate: Callable[[], Seen], timeout: float = 10.0, message: str = "the condition") -> Seen:
    """The first truthy value of `predicate`. Fails the test when none came within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    pause = 0.001
    while not (seen := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{message}: not so after {timeout:g} s; last seen: {seen!r}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
    return seen
