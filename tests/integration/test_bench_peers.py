"""Every peer does the work that ours does: from the same backlog, the same positions and the same intents.

Without that a comparison of speeds would compare different things.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from bench import desk, nautilus, ours, proposals, traffic
from bench.feed import Feed
from bench.fills import TaskEach
from bench.fold import entries as fold_entries
from bench.fold import one_position, seconds
from bench.peers import sequential_publisher
from bench.peers.bare_loop import BareLoop
from harvest_tasks.proposing.cycle import run_cycle
from harvest_tasks.server import keys
from harvest_tasks.server.client import connect
from harvest_tasks.server.clock import server_sec
from harvest_tasks.settings.model import Settings

ENTRIES = 1_500
BOOKS = 15
OURS_ALONE = ("version", "trades_generation")
"""Fields of the position hash that belong to the ledger."""

Outcome = tuple[dict[str, dict[str, str]], list[dict[str, Any]]]


def outcome(client: Any, settings: Settings) -> Outcome:
    """Positions by book, and intents in an order of their own: ours publishes book by book."""
    positions = {}
    for key in client.scan_iter(keys.position("*")):
        fields = client.hgetall(key)
        positions[key] = {name: value for name, value in fields.items() if name not in OURS_ALONE}
    published = [json.loads(v["payload"]) for _, v in client.xrange(settings.stream_harvest_suggestions)]
    return positions, sorted(published, key=lambda intent: intent["intent_id"])


def backlog(url: str) -> tuple[Feed, Settings]:
    settings = desk.settings(url)
    return Feed(url, settings.stream_execution_result).fill(traffic.main(ENTRIES, BOOKS)), settings


def after(feed: Feed, settings: Settings, work: Callable[[], object]) -> Outcome:
    feed.restore()
    work()
    return outcome(feed.client, settings)


@pytest.fixture
def expected(url: str) -> tuple[Feed, Settings, Outcome]:
    feed, settings = backlog(url)
    found = after(feed, settings, lambda: ours.in_one_process(settings, ENTRIES))
    assert len(found[0]) == BOOKS
    assert len(found[1]) > 10
    return feed, settings, found


def test_two_processes_do_what_one_does(expected: tuple[Feed, Settings, Outcome]) -> None:
    feed, settings, found = expected
    assert after(feed, settings, lambda: ours.TwoProcesses(settings, ENTRIES).run()) == found


def test_the_bare_loop_does_the_same_work(expected: tuple[Feed, Settings, Outcome]) -> None:
    feed, settings, found = expected
    assert after(feed, settings, lambda: BareLoop(settings).run(ENTRIES)) == found
    assert feed.client.xpending(settings.stream_execution_result, "bare_loop")["pending"] == 0


def test_faststream_does_the_same_work(expected: tuple[Feed, Settings, Outcome]) -> None:
    pytest.importorskip("faststream")
    from bench.peers.faststream_consumer import Consumer

    feed, settings, found = expected
    assert after(feed, settings, lambda: Consumer(settings).run(ENTRIES)) == found
    assert feed.client.xpending(settings.stream_execution_result, "bare_loop")["pending"] == 0


def test_one_task_for_each_entry_does_the_same_work(url: str) -> None:
    few = list(traffic.main(200, 5))
    with TaskEach(url, few).running() as peer:
        found = outcome(peer.feed.client, peer.settings)
        assert after(peer.feed, peer.settings, lambda: ours.in_one_process(peer.settings, len(few))) == found
    assert found[0]


def test_the_sequential_publisher_publishes_the_same(url: str) -> None:
    client, settings = connect(url), desk.settings(url)
    proposals.publish_markets(client, settings, 20)
    names = proposals.symbols(20)
    run_cycle(client, settings, names, server_sec(client))
    found = published(client, settings)
    client.delete(*(settings.harvest_prefix + name for name in names))
    assert sequential_publisher.publish(client, settings, names) == 20
    assert published(client, settings) == found
    assert len(found) == 20


def published(client: Any, settings: Settings) -> dict[str, dict[str, str]]:
    """Every proposal, without when it was made."""
    made = {key: client.hgetall(key) for key in client.scan_iter(f"{settings.harvest_prefix}*")}
    timely = ("computed_at_utc", "last_update_epoch")
    return {key: {n: v for n, v in fields.items() if n not in timely} for key, fields in made.items()}


def test_nautilus_folds_to_the_same_position() -> None:
    if not (nautilus.PLACE / ".installed").exists():
        pytest.skip("make bench builds the environment of NautilusTrader")
    rows = one_position(500)
    theirs = nautilus.fold(rows, 1)
    _, position = seconds(fold_entries(rows))
    assert float(position.holding.qty) == pytest.approx(theirs["qty"])
    assert float(position.holding.avg_entry) == pytest.approx(theirs["avg"])
    assert float(position.holding.net_pnl) == pytest.approx(theirs["realized"], rel=1e-4)
