"""What the workers say of themselves."""

import logging
from typing import Final

from kombu.exceptions import OperationalError
from redis.exceptions import ResponseError

log = logging.getLogger(__name__)

ANSWER_SEC: Final = 1.0


def consumed() -> set[str] | None:
    """The queues that a worker consumes, as far as workers answer in time; None if nobody may ask them."""
    from harvest_tasks.celery import app  # reads the environment

    try:
        answers = app.control.inspect(timeout=ANSWER_SEC).active_queues() or {}
    except (OperationalError, ResponseError) as error:
        log.warning("workers cannot be asked what they consume: %s", error)
        return None
    return {queue["name"] for queues in answers.values() for queue in queues}
