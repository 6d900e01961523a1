"""Harvest's tasks on a worker in a thread of this process: `celery.contrib.testing`, with a real broker.

pytest-celery takes the fixture names `celery_worker` and `celery_setup` for its containers, so the worker is started
here by the function under Celery's older fixture of that name. It does what several users do apart, so it is the user
who may do what all of them may.
"""

import threading
from collections.abc import Iterator
from typing import Any

import inputs
import pytest
from celery import Celery
from celery.contrib.testing.app import setup_default_app
from celery.contrib.testing.worker import start_worker
from celery.signals import setup_logging
from desk import Desk
from entries import BUY, price
from users import DATABASES, TOGETHER, GuardedServer, for_up
from waiting import wait_until

from harvest_tasks import celery, proposals, tasks
from harvest_tasks.messaging.configuration import QUEUES, configuration
from harvest_tasks.processes.embedded_server import EmbeddedServer
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client, connect
from harvest_tasks.settings import model
from harvest_tasks.wire.symbols import InvalidSymbol


@pytest.fixture(scope="module")
def guarded_server(server: EmbeddedServer) -> Iterator[GuardedServer]:
    with for_up(GuardedServer(server.executable)) as running, connect(running.url()) as owner:
        # No deployment has a worker of all queues. It waits for them in one command, which one rule must allow.
        owner.acl_setuser(TOGETHER, enabled=True, selectors=[("+brpop", " ".join(f"~{queue}*" for queue in QUEUES))])
        yield running


@pytest.fixture(scope="module")
def own_settings(guarded_server: GuardedServer) -> Iterator[model.Settings]:
    """What the tasks find when they look for their settings here."""
    with pytest.MonkeyPatch.context() as patch:
        for name in model.Settings.model_fields:
            patch.delenv(name.upper(), raising=False)
        patch.setenv("REDIS_URL", guarded_server.users.url(guarded_server, TOGETHER))
        patch.setenv("WATCH_SLICE_SEC", "0.5")
        model.current_settings.cache_clear()
        yield model.current_settings()
    model.current_settings.cache_clear()


@pytest.fixture(scope="module")
def celery_app(own_settings: model.Settings) -> Iterator[Celery]:
    """The app that the tasks belong to, pointed at the test's server."""
    app = celery.app
    wanted = configuration(own_settings)
    before = {name: app.conf[name] for name in wanted}
    with setup_default_app(app), pytest.MonkeyPatch.context() as patch:
        # An earlier user of the app in this process left it a result backend with the settings of that time.
        patch.setattr(app, "_local", threading.local())
        patch.setattr(app, "_backend_cache", None)
        app.conf.update(wanted)
        yield app
        app.pool.force_close_all()
        app.conf.update(before)


@pytest.fixture(scope="module")
def worker(celery_app: Celery) -> Iterator[Any]:
    def leave_logging_alone(**_: Any) -> None: ...

    setup_logging.connect(leave_logging_alone)
    try:
        with start_worker(celery_app, pool="solo", queues=QUEUES, perform_ping_check=False) as running:
            yield running
    finally:
        setup_logging.disconnect(leave_logging_alone)


@pytest.fixture
def client(worker: Any, guarded_server: GuardedServer) -> Iterator[Client]:
    """Of the emptied data; the broker's database keeps what its worker stands on."""
    connected = connect(guarded_server.url())
    connected.flushdb()
    yield connected
    connected.close()


@pytest.fixture
def desk(client: Client) -> Desk:
    return Desk(client)


def test_a_proposal_comes_back_as_a_dict(client: Client) -> None:
    inputs.market_state(client)
    inputs.position_hash(client)
    proposal = proposals.compute_proposal.delay("BTCUSDT").get(timeout=5.0)
    assert isinstance(proposal, dict)
    assert {name: proposal[name] for name in ("symbol", "result", "harvest_action", "position_source")} == {
        "symbol": "BTCUSDT",
        "result": "published",
        "harvest_action": "PARTIAL_25",
        "position_source": "redis_hash",
    }
    assert inputs.proposal(client)["R_net"] == proposal["R_net"]
    assert proposals.compute_proposal.delay("BTCUSDT").get(timeout=5.0)["result"] == "unchanged"


def test_an_invalid_symbol_raises_its_own_error_at_the_caller(worker: Any) -> None:
    with pytest.raises(InvalidSymbol, match=r"^'BTC/USDT' is not a symbol"):
        proposals.compute_proposal.delay("BTC/USDT").get(timeout=5.0)


def test_the_scheduled_kind_keeps_no_result(celery_app: Celery, client: Client) -> None:
    inputs.market_state(client)
    inputs.position_hash(client)
    scheduled = proposals.compute_proposals.delay(["BTCUSDT"])
    wait_until(lambda: inputs.proposal(client), 5.0, "the scheduled one is published")
    asked = proposals.compute_proposal.delay("BTCUSDT")
    assert asked.get(timeout=5.0)["result"] == "unchanged"
    kept = [celery_app.backend.get(celery_app.backend.get_key_for_task(task.id)) for task in (scheduled, asked)]
    assert kept[0] is None
    assert kept[1] is not None


def test_one_wake_up_leads_from_the_input_to_the_suggestions(desk: Desk) -> None:
    desk.feed(BUY, price("105.2"))
    tasks.watch_fills.delay()
    wait_until(lambda: len(desk.suggestions()) == 2, 5.0, "the watcher woke what it moved")


@pytest.fixture
def unwatched(desk: Desk, guarded_server: GuardedServer) -> Desk:
    """No watcher is at work, or about to be: none follows on one that cannot get the lease."""
    desk.client.set(keys.LEASE, "another's", px=60_000)
    with connect(guarded_server.url(DATABASES["BROKER_URL"])) as broker:
        wait_until(lambda: not broker.exists("watch", "unacked"), 10.0, "the last watcher has ended")
    desk.client.delete(keys.LEASE)
    return desk


def test_the_sweep_wakes_a_book_whose_wake_up_was_lost(unwatched: Desk) -> None:
    desk = unwatched
    desk.feed(BUY, price("105.2"))
    desk.route()
    assert desk.client.smembers(keys.WAITING) == {"BTCUSDT"}
    tasks.evaluate_positions.delay()
    wait_until(lambda: len(desk.suggestions()) == 2, 5.0, "the sweep woke it")


def test_a_wake_up_for_an_unknown_book_changes_nothing(client: Client) -> None:
    tasks.process_fills.delay(["NOBODYUSDT"])
    proposals.compute_proposal.delay("BTCUSDT").get(timeout=5.0)
    assert not client.exists(keys.position("NOBODYUSDT"), keys.lock("NOBODYUSDT"))
