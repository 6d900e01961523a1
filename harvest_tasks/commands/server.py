"""The settings and the server of one command."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from harvest_tasks.server.client import Client, connect
from harvest_tasks.settings.model import Settings


@contextmanager
def reached() -> Iterator[tuple[Settings, Client]]:
    """The settings, and a client that is closed in the end. Raises `SettingsError`."""
    settings = Settings.from_env(os.environ)
    client = connect(settings.redis_url)
    try:
        yield settings, client
    finally:
        client.close()
