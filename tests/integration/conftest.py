"""A desk at the emptied server, in shadow mode or live. Some modules start with another of their own."""

import pytest
from desk import LIVE, Desk

from harvest_tasks.server.client import Client


@pytest.fixture
def desk(redis: Client) -> Desk:
    return Desk(redis)


@pytest.fixture
def live(redis: Client) -> Desk:
    return Desk(redis, **LIVE)
