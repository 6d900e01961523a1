"""A replica that takes over without the newest writes of its primary: what is done again, what is gone, and until when.

It takes over before those writes, instead of lagging behind them: so it lacks just these.
"""

from collections.abc import Iterator

import pytest
from desk import Desk, assert_all_accounted_for
from redis.exceptions import ResponseError
from waiting import wait_until

from harvest_tasks.processes.embedded_server import EmbeddedServer
from harvest_tasks.server import keys
from harvest_tasks.server.client import connect

OPENED = {
    "symbol": "BTCUSDT", "status": "FILLED", "side": "BUY", "qty": "1", "price": "100", "stop_loss": "90",
    "trade_id": "1",
}  # fmt: skip
OVER_A_RUNG = {**OPENED, "price": "106", "qty": "0.1", "trade_id": "2"}
CLOSED = {**OPENED, "side": "SELL", "trade_id": "4"}
REOPENED = {**OPENED, "trade_id": "5"}
LATER = {**OPENED, "price": "106", "qty": "0.25", "trade_id": "3"}


class Pair:
    """A primary that is lost, and the replica that takes over."""

    def __init__(self, primary: EmbeddedServer, replica: EmbeddedServer) -> None:
        self.primary = Desk(connect(primary.url()))
        self.replica = Desk(connect(replica.url()))
        port = primary.url().rpartition(":")[2].partition("/")[0]
        self.replica.client.replicaof("127.0.0.1", port)
        wait_until(
            lambda: self.replica.client.info("replication").get("master_link_status") == "up", 20.0, "it follows"
        )

    def take_over(self) -> None:
        """With all that was written until now."""
        assert self.primary.client.wait(1, 20_000) == 1
        self.replica.client.replicaof("NO", "ONE")


@pytest.fixture
def pair(server: EmbeddedServer) -> Iterator[Pair]:
    # Else a primary waits five seconds for more replicas to come.
    at_once = ("--repl-diskless-sync-delay", "0")
    with (
        EmbeddedServer(server.executable, options=at_once) as primary,
        EmbeddedServer(server.executable) as replica,
    ):
        yield Pair(primary, replica)


def test_a_commit_that_the_new_primary_lacks_is_made_again_under_the_same_intent_id(pair: Pair) -> None:
    pair.primary.run(OPENED)
    pair.primary.feed(OVER_A_RUNG)
    pair.take_over()
    pair.primary.run()
    (published, *_) = pair.primary.suggestions()
    assert pair.replica.suggestions() == []
    pair.replica.run()
    (again, *_) = pair.replica.suggestions()
    assert again["intent_id"] == published["intent_id"]
    assert (again["side"], again["qty"], again["rungs"]) == (published["side"], published["qty"], published["rungs"])
    assert pair.replica.position().holding == pair.primary.position().holding
    assert_all_accounted_for(pair.replica)


def test_a_fill_that_the_new_primary_lacks_is_gone_until_its_producer_repeats_it(pair: Pair) -> None:
    pair.primary.run(OPENED)
    pair.take_over()
    pair.primary.run(LATER)
    pair.replica.run()
    assert (pair.primary.position().holding.qty, pair.replica.position().holding.qty) == (1.25, 1)
    # No counter of the new primary can know of it.
    assert not pair.replica.client.exists(keys.LOST)
    assert_all_accounted_for(pair.replica)
    pair.replica.run(OPENED, LATER)
    assert pair.replica.position().holding == pair.primary.position().holding
    assert pair.replica.counts()["duplicate"] == 1


def test_after_lost_fills_an_intent_id_may_name_another_intent(pair: Pair) -> None:
    pair.primary.run(OPENED)
    pair.take_over()
    pair.primary.run(CLOSED, REOPENED, OVER_A_RUNG)
    # Here the next lifecycle has the number of the one that was lost.
    pair.replica.run(CLOSED, {**REOPENED, "qty": "2"}, OVER_A_RUNG)
    (lost, *_), (published, *_) = pair.primary.suggestions(), pair.replica.suggestions()
    assert published["intent_id"] == lost["intent_id"]
    assert published["qty"] != lost["qty"]


def test_a_primary_without_the_replica_that_it_must_have_writes_nothing(pair: Pair) -> None:
    pair.primary.run(OPENED)
    pair.primary.feed(OVER_A_RUNG)
    pair.primary.route()
    before = pair.primary.client.dump(keys.position("BTCUSDT"))
    pair.take_over()
    wait_until(lambda: pair.primary.client.info("replication")["connected_slaves"] == 0, 20.0, "it is alone")
    pair.primary.client.config_set("min-replicas-to-write", 1)
    with pytest.raises(ResponseError, match="NOREPLICAS"):
        pair.primary.process("BTCUSDT")
    assert pair.primary.client.dump(keys.position("BTCUSDT")) == before
    assert pair.primary.suggestions() == []
    pair.primary.client.config_set("min-replicas-to-write", 0)
    pair.primary.process()
    assert len(pair.primary.suggestions()) > 0
    assert_all_accounted_for(pair.primary)
