"""Commands and replies in one round trip: as many replies as commands, errors among them, and never a stale one."""

from collections.abc import Iterator
from typing import Any

import pytest
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import ResponseError
from waiting import wait_until

from harvest_tasks.server import client as redis_client
from harvest_tasks.server.client import (
    Client,
    Command,
    connect,
    paced_round_trips,
    pairs_to_dict,
    round_trip,
    round_trip_of_batches,
)


def commands_sent(client: Client) -> int:
    return int(client.info("stats")["total_commands_processed"])


def test_replies_come_in_the_order_of_the_commands(redis: Client) -> None:
    assert round_trip(redis, [("SET", "a", 1), ("GET", "a"), ("HGETALL", "none"), ("INCR", "a")]) == ["OK", "1", [], 2]


def test_an_error_stands_in_its_place_and_the_others_are_answered(redis: Client) -> None:
    redis.set("a", "text")
    before, failed, after = round_trip(redis, [("GET", "a"), ("INCR", "a"), ("GET", "a")])
    assert (before, after) == ("text", "text")
    assert isinstance(failed, ResponseError)
    assert redis.get("a") == "text"


def test_nothing_is_sent_when_there_is_nothing_to_ask(redis: Client) -> None:
    before = commands_sent(redis)
    assert round_trip(redis, []) == []
    assert commands_sent(redis) == before + 1


def test_a_connection_that_broke_half_way_is_not_used_again(redis: Client, url: str) -> None:
    client = connect(url)
    number = client.client_id()
    with pytest.raises(Disconnected):
        round_trip(client, [("CLIENT", "KILL", "ID", number, "SKIPME", "no"), ("GET", "a"), ("GET", "b")])
    redis.set("a", "1")
    assert round_trip(client, [("GET", "a")]) == ["1"]
    client.close()


def test_commands_are_sent_as_they_are_made_and_answered_in_order(redis: Client, url: str) -> None:
    onlooker = connect(url)

    def made() -> Iterator[list[Command]]:
        yield [("SET", "a", "1"), ("GET", "a")]
        wait_until(lambda: onlooker.exists("a"), message="the first commands sent")
        yield [("GET", "a"), ("INCR", "a")]

    assert round_trip_of_batches(redis, made()) == ["OK", "1", "1", 2]
    assert round_trip_of_batches(redis, []) == []
    onlooker.close()


def test_a_reply_that_nobody_waited_for_is_not_taken_for_the_next_ones(url: str) -> None:
    client = connect(url)

    def made() -> Iterator[list[Command]]:
        yield [("BLPOP", "nothing", "0.2")]
        raise InterruptedError

    with pytest.raises(InterruptedError):
        round_trip_of_batches(client, made())
    assert round_trip(client, [("ECHO", "mine")]) == ["mine"]
    client.close()


def test_names_of_two_words_bytes_and_text_that_is_no_utf8_arrive_as_they_are(redis: Client) -> None:
    assert redis.execute_command("OBJECT HELP")
    assert redis.execute_command(b"SET", b"a", "\udcff") == "OK"
    as_bytes: Any = (b"GET", "a")
    assert round_trip(redis, [("GET", "a"), as_bytes]) == ["\udcff", "\udcff"]


def test_a_flat_reply_becomes_names_and_values(redis: Client) -> None:
    redis.hset("h", mapping={"a": "1", "b": "2"})
    assert pairs_to_dict(round_trip(redis, [("HGETALL", "h")])[0]) == {"a": "1", "b": "2"}


def test_an_exchange_within_one_on_a_connection_of_its_own_takes_another(redis: Client, url: str) -> None:
    client = connect(url).client()
    number, within = client.client_id(), []

    def made() -> Iterator[list[Command]]:
        yield [("CLIENT", "ID"), ("SET", "a", "outer")]
        within.extend(round_trip(client, [("CLIENT", "ID"), ("GET", "a")]))
        yield [("GET", "a")]

    assert round_trip_of_batches(client, made()) == [number, "OK", "outer"]
    assert within[0] != number
    assert within[1] in (None, "outer")
    assert client.client_id() == number
    client.close()


def test_a_connection_of_its_own_that_broke_is_made_anew(redis: Client, url: str) -> None:
    client = connect(url).client()
    number = client.client_id()
    with pytest.raises(Disconnected):
        round_trip(client, [("CLIENT", "KILL", "ID", number, "SKIPME", "no"), ("GET", "a")])
    redis.set("a", "1")
    assert round_trip(client, [("GET", "a"), ("CLIENT", "ID")]) == ["1", client.client_id()]
    assert client.client_id() != number
    client.close()


@pytest.mark.parametrize(("commands", "pauses"), [(0, 0), (1, 0), (100, 0), (101, 1), (1_000, 9), (20_000, 50)])
def test_what_is_in_no_hurry_is_sent_in_pieces_and_answered_in_order(
    redis: Client, monkeypatch: pytest.MonkeyPatch, commands: int, pauses: int
) -> None:
    paused: list[float] = []
    monkeypatch.setattr(redis_client, "sleep", paused.append)
    said = [f"n{n}" for n in range(commands)]
    assert paced_round_trips(redis, [("ECHO", word) for word in said]) == said
    assert len(paused) == pauses
    assert sum(paused) <= 0.1 + 1e-9
