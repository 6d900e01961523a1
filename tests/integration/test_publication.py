"""What `publish.lua` writes, and when it leaves things alone."""

from concurrent.futures import ThreadPoolExecutor
from typing import cast

import inputs
import pytest
from redis.exceptions import ResponseError

from harvest_tasks.proposing.publish import BOOKS_PER_CALL, Publication, PublishReply, publish, removal
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client, connect
from harvest_tasks.settings.model import Settings

SETTINGS = inputs.settings()
STREAM = "quantum:stream:harvest.proposal"
KEY = "quantum:harvest:proposal:BTCUSDT"
TOLERANT = inputs.settings(change_eps_pct="0.125")
"""Moves of this size are exact in binary."""


def offered(now: float, **changed: str) -> Publication:
    fields = {
        "harvest_action": "NONE",
        "new_sl_proposed": "",
        "kill_score": "0.5",
        "position_side": "LONG",
        "position_source": "tracker",
        "market_state_source": "redis_hash",
        "R_net": "1",
        "computed_at_utc": "2026-01-23T14:" + f"{30 + int(now - inputs.NOW) // 60:02}:{int(now - inputs.NOW) % 60:02}",
        "last_update_epoch": str(int(now)),
        **changed,
    }
    return Publication("BTCUSDT", fields)


def offer(redis: Client, now: float = inputs.NOW, settings: Settings = SETTINGS, **changed: str) -> PublishReply:
    (reply,) = publish(redis, settings, [offered(now, **changed)], now)
    return reply


def test_the_first_proposal_is_published_with_a_lifetime(redis: Client) -> None:
    assert offer(redis) is PublishReply.PUBLISHED
    assert inputs.proposal(redis) == offered(inputs.NOW).fields
    assert 179_000 < redis.pttl(KEY) <= 180_000


def test_the_lifetime_is_three_publish_ages(redis: Client) -> None:
    offer(redis, settings=inputs.settings(max_publish_age_sec="7"))
    assert 20_000 < redis.pttl(KEY) <= 21_000


def test_the_same_proposal_again_only_moves_the_time_of_the_last_look(redis: Client) -> None:
    offer(redis)
    lifetime = redis.pttl(KEY)
    assert offer(redis, inputs.NOW + 10, R_net="1.3") is PublishReply.UNCHANGED
    assert inputs.proposal(redis) == {**offered(inputs.NOW).fields, "last_update_epoch": "1769178610"}
    assert redis.pttl(KEY) <= lifetime


@pytest.mark.parametrize(
    "changed",
    [
        {"harvest_action": "PARTIAL_25"},
        {"new_sl_proposed": "100.2"},
        {"kill_score": "0.502"},
        {"kill_score": "0.498"},
        {"position_side": "SHORT"},
        {"position_source": "synthetic"},
        {"market_state_source": "neutral"},
    ],
    ids=str,
)
def test_a_change_is_published(redis: Client, changed: dict[str, str]) -> None:
    offer(redis)
    assert offer(redis, inputs.NOW + 1, SETTINGS, **changed) is PublishReply.PUBLISHED
    assert inputs.proposal(redis) == offered(inputs.NOW + 1, **changed).fields


def test_a_stop_that_vanished_is_published(redis: Client) -> None:
    offer(redis, new_sl_proposed="100.2")
    assert offer(redis, new_sl_proposed="") is PublishReply.PUBLISHED
    assert inputs.proposal(redis)["new_sl_proposed"] == ""


@pytest.mark.parametrize(
    ("score", "reply"),
    [
        ("0.625", PublishReply.UNCHANGED),
        ("0.626", PublishReply.PUBLISHED),
        ("0.375", PublishReply.UNCHANGED),
        ("0.374", PublishReply.PUBLISHED),
    ],
)
def test_a_kill_score_counts_as_moved_beyond_eps_not_at_it(redis: Client, score: str, reply: PublishReply) -> None:
    offer(redis, settings=TOLERANT)
    assert offer(redis, settings=TOLERANT, kill_score=score) is reply


