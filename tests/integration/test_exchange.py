"""Commands and replies in one round trip: as many replies as commands, errors among them, and never a stale one."""

import signal

import pytest
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import ResponseError

from harvest_tasks.connection import Client, connect, exchange, mapping


def commands_sent(client: Client) -> int:
    return int(client.info("stats")["total_commands_processed"])


def test_replies_come_in_the_order_of_the_commands(redis: Client) -> None:
    assert exchange(redis, [("SET", "a", 1), ("GET", "a"), ("HGETALL", "none"), ("INCR", "a")]) == ["OK", "1", [], 2]


def test_an_error_stands_in_its_place_and_the_others_are_answered(redis: Client) -> None:
    redis.set("a", "text")
    before, failed, after = exchange(redis, [("GET", "a"), ("INCR", "a"), ("GET", "a")])
    assert (before, after) == ("text", "text")
    assert isinstance(failed, ResponseError)
    assert redis.get("a") == "text"


def test_nothing_is_sent_when_there_is_nothing_to_ask(redis: Client) -> None:
    before = commands_sent(redis)
    assert exchange(redis, []) == []
    assert commands_sent(redis) == before + 1


def test_a_connection_that_broke_half_way_is_not_used_again(redis: Client, url: str) -> None:
    client = connect(url)
    number = client.client_id()
    with pytest.raises(Disconnected):
        exchange(client, [("CLIENT", "KILL", "ID", number, "SKIPME", "no"), ("GET", "a"), ("GET", "b")])
    redis.set("a", "1")
    assert exchange(client, [("GET", "a")]) == ["1"]
    client.close()


class TimeLimit(Exception):
    """As Celery ends a task that takes too long."""


def test_a_reply_that_was_not_waited_for_answers_no_later_question(redis: Client, url: str) -> None:
    def over(*_: object) -> None:
        raise TimeLimit

    client = connect(url)
    redis.set("a", "1")
    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(TimeLimit):
            exchange(client, [("XREAD", "BLOCK", 300, "STREAMS", "none", "$")])
    finally:
        signal.signal(signal.SIGALRM, before)
    assert exchange(client, [("GET", "a")]) == ["1"]
    client.close()


def test_names_of_two_words_bytes_and_text_that_is_no_utf8_arrive_as_they_are(redis: Client) -> None:
    assert redis.execute_command("OBJECT HELP")
    assert redis.execute_command(b"SET", b"a", "\udcff") == "OK"
    assert exchange(redis, [("GET", "a"), (b"GET", "a")]) == ["\udcff", "\udcff"]


def test_a_flat_reply_becomes_names_and_values(redis: Client) -> None:
    redis.hset("h", mapping={"a": "1", "b": "2"})
    assert mapping(exchange(redis, [("HGETALL", "h")])[0]) == {"a": "1", "b": "2"}
