"""A prefork pool that outlives the death of a child while its broker is away, and stops when it is asked to.

When a worker connects again it watches all its children once more. Celery 5.7 expects that a child which has just
exited has no descriptor left (`None`) to fail with an AttributeError, and kombu 5.7 raises a ValueError: the worker
would end itself.

When a worker stops it gives up a task that it has handed to a child but of which it has not yet heard. That message
goes back to its queue, and nobody reads what the child says of it. With billiard 4.3 a child waits 30 s for its last
result to be read before it exits, and the worker as long for the child.
"""

from typing import Any, Final

from celery.concurrency.asynpool import AsynPool
from celery.concurrency.prefork import TaskPool as PreforkPool

UNREAD_MAY_STAY: Final = 2**31 - 1
"""More results than a child can have sent."""


class Results(AsynPool.ResultHandler):  # type: ignore[misc]  # Celery publishes no types
    """What children say of their tasks."""

    def on_stop_not_started(self) -> None:
        """Read what is still expected, then let the children go without being read."""
        super().on_stop_not_started()
        for read in self.on_ready_counters.values():
            read.value = UNREAD_MAY_STAY


class Children(AsynPool):  # type: ignore[misc]  # the same
    """The children of one worker."""

    ResultHandler = Results

    def _track_child_process(self, proc: Any, hub: Any) -> None:
        """Watch `proc`, unless its exit was seen already: then the pool is about to replace it."""
        if getattr(proc, "_sentinel_poll", True) is not None:
            super()._track_child_process(proc, hub)


class TaskPool(PreforkPool):  # type: ignore[misc]  # the same
    """What `worker_pool` names."""

    Pool = Children
