"""What the measurement of the ceiling rests on: how much is applied at once, and that all of it is."""

import pytest

from bench import ceiling, desk, ours, traffic
from bench.feed import Feed
from harvest_tasks.server import keys

BOOKS = 4


@pytest.mark.parametrize(("entries", "per_batch", "per_backlog"), [(40, 10, 10), (1_000, 125, 250)])
def test_a_batch_is_what_is_read_at_once_and_a_backlog_all_there_is(
    entries: int, per_batch: float, per_backlog: float
) -> None:
    batch, backlog = ceiling.costs(BOOKS, entries)
    assert (batch.entries_per_commit, backlog.entries_per_commit) == (per_batch, per_backlog)
    assert batch.server > 0
    assert (batch.feed_server, batch.route_server) == (backlog.feed_server, backlog.route_server)


def test_several_workers_apply_everything_once(url: str) -> None:
    settings = desk.settings(url)
    feed = Feed(url, settings.stream_execution_result).fill(traffic.main(200, BOOKS), keep=False)
    ours.SeveralWorkers(settings, 2).run(200)
    assert feed.client.hgetall(keys.COUNTS).items() >= {"in": "200", "applied": "200"}.items()
