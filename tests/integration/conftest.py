"""A desk at the emptied server, in shadow mode or live, and its command line. Some modules have others of their own."""

import pytest
from command_line import Harvest, in_process
from desk import LIVE, Desk

from harvest_tasks.server.client import Client


@pytest.fixture
def desk(redis: Client) -> Desk:
    return Desk(redis)


@pytest.fixture
def live(redis: Client) -> Desk:
    return Desk(redis, **LIVE)


@pytest.fixture
def harvest(environ: dict[str, str]) -> Harvest:
    """Runs the command line in this process."""
    return in_process(environ)
