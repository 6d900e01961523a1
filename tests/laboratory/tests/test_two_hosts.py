"""Two hosts that share one server: what one leaves undone the other does, once."""

import os
from collections.abc import Callable, Iterator

import pytest
from laboratory.two_hosts import NAMES, site
from processes import in_session
from virtual_hosts import NoNamespaces, VirtualHosts, linked, loopback

SEED = int(os.environ.get("E2E_SEED", "20260123"))
SOME = 10
"""Intents of one host."""

Measure = Callable[[str], None]


@pytest.fixture
def links() -> Iterator[VirtualHosts]:
    try:
        with linked(f"harvest-{os.getpid()}", NAMES) as places:
            yield places
    except NoNamespaces as reason:
        pytest.skip(f"no network namespaces: {reason}")


def test_when_a_host_dies_the_other_goes_on_and_every_fill_is_applied_once(measured: Measure) -> None:
    with site(loopback(len(NAMES)), SEED) as shop:
        shop.feed_until_published(*shop.hosts, more=SOME)
        dying, other = shop.watcher_and_other()
        shop.interrupt(dying.kill)
        assert not any(in_session(program.pid) for program in dying.programs)
        shop.wait_for_watcher(other)
        shop.feed_until_published(other, more=SOME)
        dying.start()
        shop.feed_until_published(dying, more=SOME)
        shop.assert_all_is_right()
        measured(shop.shares())


def test_a_host_that_was_cut_off_and_comes_back_doubles_nothing(links: VirtualHosts, measured: Measure) -> None:
    with site(links, SEED) as shop:
        shop.feed_until_published(*shop.hosts, more=SOME)
        away, other = shop.watcher_and_other()
        shop.interrupt(away.place.cut)
        shop.wait_for_watcher(other)
        shop.feed_until_published(other, more=SOME)
        away.place.reconnect()
        shop.feed_until_published(away, more=SOME)
        shop.assert_all_is_right()
        measured(shop.shares())
