"""What `round_trip_of_batches` relies on inside redis-py, beyond its documented interface.

If one of these fails after an update of redis-py, adapt `harvest_tasks/server/client.py` first: each fill is read,
loaded and committed through it.
"""

import inspect
from collections.abc import Iterator

import pytest
import redis as redis_py
from redis.connection import Connection
from redis.exceptions import ResponseError

from harvest_tasks.server.client import Client, CommandPacker, round_trip_of_batches

SEE = f"redis-py {redis_py.__version__}: see round_trip_of_batches in harvest_tasks/server/client.py: "


@pytest.fixture
def own(redis: Client) -> Iterator[Client]:
    """A client that keeps one connection, as a watcher's does."""
    with redis.client() as client:
        yield client


def test_a_client_of_a_pool_keeps_no_connection(redis: Client) -> None:
    assert hasattr(redis, "connection"), SEE + "`Redis.connection` is gone"
    assert redis.connection is None, SEE + "a client of a pool keeps a connection"


def test_a_client_with_its_own_connection_keeps_it_in_an_attribute_that_may_be_set(own: Client) -> None:
    kept = own.connection
    assert kept is not None, SEE + "`Redis.client()` does not keep its connection in `connection`"
    own.connection = None
    assert own.ping(), SEE + "a client whose `connection` is None does not fall back to its pool"
    own.connection = kept
    assert own.connection is kept


def test_a_pool_lends_a_connection_without_arguments_and_takes_it_back(redis: Client) -> None:
    pool = redis.connection_pool
    arguments = inspect.signature(pool.get_connection).parameters.values()
    required = [str(a) for a in arguments if a.default is a.empty and a.kind not in (a.VAR_POSITIONAL, a.VAR_KEYWORD)]
    assert not required, SEE + f"`ConnectionPool.get_connection` needs {required}"
    first = pool.get_connection()
    pool.release(first)
    second = pool.get_connection()
    pool.release(second)
    assert first is second, SEE + "a released connection is not used again"


@pytest.mark.parametrize("name", ["pack_commands", "send_packed_command", "read_response", "disconnect"])
def test_a_connection_sends_and_reads_by_methods_of_this_name(name: str) -> None:
    assert callable(getattr(Connection, name, None)), SEE + f"`Connection.{name}` is gone"


def test_a_connection_packs_commands_with_the_packer_that_the_client_was_given(redis: Client) -> None:
    connection = redis.connection_pool.get_connection()
    try:
        assert isinstance(connection._command_packer, CommandPacker), SEE + "`command_packer` is not used"
        packed = b"".join(connection.pack_commands([("PING",), ("ECHO", "a")]))
    finally:
        redis.connection_pool.release(connection)
    assert packed == b"*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$1\r\na\r\n", SEE + "commands are packed in another form"


def test_each_reply_is_read_by_one_call_and_an_error_reply_is_raised(redis: Client) -> None:
    connection = redis.connection_pool.get_connection()
    try:
        connection.send_packed_command(connection.pack_commands([("ECHO", "a"), ("NONSENSE",), ("ECHO", "b")]))
        assert connection.read_response() == "a", SEE + "`read_response` does not return one decoded reply"
        with pytest.raises(ResponseError):
            connection.read_response()
        assert connection.read_response() == "b", SEE + "an error reply is not followed by the next reply"
    finally:
        redis.connection_pool.release(connection)


def test_an_exchange_leaves_the_clients_own_connection_as_it_was(own: Client) -> None:
    kept = own.connection
    assert round_trip_of_batches(own, [[("ECHO", "a")], [("ECHO", "b")]]) == ["a", "b"]
    assert own.connection is kept
    assert own.ping()
