"""Harvest's app with failpoints, for the class of Celery's own weaknesses: `celery -A laboratory.observed_app worker`.

FAULTS_VISIBILITY_SEC shortens the visibility timeout. A main process that has taken a bell for fills off its list, and
not yet noted that it has, is at the step `fetch.append.before`: a message that goes there is nowhere any more.
"""

import os
from time import time
from typing import Any

from celery.signals import task_prerun, task_received
from kombu.transport.redis import QoS

from harvest_tasks.messaging.transport import Channel
from laboratory.failpoints import DIRECTORY, app, reach
from laboratory.message_notes import Noted, note

__all__ = ["app"]

FILLS = "harvest_tasks.brain.process_fills"


def _note(what: str, task: str, message_id: str, expires: float | None = None) -> None:
    note(DIRECTORY, Noted(what, task, message_id, os.getpid(), time(), expires))


def _taken(request: Any, **_: Any) -> None:
    _note("taken", request.name, request.id, request.expires and request.expires.timestamp())


def _begun(task: Any, task_id: str, **_: Any) -> None:
    _note("begun", task.name, task_id)


class Registry(QoS):
    """What is fetched and not acknowledged yet."""

    def append(self, message: Any, delivery_tag: str) -> None:
        if message.headers["task"] == FILLS:
            _note("popped", FILLS, message.headers["id"])
            reach("fetch.append.before")
        super().append(message, delivery_tag)


Channel.QoS = Registry
task_received.connect(_taken)
task_prerun.connect(_begun)
if given := os.environ.get("FAULTS_VISIBILITY_SEC"):
    app.conf.broker_transport_options = {**app.conf.broker_transport_options, "visibility_timeout": float(given)}
