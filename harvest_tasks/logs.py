"""Log lines: one per event, as text with `key=value` or as one JSON object (LOG_FORMAT).

`log.info(Line("published", book="BTCUSDT", entry_id="17-0"))`. Both forms name the running task. The user and
password of a URL are removed from both.
"""

import json
import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from logging import LogRecord
from typing import Any, Final

from celery import current_task

_LOGIN: Final = re.compile(r"://[^\s/@\"\\]*@")
_NEEDS_QUOTES: Final = re.compile(r"[\s\"=\\]|\A\Z")


class LogFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


class Line:
    """An event in a word or two, and its facts, which are formatted only if the line is written."""

    __slots__ = ("event", "facts")

    def __init__(self, event: str, /, **facts: object) -> None:
        self.event = event
        self.facts = facts

    def __str__(self) -> str:
        return " ".join([self.event, *(f"{name}={_text(value)}" for name, value in self.facts.items())])


class TextFormatter(logging.Formatter):
    """`2026-01-23 14:30:00,123 INFO MainProcess harvest_tasks.fills.brain: published book=BTCUSDT ... task=<id>`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(processName)s %(name)s: %(message)s")

    def formatMessage(self, record: LogRecord) -> str:
        task = _task_id()
        return super().formatMessage(record) + (f" task={task}" if task else "")

    def format(self, record: LogRecord) -> str:
        return redacted(super().format(record))


class JsonFormatter(logging.Formatter):
    """`time`, `level`, `process`, `logger`, `event` and its facts, `task`, and `error` with the traceback."""

    def format(self, record: LogRecord) -> str:
        facts = {**_origin(record), **_event(record), "task": _task_id(), "error": self._error(record)}
        return redacted(json.dumps({name: value for name, value in facts.items() if value is not None}, default=str))

    def _error(self, record: LogRecord) -> str | None:
        return self.formatException(record.exc_info) if record.exc_info else None


def formatter(log_format: LogFormat) -> logging.Formatter:
    return JsonFormatter() if log_format == LogFormat.JSON else TextFormatter()


def log_to_stderr(level: str, log_format: LogFormat) -> None:
    """Log to stderr, in a process that is not Celery's."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(log_format))
    logging.basicConfig(level=level, handlers=[handler])


def redacted(text: str) -> str:
    """`text` without the user and password of any URL in it."""
    return _LOGIN.sub("://***@", text)


def _origin(record: LogRecord) -> dict[str, Any]:
    time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    return {"time": time, "level": record.levelname, "process": record.processName, "logger": record.name}


def _event(record: LogRecord) -> Mapping[str, object]:
    if isinstance(record.msg, Line):
        return {"event": record.msg.event, **record.msg.facts}
    return {"event": record.getMessage()}


def _task_id() -> str | None:
    return current_task.request.id if current_task else None


def _text(value: object) -> str:
    text = str(value)
    return json.dumps(text) if _NEEDS_QUOTES.search(text) or not text.isprintable() else text
