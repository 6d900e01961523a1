"""A beat schedule on a grid of the clock, so that many entries with one interval are not due together."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from celery.schedules import schedstate, schedule

_EARLY_SEC: Final = 0.010
"""Beat wakes this much before the time it asked for, and would then poll until that time."""


class ClockSchedule(schedule):  # type: ignore[misc]  # Celery publishes no types
    """Due once in each slot of `every` seconds, the first of which began `offset` seconds after the UTC epoch.

    What is due follows from the clock alone: a restarted beat keeps the rhythm without having stored anything.
    """

    def __init__(
        self, every: float, offset: float = 0.0, nowfun: Callable[[], datetime] | None = None, app: Any = None
    ) -> None:
        super().__init__(every, nowfun=nowfun, app=app)
        self.every = every
        self.offset = offset

    def is_due(self, last_run_at: datetime) -> Any:
        """Celery's pair: whether it is due, and the seconds until to ask again."""
        now = self.maybe_make_aware(self.now())
        rest = self.every - (now.timestamp() - self.offset) % self.every
        due = self._slot(now) > self._slot(self.maybe_make_aware(last_run_at))
        return schedstate(is_due=due, next=rest + _EARLY_SEC)

    def _slot(self, time: datetime) -> float:
        return (time.timestamp() - self.offset) // self.every

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ClockSchedule):
            return NotImplemented
        return (self.every, self.offset) == (other.every, other.offset)

    def __hash__(self) -> int:
        return hash((self.every, self.offset))

    def __reduce__(self) -> tuple[type["ClockSchedule"], tuple[float, float]]:
        return type(self), (self.every, self.offset)
