"""Our beat on a real server: what it leaves there, and what it does when nobody answers."""

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from celery.beat import ScheduleEntry

from harvest_tasks.messaging.configuration import configuration
from harvest_tasks.messaging.scheduler import MOST_WAITING, BoundedScheduler
from harvest_tasks.messaging.systemd import AT_WORK
from harvest_tasks.processes.embedded_server import EmbeddedServer
from harvest_tasks.settings.model import Settings


@pytest.fixture
def own_server(server: EmbeddedServer) -> Iterator[EmbeddedServer]:
    """One that a test may kill."""
    with EmbeddedServer(server.executable) as running:
        yield running


@pytest.fixture
def app(own_server: EmbeddedServer) -> Iterator[Celery]:
    celery_app = Celery("harvest_tasks", set_as_current=False)
    celery_app.conf.update(configuration(Settings.from_env({"REDIS_URL": own_server.url()})))
    yield celery_app
    celery_app.close()


@pytest.fixture
def beat(app: Celery) -> Iterator[BoundedScheduler]:
    scheduler = BoundedScheduler(app)
    yield scheduler
    scheduler.close()


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Receives what is sent to systemd; never waits."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listener


def heard(systemd: socket.socket) -> list[str]:
    """What was said since one asked before."""
    said = []
    try:
        while True:
            said.append(systemd.recv(4096).decode())
    except BlockingIOError:
        return said


def send(beat: BoundedScheduler, name: str = "watch_fills") -> None:
    entry: ScheduleEntry = beat.schedule[name]
    beat.apply_entry(entry, producer=beat.producer)


def waiting(app: Celery, queue: str) -> int:
    with app.connection_for_read() as broker:
        return int(broker.default_channel.queue_declare(queue=queue).message_count)


def test_a_message_arrives_with_its_expiry_and_wants_no_result(app: Celery, beat: BoundedScheduler) -> None:
    send(beat, "heartbeat")
    with app.connection_for_read() as broker:
        message = broker.default_channel.basic_get("control", no_ack=True)
    assert message.headers["task"] == "harvest_tasks.health.heartbeat"
    assert message.headers["expires"]
    assert message.headers["ignore_result"] is True


def test_beat_stops_sending_where_no_worker_consumes_and_resumes_when_one_does(
    app: Celery, beat: BoundedScheduler, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(MOST_WAITING + 20):
        send(beat)
    send(beat, "heartbeat")
    assert waiting(app, "watch") == MOST_WAITING
    assert waiting(app, "control") == 1
    with app.connection_for_read() as broker:
        broker.default_channel.queue_purge("watch")
    send(beat)
    assert waiting(app, "watch") == 1
    assert _logged(caplog) == [
        ("ERROR", f"queue watch: {MOST_WAITING} messages wait; beat sends no more until a worker consumes it"),
        ("WARNING", "queue watch: beat sends again"),
    ]


def test_beat_outlives_its_broker_and_says_one_line_a_queue(
    app: Celery, beat: BoundedScheduler, own_server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    send(beat)
    own_server.kill()
    for _ in range(3):
        send(beat)
    own_server.start()
    before = waiting(app, "watch")
    send(beat)
    assert waiting(app, "watch") == before + 1
    assert [level for level, _ in _logged(caplog)] == ["ERROR", "WARNING"]


def test_beat_is_at_work_while_its_messages_arrive(
    beat: BoundedScheduler, own_server: EmbeddedServer, systemd: socket.socket
) -> None:
    send(beat)
    assert heard(systemd) == [AT_WORK]
    own_server.kill()
    send(beat)
    assert heard(systemd) == []
    own_server.start()
    send(beat)
    assert heard(systemd) == [AT_WORK]


def test_beat_is_at_work_although_no_worker_takes_its_messages(beat: BoundedScheduler, systemd: socket.socket) -> None:
    for _ in range(MOST_WAITING):
        send(beat)
    heard(systemd)
    send(beat)
    assert heard(systemd) == [AT_WORK]


def _logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [
        (record.levelname, record.getMessage())
        for record in caplog.records
        if record.name == "harvest_tasks.messaging.scheduler" and record.levelno >= logging.WARNING
    ]
