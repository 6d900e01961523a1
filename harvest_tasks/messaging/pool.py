"""A prefork pool that survives the death of a child while its broker is away, and stops when it is asked to.

A worker that reconnects watches all its children again. For a child that has just exited, and so has no descriptor
left (`None`), Celery 5.7 expects an AttributeError, but kombu 5.7 raises a ValueError: the worker would end itself.

A worker that stops gives up each task that it handed to a child without a report back. The message returns to its
queue, and the child's result is never read. With billiard 4.3 the child waits 30 s for its last result to be read
before it exits, and the worker waits as long for the child.
"""

from typing import Any, Final

from celery.concurrency.asynpool import AsynPool
from celery.concurrency.prefork import TaskPool as PreforkPool

UNREAD_MAY_STAY: Final = 2**31 - 1
"""More results than a child can have sent."""


class Results(AsynPool.ResultHandler):  # type: ignore[misc]  # Celery publishes no types
    """Reads the results that children send."""

    def on_stop_not_started(self) -> None:
        """Read the results that are still expected, then let the children exit without further reads."""
        super().on_stop_not_started()
        for read in self.on_ready_counters.values():
            read.value = UNREAD_MAY_STAY


class Children(AsynPool):  # type: ignore[misc]  # Celery publishes no types
    """The children of one worker."""

    ResultHandler = Results

    def _track_child_process(self, proc: Any, hub: Any) -> None:
        """Watch `proc`, unless the pool has noticed its exit and is about to replace it."""
        if getattr(proc, "_sentinel_poll", True) is not None:
            super()._track_child_process(proc, hub)


class TaskPool(PreforkPool):  # type: ignore[misc]  # Celery publishes no types
    """The class that the setting `worker_pool` names."""

    Pool = Children
