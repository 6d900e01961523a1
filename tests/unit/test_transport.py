"""The broker's transport: which addresses use it, and how a closed channel of it fails without its server."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from celery import Celery
from kombu.connection import Connection
from redis.exceptions import ConnectionError as ConnectionLost

from harvest_tasks.messaging import transport
from harvest_tasks.messaging.configuration import configuration
from harvest_tasks.messaging.transport import Channel, Transport
from harvest_tasks.settings.model import Settings

NOBODY = "redis://127.0.0.1:1/0"
MESSAGE = {"body": "[]", "headers": {}, "properties": {"delivery_info": {}}}


class ThoughtThere(redis.Redis):
    """A client that takes its server for running until it is asked for more than an answer."""

    def ping(self, **_: Any) -> bool:
        return True


class OrphanedChannel(Channel):
    def _get_client(self) -> type[ThoughtThere]:
        return ThoughtThere


class OrphanedTransport(Transport):
    Channel = OrphanedChannel


@pytest.fixture
def connection() -> Iterator[Connection]:
    opened = Connection(NOBODY, transport=OrphanedTransport)
    yield opened
    opened.close()


@pytest.fixture
def channel(connection: Connection) -> Channel:
    opened = connection.default_channel
    assert isinstance(opened, Channel)
    opened.exchange_declare("harvest", "direct")
    return opened


def _close(channel: Channel, connection: Connection) -> None:
    channel.close()


def _lose_the_connection(channel: Channel, connection: Connection) -> None:
    """What is left when closing the channel failed halfway, and then its connection was given up."""
    channel._disconnect_pools()
    channel.connection.client = None


each_end = pytest.mark.parametrize("end", [_close, _lose_the_connection])

USES: dict[str, Callable[[Channel], Any]] = {
    "acknowledging": lambda channel: channel.basic_ack("some-tag"),
    "giving back": lambda channel: channel.basic_reject("some-tag", requeue=True),
    "counting": lambda channel: channel.queue_declare("fills"),
    "publishing": lambda channel: channel.basic_publish(dict(MESSAGE), "harvest", "fills"),
}


@each_end
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_channel_that_is_gone_fails_as_a_lost_connection(
    use: Callable[[Channel], Any],
    end: Callable[[Channel, Connection], None],
    channel: Channel,
    connection: Connection,
) -> None:
    end(channel, connection)
    with pytest.raises(ConnectionLost) as failed:
        use(channel)
    assert isinstance(failed.value, connection.recoverable_connection_errors)


def test_a_closed_channel_knows_what_was_declared(channel: Channel) -> None:
    declared = channel.connection.state
    channel.close()
    assert channel.state is declared
    assert channel.typeof("harvest").type == "direct"


def test_an_open_channel_keeps_its_connections_and_a_closed_one_none(channel: Channel) -> None:
    assert channel.pool is channel.pool
    channel.close()
    assert channel.pool is not channel.pool
    assert channel.pool.connection_kwargs["port"] == 1


def test_only_a_worker_gives_back_what_dead_ones_left(channel: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    channel.qos.restore_visible()
    monkeypatch.setattr(transport, "_is_worker", True)
    with pytest.raises(ConnectionLost):
        channel.qos.restore_visible()


ADDRESSES = {
    "redis://localhost:1/0": "redis://localhost:1/1",
    "rediss://localhost:1/0": "rediss://localhost:1/1",
    "unix:///run/redis.sock?db=0": "redis+socket:///run/redis.sock?virtual_host=1",
}


@pytest.mark.parametrize(("data", "shown"), ADDRESSES.items(), ids=ADDRESSES)
def test_every_kind_of_address_uses_it_and_is_shown_as_itself(data: str, shown: str) -> None:
    app = Celery("harvest_tasks", set_as_current=False)
    app.conf.update(configuration(Settings.from_env({"REDIS_URL": data})))
    for opened in (app.connection_for_read(), app.connection_for_write()):
        assert isinstance(opened.transport, Transport)
        assert opened.as_uri(include_password=True).replace(":@", "") == shown
