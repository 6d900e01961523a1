"""After a death nothing waits for the next wake-up: a restarted server is taken up where it was, and so is the
lease of a dead watcher.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from time import monotonic, sleep

import pytest
from desk import Desk
from entries import BUY
from kombu.connection import Connection
from redis.exceptions import ConnectionError as Disconnected
from waiting import wait_until

from harvest_tasks.fills import watcher
from harvest_tasks.fills.lease import LEASE_MS
from harvest_tasks.fills.watcher import Handover, watch
from harvest_tasks.messaging import transport
from harvest_tasks.processes.embedded_server import EmbeddedServer
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client, connect

SLICE_SEC = 60.0
LONG_SEC = 30.0
"""More than a busy machine needs to start a server."""


@pytest.fixture
def own_server(server: EmbeddedServer) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(server.executable, options=("--appendfsync", "always")) as running:
        yield running


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


@pytest.fixture
def broker(own_server: EmbeddedServer) -> Iterator[Connection]:
    """Not connected yet."""
    connection = Connection(own_server.url(), transport=transport.Transport)
    yield connection
    connection.close()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between two looks for the broker."""
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        sleep(seconds)

    monkeypatch.setattr(transport, "sleep", pause)
    return pauses


def refused(broker: Connection) -> bool:
    """Whether a new connection to the same place fails at its first attempt."""
    with broker.clone() as another:
        try:
            another.transport.establish_connection()
        except broker.connection_errors:
            return True
        return False


def test_a_lost_broker_is_waited_for(
    broker: Connection,
    own_server: EmbeddedServer,
    threads: ThreadPoolExecutor,
    looks: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "_RECONNECT_FOR_SEC", LONG_SEC)
    broker.connect()
    own_server.kill()
    waiting = threads.submit(refused, broker)
    wait_until(lambda: looks, LONG_SEC, "it looks again")
    own_server.start()
    assert waiting.result(LONG_SEC) is False


