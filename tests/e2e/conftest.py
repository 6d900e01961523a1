"""Harvest as it is deployed: workers that watch and process (two), for proposals and for calls, beat, a server.

They are pytest-celery's clusters, process-backed (see `cluster`), started once per module; a test begins with an
empty database and ends when everything it fed is accounted for. A module that needs other settings overrides
`deployment`. Every program logs in as its user of systemd/users.acl, and a refusal fails the test; the hands of a test,
which look everywhere and break things, are the server's owner.
"""

from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from celery import Celery
from cluster import Program, ServerContainer, WorkerContainer, beat_program, inherited, server_program, worker_program
from desk import Desk, assert_all_accounted_for
from e2e.workload import Outcome, replayed, settled
from pytest_celery import (
    CeleryBackendCluster,
    CeleryBrokerCluster,
    CeleryTestSetup,
    CeleryTestWorker,
    CeleryWorkerCluster,
    RedisTestBackend,
    RedisTestBroker,
)
from users import GuardedServer, assert_nobody_is_denied, worker_user
from waiting import wait_until

from harvest_tasks.messaging.configuration import QUEUES, configuration
from harvest_tasks.processes.embedded_server import EmbeddedServer
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client, connect
from harvest_tasks.server.liveness import PROPOSALS_CYCLE_MS
from harvest_tasks.settings.model import Settings

TAIL = 4_000


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what its programs logged."""
    report = yield
    programs = getattr(item, "funcargs", {}).get("programs", {})
    if report.failed:
        report.sections += [(f"log of {name}", _tail(program)) for name, program in programs.items()]
    return report


def _tail(program: Program) -> str:
    return program.logs().decode(errors="replace")[-TAIL:]


@pytest.fixture(scope="module")
def deployment() -> dict[str, str]:
    """Settings of a module's Harvest besides the address of its server."""
    return {}


@pytest.fixture(scope="module")
def workers() -> dict[str, tuple[str, int]]:
    """Queues and pool size of each worker."""
    brain = ("fills,watch,control", 3)
    return {"fills-1": brain, "fills-2": brain, "proposals": ("proposals", 1), "adhoc": ("adhoc", 1)}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("programs")


@pytest.fixture(scope="module")
def own_server(server: EmbeddedServer) -> Iterator[GuardedServer]:
    """The address and the data of a server that other modules never empty; `celery_broker_cluster` runs it."""
    place = GuardedServer(server.executable)
    yield place
    place.close()


@pytest.fixture(scope="module")
def broker_container(own_server: EmbeddedServer, directory: Path) -> Iterator[ServerContainer]:
    program = server_program(own_server, directory)
    program.start()
    yield ServerContainer(program)
    program.close()


@pytest.fixture(scope="module")
def celery_broker_cluster(broker_container: ServerContainer) -> CeleryBrokerCluster:
    return CeleryBrokerCluster(RedisTestBroker(broker_container))


@pytest.fixture(scope="module")
def celery_backend_cluster(broker_container: ServerContainer) -> CeleryBackendCluster:
    return CeleryBackendCluster(RedisTestBackend(broker_container))


@pytest.fixture(scope="module")
def settings_environ(own_server: EmbeddedServer, deployment: dict[str, str]) -> dict[str, str]:
    return {
        "REDIS_URL": own_server.url(),
        "SYMBOLS": "BTCUSDT,ETHUSDT",
        "PUBLISH_INTERVAL_SEC": "1",
        "SYNTHETIC_FALLBACK": "false",
        "WATCH_SLICE_SEC": "1",
        "HARVEST_MAX_ACTIONS_PER_MIN": "10000",
        **deployment,
    }


@pytest.fixture(scope="module")
def environ_of(settings_environ: dict[str, str], own_server: GuardedServer) -> Callable[[str], dict[str, str]]:
    """What the program of this user finds in its environment."""
    return lambda user: {**inherited(), **settings_environ, **own_server.environ(user)}


@pytest.fixture(scope="module")
def harvest_app(settings_environ: dict[str, str]) -> Iterator[Celery]:
    """A client of the cluster in this process, with Harvest's own configuration."""
    app = Celery("harvest_tasks", set_as_current=False)
    app.conf.update(configuration(Settings.from_env(settings_environ)))
    yield app
    app.close()


