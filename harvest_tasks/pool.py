"""A prefork pool that outlives the death of a child while its broker is away.

When a worker connects again it watches all its children once more. Celery 5.7 expects that a child which has just
exited has no descriptor left (`None`) to fail with an AttributeError, and kombu 5.7 raises a ValueError: the worker
would end itself.
"""

from typing import Any

from celery.concurrency.asynpool import AsynPool
from celery.concurrency.prefork import TaskPool as PreforkPool


class Children(AsynPool):  # type: ignore[misc]  # Celery publishes no types
    """The children of one worker."""

    def _track_child_process(self, proc: Any, hub: Any) -> None:
        """Watch `proc`, unless its exit was seen already: then the pool is about to replace it."""
        if getattr(proc, "_sentinel_poll", True) is not None:
            super()._track_child_process(proc, hub)


class TaskPool(PreforkPool):  # type: ignore[misc]  # the same
    """What `worker_pool` names."""

    Pool = Children
