"""What publish.lua must do, one promise of its contract a trial: each raises when the script breaks it."""

from collections.abc import Mapping, Sequence
from typing import Final
from unittest.mock import patch

import inputs
from redis.exceptions import ResponseError

from harvest_tasks.proposing import publish as publish_module
from harvest_tasks.proposing.publish import Publication, PublishReply, publish, removal
from harvest_tasks.proposing.record import utc
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings
from laboratory.commit_trials import nodes, same
from laboratory.script_rig import Rig, said

KEY: Final = "quantum:harvest:proposal:BTCUSDT"
STREAM: Final = "quantum:stream:harvest.proposal"
NOW: Final = inputs.NOW
PUBLISHED, UNCHANGED = PublishReply.PUBLISHED, PublishReply.UNCHANGED
LIFETIME_MS: Final = 180_000
FIRST: Final = {"new_sl_proposed": "64"}
COARSE: Final = {"change_eps_pct": "0.125"}
"""Moves of this size are exact in binary."""


def settings(**environ: str) -> Settings:
    return inputs.settings(enable_stream="true", **environ)


def fields(now: float = NOW, **changed: str) -> dict[str, str]:
    return {
        "harvest_action": "NONE",
        "new_sl_proposed": "",
        "kill_score": "0.5",
        "position_side": "LONG",
        "position_source": "tracker",
        "market_state_source": "redis_hash",
        "computed_at_utc": utc(now),
        "last_update_epoch": str(int(now)),
        **changed,
    }


def offer(client: Client, now: float, chosen: Settings, **changed: str) -> PublishReply:
    (reply,) = publish(client, chosen, [Publication("BTCUSDT", fields(now, **changed))], now)
    return reply


def what_is_new_is_published_and_the_rest_is_not(client: Client) -> None:
    for environ, before, changed, after_sec, expected in _OFFERS:
        client.flushall()
        chosen = settings(**environ)
        same("the first", offer(client, NOW, chosen, **before), PUBLISHED)
        reply = offer(client, NOW + after_sec, chosen, **{**before, **changed})
        same(f"the reply to {changed} after {after_sec} s", reply, expected)
        now, said = (NOW + after_sec, changed) if expected is PUBLISHED else (NOW, {})
        held = {**fields(now, **{**before, **said}), "last_update_epoch": str(int(NOW + after_sec))}
        same("the proposal", client.hgetall(KEY), held)
        same("the stream", client.xlen(STREAM), 2 if expected is PUBLISHED else 1)


Offer = tuple[Mapping[str, str], Mapping[str, str], Mapping[str, str], int, PublishReply]
_OFFERS: Final[Sequence[Offer]] = (
    ({}, {}, {}, 10, UNCHANGED),
    *(({}, {}, {name: "OTHER"}, 1, PUBLISHED) for name in ("harvest_action", "position_side")),
    *(({}, {}, {name: "OTHER"}, 1, PUBLISHED) for name in ("position_source", "market_state_source")),
    ({}, {}, {"new_sl_proposed": "100.2"}, 1, PUBLISHED),
    ({}, FIRST, {"new_sl_proposed": ""}, 1, PUBLISHED),
    (COARSE, FIRST, {"new_sl_proposed": "72"}, 1, UNCHANGED),
    (COARSE, FIRST, {"new_sl_proposed": "72.0001"}, 1, PUBLISHED),
    (COARSE, FIRST, {"new_sl_proposed": "56"}, 1, UNCHANGED),
    (COARSE, FIRST, {"new_sl_proposed": "55.9999"}, 1, PUBLISHED),
    (COARSE, {"new_sl_proposed": "low"}, {"new_sl_proposed": "0.5"}, 1, PUBLISHED),
    (COARSE, {}, {"kill_score": "0.625"}, 1, UNCHANGED),
    (COARSE, {}, {"kill_score": "0.6250001"}, 1, PUBLISHED),
    (COARSE, {}, {"kill_score": "0.375"}, 1, UNCHANGED),
    (COARSE, {}, {"kill_score": "0.3749999"}, 1, PUBLISHED),
    ({}, {"kill_score": "nan"}, {"kill_score": "0.5"}, 1, PUBLISHED),
    ({}, {"kill_score": "high"}, {"kill_score": "0.5"}, 1, PUBLISHED),
    ({}, {"new_sl_proposed": "100"}, {"kill_score": "0.501", "new_sl_proposed": "100.1"}, 1, UNCHANGED),
    ({"change_eps_pct": "0"}, {}, {}, 1, UNCHANGED),
    ({"change_eps_pct": "0"}, {}, {"kill_score": "0.5000000000000001"}, 1, PUBLISHED),
    ({}, {}, {}, 59, UNCHANGED),
    ({}, {}, {}, 60, PUBLISHED),
    ({}, {}, {}, 0, UNCHANGED),
    ({}, {}, {}, -1, PUBLISHED),
)
"""Settings, a proposal, what is other in the next, how much later that comes, and what becomes of it."""


