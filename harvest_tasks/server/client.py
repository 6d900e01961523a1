"""The one place that makes Redis clients.

redis-py retries commands silently by default; after a lost reply that runs a write twice. Nothing here retries: the
next wake-up, beat or sweep repeats the work.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from time import sleep
from typing import Any, Final, Generic, TypeAlias, TypeVar

import hiredis
import redis
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry

Client: TypeAlias = "redis.Redis"
Command: TypeAlias = Sequence[str | int]
_Parsed = TypeVar("_Parsed")

PIECE: Final = 100
PAUSE_SEC: Final = 0.002
MOST_PAUSES: Final = 50

SOCKET_TIMEOUT_SEC = 10.0
"""Above the longest XREADGROUP block by more than 5 s."""


@dataclass(frozen=True, slots=True)
class PipelinedRead(Generic[_Parsed]):
    """Commands that may share a round trip with others; `parse` makes a value of their replies, or raises an error."""

    commands: Sequence[Command]
    parse: Callable[[Sequence[Any]], _Parsed]


def connect(url: str, timeout_sec: float = SOCKET_TIMEOUT_SEC) -> Client:
    """A client of the server at `url` (`redis://`, `rediss://` or `unix://`).

    Replies are text; bytes that are not UTF-8 arrive as surrogate escapes and leave as the same bytes. A server that
    does not reply for `timeout_sec` counts as away.
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
        command_packer=Packer(),
    )


def exchange(client: Client, commands: Sequence[Command]) -> list[Any]:
    """The server's raw replies to `commands`, in one round trip; an error is a reply like any other.

    A pipeline of redis-py does the same and more at several times the cost, which dominated a pass over many books.
    Raises redis-py's ConnectionError or TimeoutError.
    """
    return exchange_as_made(client, [commands]) if commands else []


def exchange_gently(client: Client, commands: Sequence[Command]) -> list[Any]:
    """`exchange` of many commands in pieces, with pauses, so that fills do not wait for the server or the processor.

    Pauses for a tenth of a second at most, in total.
    """
    size = max(PIECE, ceil(len(commands) / (MOST_PAUSES + 1)))
    replies: list[Any] = []
    for start in range(0, len(commands), size):
        if start:
            sleep(PAUSE_SEC)
        replies += exchange(client, commands[start : start + size])
    return replies


def exchange_as_made(client: Client, batches: Iterable[Sequence[Command]]) -> list[Any]:
    """`exchange` of all commands in `batches`, each batch sent as soon as it is made: the server works on it while the
    next one is made. Reads the replies once, at the end.
    """
    # A caller that exchanges something while a batch is made must not use the client's own connection half way.
    pool, own, client.connection = client.connection_pool, client.connection, None
    connection, sent = own or pool.get_connection(), 0
    replies: list[Any] = []
    try:
        for commands in batches:
            sent += len(commands)
            connection.send_packed_command(connection.pack_commands(commands))
        while len(replies) < sent:
            replies.append(_reply(connection))
        return replies
    finally:
        if len(replies) < sent:
            # The next user of the connection would take the replies that are still to come for its own.
            connection.disconnect()
        if own:
            client.connection = own
        else:
            pool.release(connection)


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error


def checked(reply: Any) -> Any:
    """`reply`, unless it is an error: that is raised."""
    if isinstance(reply, Exception):
        raise reply
    return reply


def unless_wrong_type(reply: Any) -> Any:
    """`reply`; None for the error of a key of another type. Raises any other error."""
    return None if is_wrong_type(reply) else checked(reply)


def is_wrong_type(reply: Any) -> bool:
    """Whether `reply` is the error of a key of another type."""
    return isinstance(reply, ResponseError) and str(reply).startswith("WRONGTYPE")


def mapping(flat: Sequence[str]) -> dict[str, str]:
    """A reply of names and values in turn, as a dict."""
    each = iter(flat)
    return dict(zip(each, each, strict=True))


class Packer:
    """Packs commands whose arguments are text, bytes or numbers, as all of Harvest's are: redis-py checks each one."""

    def pack(self, *args: Any) -> list[bytes]:
        name, *rest = args
        # redis-py passes a command and its subcommand as one text.
        words = (*name.split(" "), *rest) if isinstance(name, str) and " " in name else args
        try:
            return [hiredis.pack_command(words)]
        except UnicodeEncodeError:
            return [hiredis.pack_command(tuple(map(_as_it_came, words)))]


def _as_it_came(word: Any) -> Any:
    return word.encode("utf-8", "surrogateescape") if isinstance(word, str) else word


@lru_cache
def shared(url: str) -> Client:
    """This process's client of `url`; its pool survives a fork."""
    return connect(url)
