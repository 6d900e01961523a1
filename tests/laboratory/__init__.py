"""The fault harness: what is injected, what must hold afterwards, and how often it was tried (`make faults`)."""

from typing import Final

FAILPOINTS: Final = "HARVEST_FAILPOINT"
"""The variable that names the directory of `failpoints`. It is no setting: other processes refuse it."""
