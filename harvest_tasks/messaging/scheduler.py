"""The beat that Harvest runs: it keeps no file, and stops sending to a queue that no worker consumes.

What is due follows from the clock (see `clock_schedule`), so there is nothing to store. Messages in a Redis queue have
no lifetime of their own: without a limit, beat would fill the server while the workers are down.
"""

import logging
from typing import Any, Final

from celery.beat import Scheduler, SchedulingError
from redis.exceptions import RedisError

from harvest_tasks.messaging.systemd import AT_WORK, notify_systemd

MOST_WAITING: Final = 500
"""Messages in one queue. An expired one costs a worker well under a millisecond when it comes back."""

log = logging.getLogger(__name__)


class BoundedScheduler(Scheduler):  # type: ignore[misc]  # Celery publishes no types
    """Sends nothing to a queue in which `MOST_WAITING` messages wait. Logs once when it stops, once when it resumes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._stopped: set[str] = set()
        super().__init__(*args, **kwargs)

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        queue = entry.options["queue"]
        try:
            waiting = producer.channel.queue_declare(queue=queue).message_count
            if waiting >= MOST_WAITING:
                self._stop(queue, f"{waiting} messages wait; beat sends no more until a worker consumes it")
            else:
                self.apply_async(entry, producer=producer, advance=False)
                self._resume(queue)
        except (RedisError, SchedulingError) as error:
            self._stop(queue, f"beat cannot send: {error}")
        else:
            notify_systemd(AT_WORK)

    def _stop(self, queue: str, reason: str) -> None:
        if queue not in self._stopped:
            log.error("queue %s: %s", queue, reason)
        self._stopped.add(queue)

    def _resume(self, queue: str) -> None:
        if queue in self._stopped:
            log.warning("queue %s: beat sends again", queue)
        self._stopped.discard(queue)
