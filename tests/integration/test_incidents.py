"""What a system like this did to its neighbours and its server before, and Harvest does not (docs/incidents.md)."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import inputs
import pytest
from desk import Desk
from entries import BUY

from harvest_tasks.fills.inbox import deliver
from harvest_tasks.fills.sweep import sweep
from harvest_tasks.proposing.cycle import run_cycle
from harvest_tasks.reconciling import adoption, mismatch
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from kernel.positions.entry import Release

MARK = {"symbol": "BTCUSDT", "status": "PRICE_UPDATE", "price": "106"}
REFUSED = {**BUY, "qty": "-1"}
MARKET_STATE = {"sigma": "0.01", "mu": "0.001", "ts": "0.35", "p_trend": "0.6", "p_mr": "0.2", "p_chop": "0.2"}

NEIGHBOURS = {
    "quantum:position:snapshot:BTCUSDT": {"side": "LONG"},
    "quantum:dedup:orders:BTCUSDT": {"id": "1"},
    "quantum:harvester:position:BTCUSDT": {"qty": "1"},
    "quantum:state:orders:BTCUSDT": {"open": "1"},
    "quantum:harvest:config": {"mode": "live"},
    "harvest": {"a": "b"},
}
"""Hashes of other services, some under names that look like ours."""

KEPT = [
    *(keys.BOOKS, keys.OPEN, keys.HELD, keys.CURSOR, keys.ADOPTION, keys.COMPARED, keys.COUNTS, keys.HEARTBEAT),
    *(keys.position("[A-Z]+"), keys.trades("[A-Z]+", 0)),
]
"""What has neither an end nor a length to which it is cut: a field or an entry for each book or each counter, and of
each book two generations of trade ids.
"""
EMPTIED_BY_COMMITS = keys.inbox("BTCUSDT")


@pytest.fixture
def desk(redis: Client) -> Desk:
    inputs.write_hash(redis, "quantum:marketstate:BTCUSDT", MARKET_STATE)
    redis.hset("quantum:ticker:BTCUSDT", mapping={"price": "108", "ts": str(redis.time()[0])})
    return Desk(redis, ENABLE_STREAM="true")


def a_day(desk: Desk) -> None:
    """What Harvest does by itself, with one book, and what an operator does most."""
    client, settings = desk.client, desk.settings
    adoption.begin_adoption(client, settings)
    adoption.advance_adoption(client, settings)
    desk.run(BUY, MARK, {**BUY, "qty": "0.1", "trade_id": "t1"}, REFUSED)
    deliver(client, {"BTCUSDT": Release("", desk.server_ms())})
    desk.process()
    sweep(client, settings)
    desk.process()
    mismatch.reconcile_books(client, settings)
    run_cycle(client, settings, ["BTCUSDT"], client.time()[0])
    desk.run({**BUY, "side": "SELL", "qty": "1.1", "price": "109"})


@contextmanager
def monitored(client: Client) -> Iterator[list[Sequence[str]]]:
    """The commands that the server obeys meanwhile, those of scripts among them, as words."""
    seen: list[Sequence[str]] = []
    with client.monitor() as monitor:
        yield seen
        client.echo("enough")
        for command in monitor.listen():
            name, *words = command["command"].split()
            if name.upper() == "ECHO":
                return
            seen.append([name.upper(), *words])


def test_what_other_services_keep_is_left_as_it_was(desk: Desk) -> None:
    for name, fields in NEIGHBOURS.items():
        desk.client.hset(name, mapping=fields)
    a_day(desk)
    a_day(Desk(desk.client))
    assert desk.suggestions()
    assert {name: desk.client.hgetall(name) for name in NEIGHBOURS} == NEIGHBOURS


def test_whatever_is_written_ends_or_is_cut_to_a_length(desk: Desk) -> None:
    before = {*desk.client.keys(), desk.source}
    with monitored(desk.client) as commands:
        a_day(desk)
    bounded = {command[1] for command in commands if command[0] == "XADD" and "MAXLEN" in command}
    bounded |= {command[1] for command in commands if command[0] == "LTRIM"}
    assert {keys.DECISIONS, keys.DEADLETTER, "quantum:stream:harvest.suggestions", keys.WINDOW} <= bounded
    appended = {command[1] for command in commands if command[0] in ("XADD", "LPUSH", "RPUSH")}
    assert appended - bounded - before == {EMPTIED_BY_COMMITS}
    assert desk.client.xlen(EMPTIED_BY_COMMITS) == 0
    endless = {key for key in set(desk.client.keys()) - before - bounded if desk.client.ttl(key) < 0}
    kept = re.compile("|".join(KEPT))
    assert {key for key in endless if not kept.fullmatch(key)} == {EMPTIED_BY_COMMITS}


def test_however_often_it_starts_there_is_one_consumer_and_nothing_stays_pending(desk: Desk) -> None:
    for n in range(5):
        Desk(desk.client).run({**MARK, "price": str(100 + n)})
    consumers = desk.client.xinfo_consumers(desk.source, keys.GROUP)
    assert [(consumer["name"], consumer["pending"]) for consumer in consumers] == [(keys.CONSUMER, 0)]
