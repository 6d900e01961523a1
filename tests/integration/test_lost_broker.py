"""What Celery does on channels whose server was killed: close them, acknowledge on them late, go on publishing."""

import gc
import logging
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from celery import Celery
from kombu.connection import Connection
from kombu.exceptions import OperationalError
from kombu.message import Message
from waiting import wait_until

from harvest_tasks.messaging.configuration import configuration
from harvest_tasks.messaging.scheduler import BoundedScheduler
from harvest_tasks.processes.embedded_server import EmbeddedServer
from harvest_tasks.server.client import Client, connect
from harvest_tasks.settings.model import Settings

HEARTBEAT = "harvest_tasks.health.heartbeat"
QUIETLY = {"ignore_result": True}
"""The result backend has its own way to fail without a server."""


@pytest.fixture(params=["tcp", "unix"])
def own_server(request: pytest.FixtureRequest, server: EmbeddedServer) -> Iterator[EmbeddedServer]:
    """One that a test may kill; what it answered to is on its disk."""
    durable = ("--appendfsync", "always")
    with EmbeddedServer(server.executable, unix=request.param == "unix", options=durable) as running:
        yield running


@pytest.fixture
def app(own_server: EmbeddedServer) -> Iterator[Celery]:
    celery_app = Celery("harvest_tasks", set_as_current=False)
    celery_app.conf.update(configuration(Settings.from_env({"REDIS_URL": own_server.url()})))
    yield celery_app
    celery_app.close()


@pytest.fixture
def messages(own_server: EmbeddedServer) -> Iterator[Client]:
    """The broker's database, seen from outside."""
    client = connect(own_server.url(db=1))
    yield client
    client.close()


@pytest.fixture
def broker(app: Celery) -> Iterator[Connection]:
    """A worker's connection: a channel for tasks, then one for remote control."""
    with app.connection_for_read() as opened:
        assert opened.default_channel
        app.control.mailbox.Node("a worker", channel=opened.channel()).listen()
        yield opened


@pytest.fixture
def received(app: Celery, broker: Connection) -> Message:
    """A message that `broker` delivered, not acknowledged; another one is asked for."""
    app.send_task(HEARTBEAT, **QUIETLY)
    got: list[Any] = []
    consumer = app.amqp.TaskConsumer(broker, on_message=got.append, queues=[app.amqp.queues["control"]])
    consumer.consume()
    wait_until(lambda: _drained(broker) and got, 5.0, "the message is delivered")
    (message,) = got
    assert isinstance(message, Message)
    return message


def _drained(broker: Connection) -> bool:
    """Once nothing comes any more, and the next message is asked for."""
    with suppress(TimeoutError):
        while True:
            broker.drain_events(timeout=0.05)
    return True


def give_up(broker: Connection) -> None:
    """As a worker does with a connection that it lost."""
    broker.collect()
    broker.close()


def test_a_worker_closes_its_connection_twice_when_the_server_is_gone(
    own_server: EmbeddedServer, broker: Connection, received: Message
) -> None:
    own_server.kill()
    give_up(broker)


def test_an_acknowledgement_without_a_server_is_an_error_that_workers_expect(
    own_server: EmbeddedServer, broker: Connection, received: Message, caplog: pytest.LogCaptureFixture
) -> None:
    own_server.kill()
    give_up(broker)
    received.ack_log_error(logging.getLogger("a worker"), broker.connection_errors)
    assert [record.levelname for record in caplog.records if record.name == "a worker"] == ["CRITICAL"]


def test_an_acknowledgement_that_finds_the_server_again_counts_and_leaves_no_connection(
    own_server: EmbeddedServer, broker: Connection, received: Message, messages: Client
) -> None:
    own_server.kill()
    give_up(broker)
    own_server.start()
    assert messages.hlen("unacked") == 1
    received.ack()
    assert messages.hlen("unacked") == messages.zcard("unacked_index") == 0
    gc.collect()
    wait_until(lambda: len(messages.client_list()) == 1, 5.0, "only this client is left")


def test_a_message_given_back_on_a_closed_channel_is_in_its_queue_again(
    own_server: EmbeddedServer, broker: Connection, received: Message, messages: Client
) -> None:
    own_server.kill()
    give_up(broker)
    own_server.start()
    received.requeue()
    assert messages.llen("control") == 1
    assert messages.hlen("unacked") == 0


def test_a_producer_that_lost_its_server_publishes_again_when_it_is_back(
    app: Celery, own_server: EmbeddedServer, messages: Client
) -> None:
    with app.producer_pool.acquire() as producer:
        app.send_task(HEARTBEAT, producer=producer, **QUIETLY)
        own_server.kill()
        with pytest.raises(OperationalError):
            app.send_task(HEARTBEAT, producer=producer, **QUIETLY)
        own_server.start()
        app.send_task(HEARTBEAT, producer=producer, **QUIETLY)
    app.send_task(HEARTBEAT, **QUIETLY)
    assert messages.llen("control") == 3


def test_beat_sends_again_after_a_publish_that_lost_the_server(
    app: Celery, own_server: EmbeddedServer, messages: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks at a queue, then publishes: a server that goes in between closes the channel it looks through."""
    beat = BoundedScheduler(app)
    entry = beat.schedule["heartbeat"]
    with monkeypatch.context() as between:
        publish = beat.apply_async
        between.setattr(beat, "apply_async", lambda *args, **kwargs: (own_server.kill(), publish(*args, **kwargs)))
        beat.apply_entry(entry, producer=beat.producer)
    beat.apply_entry(entry, producer=beat.producer)
    own_server.start()
    for _ in range(2):
        beat.apply_entry(entry, producer=beat.producer)
    assert messages.llen("control") == 2
    beat.close()
