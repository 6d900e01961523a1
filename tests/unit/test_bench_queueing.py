"""The model of a server and its workers: what it must say where the answer is known."""

from dataclasses import replace
from itertools import pairwise

import pytest

from bench.queueing import Costs, point, point_on, throughput

COSTS = Costs(500, 1.0, feed_server=5e-6, route_server=15e-6, route_watcher=30e-6, commit_server=100e-6,
              commit_worker=150e-6)  # fmt: skip
MANY = 1_000


def test_one_customer_never_waits() -> None:
    assert throughput(1, think=3.0, service=1.0) == pytest.approx(1 / 4)


def test_two_customers_wait_as_a_queue_of_random_services_has_it() -> None:
    assert throughput(2, think=1.0, service=1.0) == pytest.approx(2 / (1 + 1.5))


def test_without_thinking_the_server_is_always_busy() -> None:
    assert throughput(5, think=0.0, service=2.0) == pytest.approx(1 / 2)


def test_one_worker_is_slowed_by_what_else_the_server_does() -> None:
    alone = replace(COSTS, feed_server=0.0, route_server=1e-9, route_watcher=1e-9)
    assert point(alone, 1).rate == pytest.approx(1 / 250e-6, rel=1e-3)
    rate = point(COSTS, 1).rate
    left = 1 - rate * 20e-6
    assert rate == pytest.approx(1 / (150e-6 + 100e-6 / left))


def test_more_workers_do_more_until_the_server_is_full_and_never_more_than_it_can() -> None:
    rates = [point(COSTS, workers).rate for workers in (1, 2, 3, 4)]
    assert all(fewer < more for fewer, more in pairwise(rates))
    full = point(COSTS, MANY)
    assert (full.limit, full.rate) == ("server", pytest.approx(COSTS.ceiling, rel=0.05))
    assert full.rate <= COSTS.ceiling


def test_there_is_one_watcher_whatever_the_workers_could_do() -> None:
    slow = replace(COSTS, route_watcher=1e-3)
    assert point(slow, MANY).limit == "watcher"
    assert point(slow, MANY).rate < 1_000
    assert point(slow, 1).rate == pytest.approx(point(slow, MANY).rate)


def test_processes_that_share_cores_do_no_more_than_those_have() -> None:
    assert point_on(MANY, COSTS, 4) == point(COSTS, 4)
    shared = point_on(1, COSTS, 4)
    assert (shared.limit, shared.rate) == ("cores", pytest.approx(1 / 300e-6))


def test_entries_that_are_there_cost_nothing_to_take_in() -> None:
    assert COSTS.without_feeding().server == pytest.approx(115e-6)
