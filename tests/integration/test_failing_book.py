"""A book that cannot be brought up to date is reported once, until that changes."""

from time import monotonic

import pytest
from desk import Desk
from entries import BUY

from harvest_tasks.fills.brain import Brain
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client


def test_a_book_that_fails_at_each_look_has_one_line_and_another_when_it_fails_anew(
    redis: Client, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(redis)
    brain = Brain(redis, desk.settings)

    def failures(looks: int) -> int:
        caplog.clear()
        for _ in range(looks):
            brain.process(["BTCUSDT"], monotonic() + 30)
        return sum("book failed book=BTCUSDT" in message for message in caplog.messages)

    desk.feed(BUY)
    desk.route()
    redis.hset(keys.COUNTS, "applied", "no number")
    assert failures(3) == 1
    redis.hset(keys.COUNTS, "applied", "0")
    assert failures(1) == 0
    assert desk.position().holding.qty == 1
    desk.feed(BUY)
    desk.route()
    redis.hset(keys.COUNTS, "applied", "no number")
    assert failures(3) == 1
