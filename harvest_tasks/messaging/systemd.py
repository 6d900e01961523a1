"""Tells systemd that a worker or beat is at work: `Type=notify` with `WatchdogSec=`.

A process that hangs, or whose connection is dead without anybody noticing, lives on and does nothing. So nothing here
says that the process lives: a worker says that its server answered its reads, and beat that its bells arrived. When
they fall silent for `WatchdogSec=`, systemd starts another one. Without $NOTIFY_SOCKET nothing is said.
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
"""systemd takes the first one for the end of the start, and no notice of the others' READY."""
LOOK_EVERY_SEC: Final = 0.5
ANSWER_WITHIN_SEC: Final = 5.0
"""A read that finds nothing is answered after 1 s."""


def notify_systemd(state: str) -> None:
    """Sends `state`, as sd_notify(3) spells it, to whoever started this process and asked for it."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    # A datagram that is lost is followed by another one.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
        line.setblocking(False)
        line.connect(f"\0{address[1:]}" if address.startswith("@") else address)
        line.send(state.encode())


class Consuming(StartStopStep):  # type: ignore[misc]  # Celery publishes no types
    """A worker's step: says that it is at work while its server answers. Begins anew with each connection."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._timer: Any = None

    def include_if(self, consumer: Any) -> bool:
        return "NOTIFY_SOCKET" in os.environ

    def start(self, consumer: Any) -> None:
        channel = consumer.task_consumer.channel
        self._timer = consumer.timer.call_repeatedly(LOOK_EVERY_SEC, _look, (channel,))

    def stop(self, consumer: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()


def _look(channel: Channel) -> None:
    if is_consuming(channel, monotonic()):
        notify_systemd(AT_WORK)


def is_consuming(channel: Channel, now: float) -> bool:
    """Whether the server answered a read within the time that it may take.

    A worker reads nothing while all its slots are taken. None is taken for longer than `TIME_LIMIT_SEC`: a pool that
    hangs shows in the same way as a server that does.
    """
    if channel.answered_at is None:
        return False
    busy = 0 if channel.qos.can_consume() else TIME_LIMIT_SEC
    return now - channel.answered_at < ANSWER_WITHIN_SEC + busy
