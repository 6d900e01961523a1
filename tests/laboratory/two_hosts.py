"""Harvest on two hosts that share one server, and the account of what they are fed."""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from time import sleep
from typing import Final

from cluster import Program, inherited
from users import GuardedServer, assert_nobody_is_denied
from virtual_hosts import VirtualHost, VirtualHosts
from waiting import wait_until

from harvest_tasks.processes.embedded_server import free_port
from harvest_tasks.server import keys
from harvest_tasks.server.client import connect
from harvest_tasks.settings.model import Settings
from laboratory.accounting import Account
from laboratory.arena import executable
from laboratory.fleet import QUEUES, READY_WITHIN_SEC, SETTINGS
from laboratory.traffic import WIDE_SPREAD, Traffic

NAMES: Final = ("host-a", "host-b")
SLOTS: Final = 3
BURST: Final = 1_500
PAUSE_SEC: Final = 0.02
REACHED_WITHIN_SEC: Final = 60.0
QUIET_WITHIN_SEC: Final = 20.0
PUBLISHED: Final = re.compile(r": published .*\bintent_id=(\S+)")


class SharedServer(GuardedServer):
    """Listens at an address for each host, and on a socket for the test itself."""

    def __init__(self, places: VirtualHosts) -> None:
        self.port = free_port()
        self._enter = places.server
        # Without a password, it would otherwise refuse whoever does not come over the loopback.
        listens = ("--port", str(self.port), "--bind", *places.addresses, "--protected-mode", "no")
        super().__init__(executable(), unix=True, options=listens)

    @property
    def argv(self) -> list[str]:
        return [*self._enter, *super().argv]


class Host:
    """A worker and a beat, as each host of a deployment has them: a second beat is harmless."""

    def __init__(self, name: str, server: SharedServer, place: VirtualHost) -> None:
        self.name = name
        self.place = place
        self._said = server.directory / f"{name}-worker.log"
        urls = {"REDIS_URL": f"redis://{place.address}:{server.port}/0"}
        as_brain, as_beat = (
            {**inherited(), **SETTINGS, **server.users.environ_at(urls, user)}
            for user in ("harvest-brain", "harvest-beat")
        )
        celery = [*place.enter, sys.executable, "-m", "celery", "--app=harvest_tasks"]
        options = (f"--queues={QUEUES}", f"--concurrency={SLOTS}", f"--hostname=fills@{name}")
        worker = [*celery, "worker", *options, "--without-gossip", "--without-mingle"]
        beat_said = server.directory / f"{name}-beat.log"
        self.programs = (
            Program(f"worker of {name}", worker, as_brain, self._said, ready=lambda it: b"ready." in it.logs()),
            Program(
                f"beat of {name}", [*celery, "beat"], as_beat, beat_said, ready=lambda it: b"starting" in it.logs()
            ),
        )

    def start(self) -> None:
        """Returns when it is ready."""
        self.launch()
        for program in self.programs:
            program.wait_until_ready()

    def launch(self) -> None:
        for program in self.programs:
            program.launch()

    def kill(self) -> None:
        """SIGKILL to all its processes."""
        for program in self.programs:
            program.kill()

    def published(self) -> list[str]:
        """The intents that its worker said it published, since the beginning."""
        return PUBLISHED.findall(self._said.read_text(errors="replace")) if self._said.exists() else []

    def close(self) -> None:
        for program in self.programs:
            program.close()


class Site:
    """The server and the hosts."""

    def __init__(self, places: VirtualHosts, seed: int) -> None:
        self.server = SharedServer(places)
        self.hosts = [Host(name, self.server, place) for name, place in zip(NAMES, places.hosts, strict=True)]
        self._settings = Settings.from_env({"REDIS_URL": self.server.url(), **SETTINGS})
        self._client = connect(self.server.url())
        self._account = Account(self._client, self._settings)
        chance = Random(seed)  # noqa: S311 - to be repeated, not to be secret
        self._traffic = Traffic(self._client, self._settings, chance, spread=WIDE_SPREAD)

    def start(self) -> None:
        """Returns when a watcher is at work and every host is ready."""
        self.server.start()
        for host in self.hosts:
            host.launch()
        for program in (program for host in self.hosts for program in host.programs):
            program.wait_until_ready()
        wait_until(self._is_watched, READY_WITHIN_SEC, "a watcher is at work")

    def _is_watched(self) -> bool:
        """And whatever was open before is adopted: from here on only what is fed comes in."""
        made = self._client.exists(keys.LEASE, self._settings.stream_execution_result) == 2
        return made and not self._client.exists(keys.ADOPTION)

    def watching(self) -> Host | None:
        """The host whose watcher waits for input just now."""
        waiting = [each for each in self._client.client_list() if each["cmd"] == "xread" and "b" in each["flags"]]
        addresses = {each["laddr"].rpartition(":")[0] for each in waiting}
        return next((host for host in self.hosts if host.place.address in addresses), None)

    def watcher_and_other(self) -> tuple[Host, Host]:
        watcher = wait_until(self.watching, READY_WITHIN_SEC, "a watcher waits for input")
        assert watcher is not None
        return watcher, next(host for host in self.hosts if host is not watcher)

    def wait_for_watcher(self, host: Host) -> None:
        """One on `host`: soon, if no other watches or can."""
        wait_until(lambda: self.watching() is host, REACHED_WITHIN_SEC, f"{host.name} watches")

    def feed_until_published(self, *hosts: Host, more: int) -> None:
        """Feed, and check the counts, until each of `hosts` has published so many more intents."""
        goals = {host: len(host.published()) + more for host in hosts}

        def is_reached() -> bool:
            self._traffic.feed(2)
            self._account.check()
            sleep(PAUSE_SEC)
            return all(len(host.published()) >= goal for host, goal in goals.items())

        wait_until(is_reached, REACHED_WITHIN_SEC, f"{[host.name for host in hosts]} publish")

    def interrupt(self, harm: Callable[[], None]) -> None:
        """Do `harm` while more is fed than can be applied by then."""
        self._traffic.feed(BURST)
        harm()
        assert not self._account.check().is_quiet, "nothing was interrupted"

    def assert_all_is_right(self) -> None:
        """Every entry was applied once, the intents are those of the model, no two hosts published the same one, and
        nobody tried what his user may not.
        """
        wait_until(lambda: self._account.check().is_quiet, QUIET_WITHIN_SEC, "all is applied")
        assert self._account.judge(self._traffic.fed) == []
        assert_nobody_is_denied(self._client)
        told = [intent_id for host in self.hosts for intent_id in host.published()]
        assert len(told) == len(set(told)) <= self._account.intents

    def shares(self) -> str:
        parts = ", ".join(f"{len(host.published())} by {host.name}" for host in self.hosts)
        return f"{self._traffic.fed} entries, {self._account.intents} intents, of which {parts}"

    def close(self) -> None:
        for host in self.hosts:
            host.close()
        self._client.close()
        self.server.close()


@contextmanager
def site(places: VirtualHosts, seed: int) -> Iterator[Site]:
    built = Site(places, seed)
    try:
        built.start()
        yield built
    finally:
        built.close()
