"""How Celery's connections really look once they are made, over TCP and over a unix socket."""

from collections.abc import Iterator

import pytest
from celery import Celery

from harvest_tasks.messaging.configuration import configuration
from harvest_tasks.processes.embedded_server import EmbeddedServer
from harvest_tasks.server.client import Client, connect
from harvest_tasks.settings.model import Settings


@pytest.fixture(params=["tcp", "unix"])
def settings(request: pytest.FixtureRequest, server: EmbeddedServer) -> Iterator[Settings]:
    if request.param == "tcp":
        yield Settings.from_env({"REDIS_URL": server.url(db=3)})
        return
    with EmbeddedServer(server.executable, unix=True) as unix:
        yield Settings.from_env({"REDIS_URL": unix.url(db=3)})


@pytest.fixture
def app(settings: Settings) -> Iterator[Celery]:
    celery_app = Celery("harvest_tasks", set_as_current=False)
    celery_app.conf.update(configuration(settings))
    yield celery_app
    celery_app.close()


@pytest.fixture
def data(settings: Settings) -> Iterator[Client]:
    client = connect(settings.redis_url)
    client.flushall()
    yield client
    client.close()


def test_neither_broker_nor_result_backend_repeats_a_command_by_itself(app: Celery) -> None:
    with app.connection_for_write() as broker:
        pools = (broker.default_channel.client.connection_pool, app.backend.client.connection_pool)
        for pool in pools:
            connection = pool.make_connection()
            assert connection.retry.get_retries() == 0
            assert not connection.retry_on_timeout
            assert connection.socket_timeout == 10
            assert connection.health_check_interval == 10


def test_messages_and_results_lie_beside_the_data_and_not_among_them(app: Celery, data: Client) -> None:
    app.send_task("harvest_tasks.health.heartbeat")
    app.backend.store_result("some-task", {"harvest_action": "NONE"}, "SUCCESS")
    assert app.AsyncResult("some-task").get(timeout=5) == {"harvest_action": "NONE"}
    assert data.dbsize() == 0
    assert {name for name, keyspace in data.info("keyspace").items() if keyspace["keys"]} == {"db4"}


def test_a_result_goes_by_itself(app: Celery, data: Client) -> None:
    app.backend.store_result("some-task", 1, "SUCCESS")
    lifetime = app.backend.client.ttl(app.backend.get_key_for_task("some-task"))
    assert 0 < lifetime <= 300


def test_a_message_goes_to_its_queue_alone(app: Celery, data: Client) -> None:
    app.send_task("harvest_tasks.brain.process_fills", ([],))
    with app.connection_for_read() as broker:
        waiting = {name: broker.default_channel.queue_declare(queue=name).message_count for name in app.amqp.queues}
    assert waiting == {"proposals": 0, "adhoc": 0, "fills": 1, "watch": 0, "control": 0}