def what_is_published_is_whole_and_goes_by_itself(client: Client) -> None:
    client.flushall()
    client.hset(KEY, mapping={"harvest_action": "NONE", "of another schema": "1"})
    same("over another schema", offer(client, NOW, settings()), PUBLISHED)
    same("the proposal", client.hgetall(KEY), fields())
    same("the stream", [entry for _, entry in client.xrange(STREAM)], [{"symbol": "BTCUSDT", **fields()}])
    assert LIFETIME_MS - 60_000 < client.pttl(KEY) <= LIFETIME_MS, client.pttl(KEY)
    leg = Publication("BTCUSDT:SHORT", fields())
    same("of a leg", publish(client, settings(), [leg], NOW), [PUBLISHED])
    same("its symbol", client.xrevrange(STREAM, count=1)[0][1]["symbol"], "BTCUSDT")


def a_removed_one_is_gone(client: Client) -> None:
    client.flushall()
    offer(client, NOW, settings())
    same("removed", publish(client, settings(), [removal("BTCUSDT")], NOW), [PublishReply.REMOVED])
    same("the proposal", client.exists(KEY), 0)
    same("again", publish(client, settings(), [removal("BTCUSDT")], NOW), [PublishReply.ABSENT])
    same("the stream", client.xlen(STREAM), 1)


def nothing_is_streamed_unless_wanted(client: Client) -> None:
    client.flushall()
    same("the reply", offer(client, NOW, inputs.settings()), PUBLISHED)
    same("keys", client.keys(), [KEY])


def a_key_of_another_type_is_left_alone(client: Client) -> None:
    for wrong in (KEY, STREAM):
        client.flushall()
        client.set(wrong, "another's")
        same("the reply", offer(client, NOW, settings()), PublishReply.WRONG_TYPE)
        same("to a removal", publish(client, settings(), [removal("BTCUSDT")], NOW), [PublishReply.WRONG_TYPE])
        same("all there is", (client.keys(), client.get(wrong)), ([wrong], "another's"))


def each_book_is_dealt_with_by_itself(client: Client) -> None:
    client.flushall()
    client.set(f"{KEY}X", "another's")
    publish(client, settings(), [Publication(book, fields()) for book in ("BTCUSDTA", "BTCUSDTB")], NOW)
    offers = [Publication(f"BTCUSDT{each}", fields()) for each in "AXC"]
    replies = publish(client, settings(), [removal("BTCUSDTB"), *offers], NOW + 1)
    same("the replies", replies, [PublishReply.REMOVED, UNCHANGED, PublishReply.WRONG_TYPE, PUBLISHED])
    same("all there is", sorted(client.keys()), sorted([STREAM, *(f"{KEY}{each}" for each in "ACX")]))
    same("the symbols", [entry["symbol"] for _, entry in client.xrange(STREAM)], [f"BTCUSDT{each}" for each in "ABC"])


def an_error_of_one_does_not_stop_the_others(client: Client) -> None:
    client.flushall()
    client.xadd(STREAM, {"the last": "id"}, id=f"{2**64 - 1}-{2**64 - 1}")
    offers = [Publication(book, fields()) for book in ("BTCUSDT", "BTCUSDTX")]
    try:
        replies = publish(client, settings(), offers, NOW)
    except ResponseError as error:
        assert "exhausted" in str(error), error
    else:
        raise AssertionError(replies)
    same("all there is", sorted(client.keys()), sorted([STREAM, KEY, f"{KEY}X"]))


def a_command_that_is_not_allowed_leaves_all_as_it_was(client: Client) -> None:
    rig = Rig(client)
    rig.know([KEY, STREAM])
    offer(client, NOW, settings())
    offers = [Publication("BTCUSDT", fields(harvest_action="OTHER"))]
    for command, key in (("DEL", KEY), ("HSET", KEY), ("PEXPIRE", KEY), ("XADD", STREAM)):
        before = rig.snapshot()
        with rig.without(command, key):
            try:
                reply = repr(publish(client, settings(), offers, NOW))
            except ResponseError as error:
                reply = said(error)
        same(f"the reply without {command} {key}", reply, f"NOPERM {command} {key}")
        same("all there is", rig.snapshot(), before)


def the_stream_is_not_kept_for_ever(client: Client) -> None:
    client.flushall()
    size = nodes(client, 1)
    for _ in range(9):
        client.xadd(STREAM, {"old": "1"})
    with patch.object(publish_module, "STREAM_MAXLEN", 4):
        offer(client, NOW, settings())
    same("the stream", client.xlen(STREAM), 4)
    nodes(client, size)


PUBLISH: Final = (
    what_is_published_is_whole_and_goes_by_itself,
    what_is_new_is_published_and_the_rest_is_not,
    a_removed_one_is_gone,
    nothing_is_streamed_unless_wanted,
    a_key_of_another_type_is_left_alone,
    each_book_is_dealt_with_by_itself,
    an_error_of_one_does_not_stop_the_others,
    a_command_that_is_not_allowed_leaves_all_as_it_was,
    the_stream_is_not_kept_for_ever,
)
