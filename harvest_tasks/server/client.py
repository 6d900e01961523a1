"""Redis clients, and round trips of many commands. No other module makes a client.

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

COMMANDS_PER_PIECE: Final = 100
"""Fewest commands that `paced_round_trips` sends at once."""
PAUSE_SEC: Final = 0.002
MOST_PAUSES: Final = 50

SOCKET_TIMEOUT_SEC = 10.0
"""Above the longest XREADGROUP block by more than 5 s."""


@dataclass(frozen=True, slots=True)
class PipelinedRead(Generic[_Parsed]):
    """Commands that may share a round trip with others; `parse` turns their replies into a value, or raises."""

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
        command_packer=CommandPacker(),
    )


def round_trip(client: Client, commands: Sequence[Command]) -> list[Any]:
    """The server's raw replies to `commands`, in one round trip; an error is a reply like any other.

    A pipeline of redis-py does the same and more at several times the cost, which dominated a pass over many books.
    Raises redis-py's ConnectionError or TimeoutError.
    """
    return round_trip_of_batches(client, [commands]) if commands else []


def paced_round_trips(client: Client, commands: Sequence[Command]) -> list[Any]:
    """The server's raw replies to `commands`, which are sent in pieces with pauses between them, so that fills need not
    wait for the server or the processor.

    The pauses add up to a tenth of a second at most. Raises redis-py's ConnectionError or TimeoutError.
    """
    size = max(COMMANDS_PER_PIECE, ceil(len(commands) / (MOST_PAUSES + 1)))
    replies: list[Any] = []
    for start in range(0, len(commands), size):
        if start:
            sleep(PAUSE_SEC)
        replies += round_trip(client, commands[start : start + size])
    return replies


def round_trip_of_batches(client: Client, batches: Iterable[Sequence[Command]]) -> list[Any]:
    """The server's raw replies to the commands of all `batches`, in one round trip.

    Each batch is sent as soon as it is made, so the server works on it while the next one is made. The replies are read
    once, at the end. Raises redis-py's ConnectionError or TimeoutError.
    """
    # If making a batch uses the client, too, that needs another connection: this one has replies to come.
    pool, own, client.connection = client.connection_pool, client.connection, None
    connection, sent = own or pool.get_connection(), 0
    replies: list[Any] = []
    try:
        for commands in batches:
            sent += len(commands)
            connection.send_packed_command(connection.pack_commands(commands))
        while len(replies) < sent:
            replies.append(_reply_or_error(connection))
        return replies
    finally:
        if len(replies) < sent:
            # The next user of the connection would take the outstanding replies for its own.
            connection.disconnect()
        if own:
            client.connection = own
        else:
            pool.release(connection)


def _reply_or_error(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error


def checked(reply: Any) -> Any:
    """`reply`; raises it if it is an error."""
    if isinstance(reply, Exception):
        raise reply
    return reply


def unless_wrong_type(reply: Any) -> Any:
    """`reply`, or None if it is the error that the key has another type. Raises any other error."""
    return None if is_wrong_type(reply) else checked(reply)


def is_wrong_type(reply: Any) -> bool:
    """Whether `reply` is the error that the key has another type."""
    return isinstance(reply, ResponseError) and str(reply).startswith("WRONGTYPE")


def pairs_to_dict(flat: Sequence[str]) -> dict[str, str]:
    """A reply of alternating names and values, as a dict."""
    each = iter(flat)
    return dict(zip(each, each, strict=True))


class CommandPacker:
    """Packs commands whose arguments are text, bytes or numbers, as all of Harvest's are.

    It is faster than redis-py's own, which checks the type of each argument.
    """

    def pack(self, *args: Any) -> list[bytes]:
        name, *rest = args
        # redis-py passes a command and its subcommand as one string.
        words = (*name.split(" "), *rest) if isinstance(name, str) and " " in name else args
        try:
            return [hiredis.pack_command(words)]
        except UnicodeEncodeError:
            return [hiredis.pack_command(tuple(map(_as_bytes, words)))]


def _as_bytes(word: Any) -> Any:
    return word.encode("utf-8", "surrogateescape") if isinstance(word, str) else word


@lru_cache
def shared_client(url: str) -> Client:
    """The client of `url` that this process shares; its pool survives a fork."""
    return connect(url)
