"""Kombu's Redis transport, whose closed channels still know their server, and which waits briefly for a lost server.

When the server goes while tasks run, Celery closes its connection twice, and later acknowledges those tasks on the
channel that it closed; beat goes on looking at its queues on the channel that a failed publish closed. Kombu would
look for the server's address where closing left None, and fail with an AttributeError that no caller expects: the
worker or beat would end. Here such a late command reaches the server if it is back, and otherwise fails like any
command without a server, with redis-py's ConnectionError, and its caller connects again.

A worker that finds no server tries again only 2 s later, then 4 s, then 6 s. A server that is restarted is back long
before that. So a process that was connected first tries every `_RETRY_SEC`, for `_RECONNECT_FOR_SEC`, once per outage.
"""

from queue import Empty
from time import monotonic, sleep
from typing import Any, Final

from kombu.transport import redis

_RECONNECT_FOR_SEC: Final = 1.0
_RETRY_SEC: Final = 0.05

Server = tuple[str | None, int | None, str | None]
_away_since: dict[Server, float | None] = {}
"""When each server that this process was ever connected to went away (monotonic), or None while it is there."""
_is_worker = False


def mark_as_worker(**_: Any) -> None:
    """Remember that this process is a worker, which restores the messages of dead workers."""
    global _is_worker
    _is_worker = True


class QoS(redis.QoS):
    """Restores the messages of dead workers, but only in workers: a process that only sends may not be allowed to."""

    def restore_visible(self, *args: Any, **options: Any) -> None:
        if _is_worker:
            super().restore_visible(*args, **options)  # type: ignore[no-untyped-call]  # untyped in kombu


class Channel(redis.Channel):
    """Keeps what it needs after it is closed, and records when its server replied."""

    QoS = QoS

    def __init__(self, connection: Any, **options: Any) -> None:
        self.answered_at: float | None = None
        """Monotonic time of the last reply to a read of the queues, even to one that found nothing."""
        self._declared = connection.state
        self._servers: dict[bool, dict[str, Any]] = {}
        super().__init__(connection, **options)  # type: ignore[no-untyped-call]  # untyped in kombu
        self._connparams()

    @property
    def state(self) -> Any:
        """The exchanges and bindings declared on its connection."""
        return self._declared

    @property
    def pool(self) -> Any:
        """The channel's pool; of a closed channel, one for a single command: nothing would close a lasting one."""
        return self._get_pool() if self.closed else super().pool  # type: ignore[no-untyped-call]  # untyped in kombu

    def close(self) -> None:
        kinds = self.exchange_types
        super().close()  # type: ignore[no-untyped-call]  # untyped in kombu
        # Without them, a message that is returned to its queue late would be taken from Redis and lost.
        self.exchange_types = kinds

    def _brpop_read(self, **options: Any) -> Any:
        try:
            found = super()._brpop_read(**options)  # type: ignore[no-untyped-call]  # untyped in kombu
        except Empty:
            self.answered_at = monotonic()
            raise
        self.answered_at = monotonic()
        return found

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        """How to connect to the server: with a connection that the event loop watches, or without."""
        if asynchronous not in self._servers:
            parameters = super()._connparams(asynchronous)  # type: ignore[no-untyped-call]  # untyped in kombu
            self._servers[asynchronous] = parameters
        return dict(self._servers[asynchronous])


class Transport(redis.Transport):
    """For `redis://`, `rediss://` and `redis+socket://`."""

    Channel = Channel

    def establish_connection(self) -> Any:
        client: Any = self.client
        server = client.hostname, client.port, client.virtual_host
        while True:
            try:
                connected = super().establish_connection()  # type: ignore[no-untyped-call]  # untyped in kombu
            except self.connection_errors:
                if not _may_be_back_soon(server):
                    raise
                sleep(_RETRY_SEC)
            else:
                _away_since[server] = None
                return connected


def _may_be_back_soon(server: Server) -> bool:
    """Whether `server` was there until at most `_RECONNECT_FOR_SEC` ago."""
    if server not in _away_since:
        return False
    since = _away_since[server]
    if since is None:
        since = _away_since[server] = monotonic()
    return monotonic() < since + _RECONNECT_FOR_SEC