def test_a_broker_that_stays_away_is_waited_for_once(
    broker: Connection, own_server: EmbeddedServer, looks: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_RECONNECT_FOR_SEC", 0.2)
    broker.connect()
    own_server.kill()
    assert refused(broker)
    assert looks
    looks.clear()
    assert refused(broker)
    assert looks == []


def test_a_broker_that_was_never_there_is_not_waited_for(
    broker: Connection, own_server: EmbeddedServer, looks: list[float]
) -> None:
    own_server.kill()
    assert refused(broker)
    assert looks == []


@pytest.fixture
def client(own_server: EmbeddedServer) -> Iterator[Client]:
    connected = connect(own_server.url())
    yield connected
    connected.close()


@pytest.fixture
def desk(client: Client) -> Desk:
    return Desk(client)


def watching(desk: Desk, threads: ThreadPoolExecutor, own_server: EmbeddedServer, patience: float) -> Future[bool]:
    """A watcher at work on a client of its own."""
    alone = connect(own_server.url())
    began = threads.submit(watch, alone, desk.settings, SLICE_SEC, lambda _: None, patience)
    began.add_done_callback(lambda _: alone.close())
    desk.feed(BUY)
    wait_until(lambda: desk.counts().get("in") == 1, LONG_SEC, "the first fill is moved")
    return began


def again(server: EmbeddedServer, desk: Desk) -> None:
    server.kill()
    server.start()
    desk.client.connection_pool.disconnect()


def end(desk: Desk, began: Future[bool]) -> None:
    """A watcher whose lease is another's ends."""
    desk.client.set(keys.LEASE, "another", px=60_000)
    assert began.result(LONG_SEC) is False


def test_a_watcher_goes_on_under_its_lease_when_the_server_is_back(
    desk: Desk, own_server: EmbeddedServer, threads: ThreadPoolExecutor
) -> None:
    began = watching(desk, threads, own_server, patience=LONG_SEC)
    holder = desk.client.get(keys.LEASE)
    again(own_server, desk)
    desk.feed(BUY)
    wait_until(lambda: desk.counts().get("in") == 2, LONG_SEC, "the next fill is moved")
    assert desk.client.get(keys.LEASE) == holder
    assert desk.pending() == 0
    end(desk, began)


def test_a_watcher_takes_up_what_it_had_read_when_the_server_went(
    desk: Desk, own_server: EmbeddedServer, threads: ThreadPoolExecutor
) -> None:
    began = watching(desk, threads, own_server, patience=LONG_SEC)
    with desk.client.pipeline(transaction=True) as pipe:
        pipe.xadd(desk.source, BUY)
        pipe.xreadgroup(keys.GROUP, keys.CONSUMER, {desk.source: ">"})
        pipe.execute()
    again(own_server, desk)
    wait_until(lambda: desk.counts().get("in") == 2, LONG_SEC, "what was read is moved")
    end(desk, began)


def test_a_watcher_whose_lease_went_to_another_meanwhile_ends(
    desk: Desk, own_server: EmbeddedServer, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, may_look = Event(), Event()
    monkeypatch.setattr(watcher, "sleep", lambda _: (looking.set(), may_look.wait(LONG_SEC)))
    began = watching(desk, threads, own_server, patience=LONG_SEC)
    own_server.kill()
    assert looking.wait(LONG_SEC)
    own_server.start()
    desk.client.connection_pool.disconnect()
    desk.client.set(keys.LEASE, "another", px=60_000)
    may_look.set()
    assert began.result(LONG_SEC) is False


def test_a_watcher_gives_up_a_server_that_stays_away(
    desk: Desk, own_server: EmbeddedServer, threads: ThreadPoolExecutor
) -> None:
    began = watching(desk, threads, own_server, patience=0.2)
    own_server.kill()
    with pytest.raises(Disconnected):
        began.result(LONG_SEC)


def test_without_patience_a_lost_reply_ends_the_watcher(
    desk: Desk, own_server: EmbeddedServer, threads: ThreadPoolExecutor
) -> None:
    before = monotonic()
    began = watching(desk, threads, own_server, patience=0.0)
    again(own_server, desk)
    with pytest.raises(Disconnected):
        began.result(LONG_SEC)
    assert monotonic() - before < SLICE_SEC


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What watchers wait, in seconds; they do not really."""
    waited: list[float] = []
    monkeypatch.setattr(watcher, "sleep", waited.append)
    return waited


def watched_once(desk: Desk) -> bool:
    return watch(desk.client, desk.settings, 0.05, lambda _: None, patience_sec=1.0)


def test_a_watcher_waits_for_a_lease_that_nobody_renewed(desk: Desk) -> None:
    desk.client.set(keys.LEASE, "a dead one", px=300)
    desk.feed(BUY)
    assert watched_once(desk) is True
    assert desk.counts().get("in") == 1


def test_a_watcher_does_not_wait_for_a_lease_that_is_renewed(desk: Desk, pauses: list[float]) -> None:
    desk.client.set(keys.LEASE, "another", px=LEASE_MS)
    assert watched_once(desk) is False
    assert pauses == []


def test_a_watcher_leaves_a_lease_that_was_renewed_while_it_waited(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "sleep", lambda _: desk.client.pexpire(keys.LEASE, LEASE_MS))
    desk.client.set(keys.LEASE, "a slow one", px=300)
    assert watched_once(desk) is False
    assert desk.client.get(keys.LEASE) == "a slow one"


def test_the_next_watcher_begins_before_the_last_one_ends_and_takes_over_at_its_end(
    desk: Desk, own_server: EmbeddedServer, threads: ThreadPoolExecutor
) -> None:
    successors: list[Future[bool]] = []

    def begin_next() -> None:
        assert desk.client.get(keys.LEASE), "the last one still reads"
        alone = connect(own_server.url())
        after = Handover(waits=True, begin_next=lambda: None)
        successors.append(threads.submit(watch, alone, desk.settings, 0.5, lambda _: None, 0.0, None, after))
        successors[-1].add_done_callback(lambda _: alone.close())
        # It waits: what comes now is moved by the last one.
        desk.feed(BUY)

    assert watch(desk.client, desk.settings, 0.5, lambda _: None, 0.0, None, Handover(False, begin_next)) is True
    assert desk.counts().get("in") == 1
    desk.feed(BUY)
    assert [successor.result(LONG_SEC) for successor in successors] == [True]
    assert desk.counts().get("in") == 2


def test_a_successor_waits_for_a_lease_that_is_given_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []

    def given_up_at_the_third_look(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            desk.client.delete(keys.LEASE)

    monkeypatch.setattr(watcher, "sleep", given_up_at_the_third_look)
    desk.client.set(keys.LEASE, "another", px=60_000)
    desk.feed(BUY)
    handover = Handover(waits=True, begin_next=lambda: None)
    assert watch(desk.client, desk.settings, 0.2, lambda _: None, handover=handover) is True
    assert (len(looks), desk.counts().get("in")) == (3, 1)


def test_a_successor_does_not_wait_for_ever(desk: Desk) -> None:
    desk.client.set(keys.LEASE, "another", px=60_000)
    handover = Handover(waits=True, begin_next=lambda: pytest.fail("it never watched"))
    assert watch(desk.client, desk.settings, 0.2, lambda _: None, handover=handover) is False
    assert desk.client.get(keys.LEASE) == "another"


def test_a_watcher_whose_input_is_destroyed_has_the_next_one_begin(
    desk: Desk, own_server: EmbeddedServer, threads: ThreadPoolExecutor
) -> None:
    begun: list[int] = []
    alone = connect(own_server.url())
    handover = Handover(False, lambda: begun.append(1))
    watching = threads.submit(watch, alone, desk.settings, SLICE_SEC, lambda _: None, handover=handover)
    desk.feed(BUY)
    wait_until(lambda: desk.counts().get("in") == 1, LONG_SEC, "the first fill is moved")
    desk.client.delete(desk.settings.stream_execution_result)
    assert watching.result(LONG_SEC) is True
    assert begun == [1]
    alone.close()
