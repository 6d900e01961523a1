"""Kombu's Redis transport, in which a closed channel still knows where its server is.

When the server goes while tasks run, Celery closes its connection twice, and later acknowledges those tasks on the
channel that it closed; beat goes on looking at its queues on the channel that a failed publish closed. Kombu would
look for the server's address where closing left None, and fail with an AttributeError, which nobody around expects:
the worker or beat would end. Here such a late command reaches the server if it is back, and else fails as any command
without a server does, with redis-py's ConnectionError, upon which everybody connects again.
"""

from typing import Any

from kombu.transport import redis


class Channel(redis.Channel):
    """Finds out while it is open what it needs when it is closed."""

    def __init__(self, connection: Any, **options: Any) -> None:
        self._declared = connection.state
        self._servers: dict[bool, dict[str, Any]] = {}
        super().__init__(connection, **options)  # type: ignore[no-untyped-call]  # kombu is typed only in part
        self._connparams()

    @property
    def state(self) -> Any:
        """The exchanges and bindings declared on its connection."""
        return self._declared

    @property
    def pool(self) -> Any:
        """Of a closed channel, one for a single command: nobody would close it."""
        return self._get_pool() if self.closed else super().pool  # type: ignore[no-untyped-call]  # the same

    def close(self) -> None:
        kinds = self.exchange_types
        super().close()  # type: ignore[no-untyped-call]  # the same
        # Without them a message that is given back late would be taken from Redis and put nowhere.
        self.exchange_types = kinds

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        """How to connect to the server: watched by the event loop, or not."""
        if asynchronous not in self._servers:
            self._servers[asynchronous] = super()._connparams(asynchronous)  # type: ignore[no-untyped-call]  # the same
        return dict(self._servers[asynchronous])


class Transport(redis.Transport):
    """For `redis://`, `rediss://` and `redis+socket://`."""

    Channel = Channel