@pytest.mark.parametrize(
    ("stop", "reply"),
    [
        ("72", PublishReply.UNCHANGED),
        ("72.1", PublishReply.PUBLISHED),
        ("56", PublishReply.UNCHANGED),
        ("55.9", PublishReply.PUBLISHED),
    ],
)
def test_a_stop_counts_as_moved_beyond_eps_of_itself_not_at_it(redis: Client, stop: str, reply: PublishReply) -> None:
    offer(redis, settings=TOLERANT, new_sl_proposed="64")
    assert offer(redis, settings=TOLERANT, new_sl_proposed=stop) is reply


def test_a_move_of_exactly_eps_is_none_in_decimals_either(redis: Client) -> None:
    offer(redis, kill_score="0.500", new_sl_proposed="100")
    assert offer(redis, kill_score="0.501", new_sl_proposed="100.1") is PublishReply.UNCHANGED


def test_small_moves_add_up_against_what_was_published(redis: Client) -> None:
    offer(redis)
    assert offer(redis, kill_score="0.5008") is PublishReply.UNCHANGED
    assert offer(redis, kill_score="0.5016") is PublishReply.PUBLISHED


def test_without_any_tolerance_every_move_counts(redis: Client) -> None:
    exact = inputs.settings(change_eps_pct="0")
    offer(redis, settings=exact)
    assert offer(redis, settings=exact) is PublishReply.UNCHANGED
    assert offer(redis, settings=exact, kill_score="0.5000000000000001") is PublishReply.PUBLISHED


@pytest.mark.parametrize(
    ("seconds", "reply"), [(59, PublishReply.UNCHANGED), (60, PublishReply.PUBLISHED), (61, PublishReply.PUBLISHED)]
)
def test_a_proposal_of_the_maximum_age_is_published_again(redis: Client, seconds: int, reply: PublishReply) -> None:
    offer(redis)
    offer(redis, inputs.NOW + 30)
    assert offer(redis, inputs.NOW + seconds) is reply


def test_a_proposal_from_the_future_is_replaced(redis: Client) -> None:
    offer(redis, inputs.NOW + 30)
    assert offer(redis) is PublishReply.PUBLISHED


@pytest.mark.parametrize("held", ["nan", "", "high"])
def test_a_held_proposal_that_cannot_be_compared_is_replaced(redis: Client, held: str) -> None:
    offer(redis)
    redis.hset(KEY, "kill_score", held)
    assert offer(redis) is PublishReply.PUBLISHED
    assert inputs.proposal(redis)["kill_score"] == "0.5"


def test_fields_of_another_schema_do_not_survive(redis: Client) -> None:
    redis.hset(KEY, mapping={"action": "CLOSE", "harvest_action": "NONE"})
    assert offer(redis) is PublishReply.PUBLISHED
    assert "action" not in inputs.proposal(redis)


def test_a_removed_proposal_is_gone_and_removing_it_again_is_no_error(redis: Client) -> None:
    offer(redis)
    assert publish(redis, SETTINGS, [removal("BTCUSDT")], inputs.NOW) == [PublishReply.REMOVED]
    assert not redis.exists(KEY)
    assert publish(redis, SETTINGS, [removal("BTCUSDT")], inputs.NOW) == [PublishReply.ABSENT]


def test_nothing_is_streamed_unless_wanted(redis: Client) -> None:
    offer(redis)
    assert not redis.exists(STREAM)


def test_what_is_published_is_streamed_with_its_symbol_when_wanted(redis: Client) -> None:
    streaming = inputs.settings(enable_stream="true")
    offer(redis, settings=streaming)
    offer(redis, inputs.NOW + 1, settings=streaming)
    leg = Publication("BTCUSDT:SHORT", offered(inputs.NOW).fields)
    publish(redis, streaming, [leg, removal("ETHUSDT")], inputs.NOW)
    expected = {**offered(inputs.NOW).fields, "symbol": "BTCUSDT"}
    entries = cast("list[tuple[str, dict[str, str]]]", redis.xrange(STREAM))
    assert [fields for _, fields in entries] == [expected, expected]


