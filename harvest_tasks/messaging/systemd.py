"""Notifies systemd that a worker or beat is at work: `Type=notify` with `WatchdogSec=`.

A process that hangs, or whose connection is dead unnoticed, stays alive and does nothing. So a notification means more
than a living process: from a worker, that the server replied to its reads; from beat, that its messages arrived. After
`WatchdogSec=` without one, systemd restarts the process. Without $NOTIFY_SOCKET nothing is sent.
"""

import os
import socket
from contextlib import suppress
from time import monotonic
from typing import Any, Final

from celery.bootsteps import StartStopStep

from harvest_tasks.messaging.configuration import TIME_LIMIT_SEC
from harvest_tasks.messaging.transport import Channel

AT_WORK: Final = "READY=1\nWATCHDOG=1"
"""systemd takes the first READY for the end of the start, and ignores later ones."""
LOOK_EVERY_SEC: Final = 0.5
ANSWER_WITHIN_SEC: Final = 5.0
"""The server replies after 1 s to a read that finds nothing."""


def notify_systemd(state: str) -> None:
    """Send `state`, as in sd_notify(3), to the service manager if it asked for notifications."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    # A datagram that is lost is followed by another one.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
        line.setblocking(False)
        line.connect(f"\0{address[1:]}" if address.startswith("@") else address)
        line.send(state.encode())


class SystemdWatchdog(StartStopStep):  # type: ignore[misc]  # Celery publishes no types
    """A worker's step: notifies systemd while the server replies. Starts again with each connection."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._timer: Any = None

    def include_if(self, consumer: Any) -> bool:
        return "NOTIFY_SOCKET" in os.environ

    def start(self, consumer: Any) -> None:
        channel = consumer.task_consumer.channel
        self._timer = consumer.timer.call_repeatedly(LOOK_EVERY_SEC, _notify_if_consuming, (channel,))

    def stop(self, consumer: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()


def _notify_if_consuming(channel: Channel) -> None:
    if is_consuming(channel, monotonic()):
        notify_systemd(AT_WORK)


def is_consuming(channel: Channel, now: float) -> bool:
    """Whether the server replied to a read in time; `now` is monotonic.

    A worker does not read while all its slots are taken. No slot is taken for longer than `TIME_LIMIT_SEC`: a pool that
    hangs is detected like a server that hangs.
    """
    if channel.answered_at is None:
        return False
    busy = 0 if channel.qos.can_consume() else TIME_LIMIT_SEC
    return now - channel.answered_at < ANSWER_WITHIN_SEC + busy
