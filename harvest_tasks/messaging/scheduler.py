"""The beat that Harvest runs: it keeps no file, and stops ringing where nobody answers.

What is due follows from the clock (see `spread`), so there is nothing to store. Messages in a Redis queue have no
lifetime of their own: without a bound, beat would fill the server while the workers are down.
"""

import logging
from typing import Any, Final

from celery.beat import Scheduler, SchedulingError
from redis.exceptions import RedisError

from harvest_tasks.messaging.systemd import AT_WORK, notify_systemd

MOST_WAITING: Final = 500
"""Bells of one queue. Expired ones cost a worker well under a millisecond each when it comes back."""

log = logging.getLogger(__name__)


class BoundedScheduler(Scheduler):  # type: ignore[misc]  # Celery publishes no types
    """Sends nothing to a queue in which `MOST_WAITING` messages wait; says once when a queue stops and goes on."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._stopped: set[str] = set()
        super().__init__(*args, **kwargs)

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        queue = entry.options["queue"]
        try:
            waiting = producer.channel.queue_declare(queue=queue).message_count
            if waiting >= MOST_WAITING:
                self._stop(queue, f"{waiting} messages wait in it; does a worker consume it?")
            else:
                self.apply_async(entry, producer=producer, advance=False)
                self._go_on(queue)
        except (RedisError, SchedulingError) as error:
            self._stop(queue, str(error))
        else:
            notify_systemd(AT_WORK)

    def _stop(self, queue: str, reason: str) -> None:
        if queue not in self._stopped:
            log.error("queue %s gets no more bells: %s", queue, reason)
        self._stopped.add(queue)

    def _go_on(self, queue: str) -> None:
        if queue in self._stopped:
            log.warning("queue %s gets bells again", queue)
        self._stopped.discard(queue)
