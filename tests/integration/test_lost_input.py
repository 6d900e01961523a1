"""Input that can no longer be read freezes what it may concern, says why, and there is a way back."""

import pytest
from desk import Desk, assert_all_accounted_for
from entries import BUY, price

from harvest_tasks.fills import inbox
from harvest_tasks.fills.watcher import watch
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client


@pytest.fixture
def desk(redis: Client) -> Desk:
    """One long of 1 from 100, applied."""
    desk = Desk(redis)
    desk.run(BUY)
    return desk


def is_frozen(desk: Desk, book: str = "BTCUSDT") -> bool:
    desk.process()
    return desk.position(book).frozen.startswith("lost_input")


def come_back(desk: Desk) -> None:
    """As `harvest release --all`."""
    inbox.release_all(desk.client, desk.server_ms())
    desk.run(price("105.5"))
    assert desk.position().frozen == ""
    assert desk.suggestions() != []
    assert_all_accounted_for(desk)


@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "middle", "last"])
def test_an_entry_deleted_before_it_was_read_freezes_every_book(desk: Desk, place: int) -> None:
    ids = desk.feed(BUY, BUY, BUY)
    desk.client.xdel(desk.source, ids[place])
    desk.route()
    assert is_frozen(desk)
    assert desk.position().holding.qty == 3
    assert desk.client.hget(keys.LOST, "entries") == "1"
    come_back(desk)


def test_a_deletion_is_reported_once(desk: Desk) -> None:
    ids = desk.feed(BUY, BUY)
    desk.client.xdel(desk.source, ids[1])
    desk.route()
    inbox.release_all(desk.client, desk.server_ms())
    desk.run(BUY)
    assert not is_frozen(desk)
    assert not desk.client.exists(keys.LOST)


def test_an_entry_deleted_after_it_was_moved_is_no_loss(desk: Desk) -> None:
    ids = desk.feed(BUY, BUY)
    desk.route()
    desk.client.xdel(desk.source, *ids)
    desk.run(BUY)
    assert not is_frozen(desk)
    assert desk.position().holding.qty == 4


@pytest.mark.parametrize("removal", ["xdel", "xtrim"])
def test_an_entry_that_went_while_it_was_pending_freezes_every_book(desk: Desk, removal: str) -> None:
    ids = desk.feed(BUY, BUY)
    desk.client.xreadgroup(keys.GROUP, "a watcher that died", {desk.source: ">"})
    if removal == "xdel":
        desk.client.xdel(desk.source, ids[0])
    else:
        desk.client.xtrim(desk.source, minid=ids[1], approximate=False)
    desk.route()
    assert is_frozen(desk)
    assert desk.position().holding.qty == 2
    come_back(desk)


def test_a_destroyed_group_goes_on_where_it_was(desk: Desk) -> None:
    desk.feed(BUY)
    desk.client.xgroup_destroy(desk.source, keys.GROUP)
    desk.route()
    desk.process()
    assert desk.position().holding.qty == 2
    assert desk.position().frozen == ""
    assert desk.counts().get("duplicate", 0) == 0
    assert_all_accounted_for(desk)


def test_what_was_pending_in_a_destroyed_group_is_read_again(desk: Desk) -> None:
    desk.feed(BUY)
    desk.client.xreadgroup(keys.GROUP, "a watcher that died", {desk.source: ">"})
    desk.client.xgroup_destroy(desk.source, keys.GROUP)
    desk.route()
    desk.process()
    assert desk.position().holding.qty == 2


def test_a_group_destroyed_over_a_trimmed_stream_freezes_every_book(desk: Desk) -> None:
    desk.feed(BUY, BUY, BUY)
    desk.client.xgroup_destroy(desk.source, keys.GROUP)
    desk.client.xtrim(desk.source, maxlen=1, approximate=False)
    desk.route()
    assert is_frozen(desk)
    assert desk.client.hget(keys.LOST, "entries") == "2"
    come_back(desk)


def test_a_group_destroyed_over_a_stream_trimmed_of_what_was_moved_is_no_loss(desk: Desk) -> None:
    desk.client.xgroup_destroy(desk.source, keys.GROUP)
    desk.client.xtrim(desk.source, maxlen=0, approximate=False)
    desk.run(BUY)
    assert not is_frozen(desk)
    assert desk.position().holding.qty == 2


@pytest.mark.parametrize("successors", [0, 1, 5])
def test_a_deleted_stream_freezes_every_book_and_its_successor_is_read(desk: Desk, successors: int) -> None:
    desk.run(BUY, BUY)
    desk.client.delete(desk.source)
    desk.feed(*[BUY] * successors)
    watch(desk.client, desk.settings, 0.05, lambda _: None)
    assert is_frozen(desk)
    assert desk.client.hget(keys.LOST, "why") == "the input stream was deleted"
    assert desk.position().holding.qty == 3 + successors
    come_back(desk)


def test_a_loss_is_reported_once_however_often_the_input_is_looked_at(desk: Desk) -> None:
    desk.client.delete(desk.source)
    for _ in range(3):
        watch(desk.client, desk.settings, 0.02, lambda _: None)
    desk.process()
    assert len(desk.journal("frozen")) == 1


@pytest.mark.parametrize("content", ["string", "hash", "list", "set", "zset"])
def test_an_input_that_is_no_stream_freezes_every_book_and_says_what_to_do(desk: Desk, content: str) -> None:
    desk.client.delete(desk.source)
    make(desk.client, desk.source, content)
    for _ in range(3):
        assert not watch(desk.client, desk.settings, 0.02, lambda _: None)
    assert is_frozen(desk)
    assert desk.client.hget(keys.LOST, "why") == f"{desk.source} is not a stream: delete or rename that key"
    assert len(desk.journal("frozen")) == 1
    desk.client.delete(desk.source)
    desk.feed(BUY)
    desk.route()
    assert is_frozen(desk)
    come_back(desk)


@pytest.mark.parametrize("content", ["string", "hash"])
def test_a_book_whose_inbox_is_no_stream_stops_alone_and_freezes_when_it_is_fixed(desk: Desk, content: str) -> None:
    make(desk.client, keys.inbox("BTCUSDT"), content)
    desk.feed(BUY, BUY | {"symbol": "ETHUSDT"}, price("105"), price("106", "ETHUSDT"))
    desk.route()
    desk.process("ETHUSDT")
    assert [one["symbol"] for one in desk.suggestions()] == ["ETHUSDT"] * len(desk.suggestions()) != []
    (message,) = desk.deadletters()
    assert message["reason"] == "inbox_wrong_type: the inbox of BTCUSDT is another type of key: delete it"
    desk.client.delete(keys.inbox("BTCUSDT"))
    desk.run(BUY, price("106"))
    assert desk.position().frozen == "inbox_wrong_type"
    assert [one["symbol"] for one in desk.suggestions() if one["symbol"] == "BTCUSDT"] == []
    assert not desk.client.exists(keys.BROKEN)
    assert_all_accounted_for(desk)


def make(client: Client, key: str, content: str) -> None:
    """A key of the type `content` in the place of whatever is there."""
    client.delete(key)
    match content:
        case "string":
            client.set(key, "1")
        case "hash":
            client.hset(key, "a", "1")
        case "list":
            client.rpush(key, "1")
        case "set":
            client.sadd(key, "1")
        case _:
            client.zadd(key, {"a": 1})
