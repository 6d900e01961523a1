"""The settings and the server of a measurement."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from harvest_tasks.processes.embedded_server import EmbeddedServer, wheel_executable
from harvest_tasks.settings.model import Settings

# A backlog is hours of trading in seconds: with normal limits, every run would only measure refusals.
ENVIRON: Final = {"HARVEST_MAX_ACTIONS_PER_MIN": "10000", "HARVEST_REQUIRE_FRESH_SNAPSHOT_SEC": "3600"}


def settings(url: str, **more: str) -> Settings:
    return Settings.from_env({"REDIS_URL": url, **ENVIRON, **more})


@contextmanager
def server(fsync: str = "everysec") -> Iterator[str]:
    """The URL of a fresh server that writes its log with `appendfsync` = `fsync`."""
    with EmbeddedServer(wheel_executable(), options=("--appendfsync", fsync)) as running:
        yield running.url()
