"""What systemd is sent, and when a worker counts as consuming."""

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harvest_tasks.celery import app
from harvest_tasks.messaging.configuration import TIME_LIMIT_SEC
from harvest_tasks.messaging.systemd import ANSWER_WITHIN_SEC, SystemdWatchdog, is_consuming, notify_systemd


def listening(address: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(address)
    listener.settimeout(5.0)
    return listener


def channel(answered_at: float | None, *, slots_are_free: bool) -> Any:
    return SimpleNamespace(answered_at=answered_at, qos=SimpleNamespace(can_consume=lambda: slots_are_free))


@pytest.mark.parametrize("abstract", [False, True])
def test_what_is_said_arrives(abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{path}" if abstract else path)
    with listening(f"\0{path}" if abstract else path) as listener:
        notify_systemd("READY=1")
        assert listener.recv(100) == b"READY=1"


def test_nobody_listening_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify_systemd("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    notify_systemd("READY=1")


def test_a_listener_who_does_not_read_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with listening(str(tmp_path / "notify")):
        for _ in range(2_000):
            notify_systemd("WATCHDOG=1")


def test_a_worker_consumes_while_its_server_answers() -> None:
    assert not is_consuming(channel(None, slots_are_free=True), 100.0)
    assert is_consuming(channel(100.0, slots_are_free=True), 100.0 + ANSWER_WITHIN_SEC - 0.1)
    assert not is_consuming(channel(100.0, slots_are_free=True), 100.0 + ANSWER_WITHIN_SEC)


def test_a_worker_whose_slots_are_taken_consumes_for_as_long_as_a_task_may_take() -> None:
    longest = ANSWER_WITHIN_SEC + TIME_LIMIT_SEC
    assert is_consuming(channel(100.0, slots_are_free=False), 100.0 + longest - 0.1)
    assert not is_consuming(channel(100.0, slots_are_free=False), 100.0 + longest)


def test_only_a_worker_that_systemd_started_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SystemdWatchdog in app.steps["consumer"]
    consumer = SimpleNamespace(steps=[])
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not SystemdWatchdog(consumer).include(consumer)
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    assert SystemdWatchdog(consumer).include(consumer)