@pytest.fixture(scope="module")
def programs(
    celery_broker_cluster: CeleryBrokerCluster,
    workers: dict[str, tuple[str, int]],
    environ_of: Callable[[str], dict[str, str]],
    directory: Path,
) -> Iterator[dict[str, Program]]:
    """The workers and beat by name, all running."""
    started = {
        name: worker_program(name, queues, slots, environ_of(worker_user(queues)), directory)
        for name, (queues, slots) in workers.items()
    }
    started["beat"] = beat_program("beat", environ_of("harvest-beat"), directory)
    try:
        for program in started.values():
            program.launch()
        for program in started.values():
            program.wait_until_ready()
        yield started
    finally:
        for program in started.values():
            program.close()


@pytest.fixture(scope="module")
def celery_worker_cluster(
    programs: dict[str, Program], workers: dict[str, tuple[str, int]], harvest_app: Celery
) -> CeleryWorkerCluster:
    return CeleryWorkerCluster(*(CeleryTestWorker(WorkerContainer(programs[name]), harvest_app) for name in workers))


@pytest.fixture
def celery_setup_app(harvest_app: Celery) -> Celery:
    """Harvest's app, instead of a bare one that only knows the addresses."""
    return harvest_app


@pytest.fixture(scope="module")
def client(own_server: EmbeddedServer, celery_broker_cluster: CeleryBrokerCluster) -> Iterator[Client]:
    connected = connect(own_server.url())
    yield connected
    connected.close()


@pytest.fixture(scope="module")
def broker(own_server: EmbeddedServer, celery_broker_cluster: CeleryBrokerCluster) -> Iterator[Client]:
    """Where the messages are."""
    connected = connect(own_server.url(db=1))
    yield connected
    connected.close()


@pytest.fixture
def empty(client: Client, broker: Client, settings_environ: dict[str, str]) -> Callable[[], None]:
    """Takes away all but what the running watcher stands on: its lease, and its group's place in the input."""
    source = Settings.from_env(settings_environ).stream_execution_result

    def take_away() -> None:
        wait_until(lambda: client.exists(keys.LEASE, source) == 2, 60.0, "a watcher is at work")
        client.xtrim(source, maxlen=0, approximate=False)
        if client.delete(*client.keys("quantum:marketstate:*"), "no other"):
            _let_a_cycle_pass(client)
        for key in client.scan_iter():
            if key not in (source, keys.LEASE):
                client.delete(key)
        broker.delete(*QUEUES)

    return take_away


def _let_a_cycle_pass(client: Client) -> None:
    """So that no proposal comes that was computed from what is gone."""
    before = client.hget(keys.HEARTBEAT, PROPOSALS_CYCLE_MS)
    wait_until(lambda: client.hget(keys.HEARTBEAT, PROPOSALS_CYCLE_MS) != before, 5.0, "a cycle of proposals")


@pytest.fixture
def desk(
    celery_setup: CeleryTestSetup,
    programs: dict[str, Program],
    client: Client,
    empty: Callable[[], None],
    settings_environ: dict[str, str],
) -> Iterator[Desk]:
    """The running cluster's desk, with nothing on it; at the end all that came in is accounted for."""
    for program in programs.values():
        if program.status == "exited":
            program.launch()
    for program in programs.values():
        program.wait_until_ready()
    assert celery_setup.ready(docker=True)
    empty()
    desk = Desk(client, **settings_environ)
    yield desk
    settled(desk)
    assert_all_accounted_for(desk)
    ids = [intent["intent_id"] for intent in [*desk.suggestions(), *desk.live_intents()]]
    assert len(set(ids)) == len(ids)
    assert_nobody_is_denied(client)


@pytest.fixture
def replay(desk: Desk, own_server: EmbeddedServer, settings_environ: dict[str, str]) -> Callable[[], Outcome]:
    """What one thread makes of the same entries."""
    return lambda: replayed(desk, own_server.url(db=7), settings_environ)
