"""The one place that makes Redis clients.

redis-py retries commands silently by default; after a lost reply that runs a write twice. Nothing here retries:
the next bell, beat or sweep does.
"""

from functools import lru_cache
from typing import TypeAlias

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

Client: TypeAlias = "redis.Redis"

SOCKET_TIMEOUT_SEC = 10.0
"""Above the longest XREADGROUP block by more than 5 s."""


def connect(url: str, timeout_sec: float = SOCKET_TIMEOUT_SEC) -> Client:
    """A client of the server at `url` (`redis://`, `rediss://` or `unix://`).

    Replies are text; bytes that are not UTF-8 arrive as surrogate escapes and leave as the same bytes. A server that
    says nothing for `timeout_sec` is away.
    """
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        encoding_errors="surrogateescape",
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=timeout_sec,
        socket_connect_timeout=min(5.0, timeout_sec),
        health_check_interval=0,
    )


@lru_cache
def shared(url: str) -> Client:
    """This process's client of `url`; its pool survives a fork."""
    return connect(url)


def unshaped(client: Client, *commands: str) -> Client:
    """A client on the connections of `client` that gives the replies of `commands` as the server sent them."""
    plain = redis.Redis(connection_pool=client.connection_pool)
    for command in commands:
        plain.set_response_callback(command, lambda reply, **_: reply)
    return plain
