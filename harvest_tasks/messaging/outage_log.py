"""Limits log lines about tasks that fail because a server is away: beat starts the next one within a second."""

import logging
from logging import LogRecord
from time import monotonic
from typing import Any, Final

from kombu.exceptions import OperationalError
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import TimeoutError as TimedOut

from harvest_tasks.logs import Line

AWAY: Final = (Disconnected, TimedOut, OperationalError)
REPEAT_SEC: Final = 60.0


class OncePerOutage(logging.Filter):
    """Passes one line, without the traceback, for each kind of task and process in `REPEAT_SEC`. Other failures of
    tasks stay as Celery logs them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._logged_at: dict[str, float] = {}

    def filter(self, record: LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, AWAY):
            return True
        failed: dict[str, Any] = getattr(record, "data", {})
        name, now = str(failed.get("name")), monotonic()
        if now - self._logged_at.get(name, -REPEAT_SEC) < REPEAT_SEC:
            return False
        self._logged_at[name] = now
        record.msg, record.args = Line("task failed", name=name, problem=f"{type(error).__name__}: {error}"), ()
        record.exc_info = record.exc_text = None
        return True