def test_the_stream_stays_near_ten_thousand_entries(redis: Client) -> None:
    with redis.pipeline(transaction=False) as pipe:
        for _ in range(10_500):
            pipe.xadd(STREAM, {"symbol": "OLD"})
        pipe.execute()
    offer(redis, settings=inputs.settings(enable_stream="true"))
    assert redis.xlen(STREAM) < 10_200


@pytest.mark.parametrize("wrong", [KEY, STREAM])
def test_a_key_of_another_type_is_left_alone_and_nothing_is_half_written(redis: Client, wrong: str) -> None:
    redis.set(wrong, "mine")
    streaming = inputs.settings(enable_stream="true")
    assert offer(redis, settings=streaming) is PublishReply.WRONG_TYPE
    assert redis.keys() == [wrong]
    assert redis.get(wrong) == "mine"
    assert publish(redis, streaming, [removal("BTCUSDT")], inputs.NOW) == [PublishReply.WRONG_TYPE]


def test_one_books_wrong_key_does_not_stop_the_others(redis: Client) -> None:
    redis.set("quantum:harvest:proposal:ETHUSDT", "mine")
    others = Publication("ETHUSDT", offered(inputs.NOW).fields)
    replies = publish(redis, SETTINGS, [others, offered(inputs.NOW)], inputs.NOW)
    assert replies == [PublishReply.WRONG_TYPE, PublishReply.PUBLISHED]


def test_each_book_has_its_reply_however_many_there_are(redis: Client) -> None:
    names = [f"COIN{n}" for n in range(2 * BOOKS_PER_CALL + 1)]
    proposal = offered(inputs.NOW).fields
    publish(redis, SETTINGS, [Publication(name, proposal) for name in names[::2]], inputs.NOW)
    again = [Publication(name, proposal) for name in names[:-1]]
    replies = publish(redis, SETTINGS, [*again, removal(names[-1])], inputs.NOW)
    assert replies == [*[PublishReply.UNCHANGED, PublishReply.PUBLISHED] * BOOKS_PER_CALL, PublishReply.REMOVED]
    assert len(redis.keys()) == len(again)


def test_a_book_that_meets_an_error_does_not_stop_the_others(redis: Client) -> None:
    redis.xadd(STREAM, {"the last": "id"}, id=f"{2**64 - 1}-{2**64 - 1}")
    names = ["BTCUSDT", "ETHUSDT"]
    publications = [Publication(name, offered(inputs.NOW).fields) for name in names]
    with pytest.raises(ResponseError, match="exhausted"):
        publish(redis, inputs.settings(enable_stream="true"), publications, inputs.NOW)
    assert [inputs.proposal(redis, name) for name in names] == [offered(inputs.NOW).fields] * 2


def test_of_many_workers_with_the_same_proposal_one_publishes(redis: Client, url: str) -> None:
    streaming = inputs.settings(enable_stream="true")
    clients = [connect(url) for _ in range(8)]
    with ThreadPoolExecutor(len(clients)) as pool:
        replies = list(pool.map(lambda client: offer(client, settings=streaming), clients))
    for client in clients:
        client.close()
    assert sorted(replies) == [PublishReply.PUBLISHED] + [PublishReply.UNCHANGED] * 7
    assert redis.xlen(STREAM) == 1


def test_a_server_that_forgot_the_script_gets_it_again(redis: Client) -> None:
    offer(redis)
    redis.script_flush()
    assert offer(redis, inputs.NOW + 1) is PublishReply.UNCHANGED


def test_proposals_touch_no_key_of_the_tracker(redis: Client) -> None:
    inputs.tracked_position(redis)
    before = redis.hgetall(keys.position("BTCUSDT"))
    offer(redis)
    assert redis.hgetall(keys.position("BTCUSDT")) == before
