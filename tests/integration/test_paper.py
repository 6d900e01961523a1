"""The reference executor on a real server, between the intents it reads and the book that its fills reach."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from desk import LIVE, Desk, assert_all_accounted_for
from entries import BUY, price
from processes import program
from waiting import wait_until

from harvest_tasks.processes.embedded_server import EmbeddedServer
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client, connect
from harvest_tasks.simulation.paper.execution import Answer, ExecutionTerms
from harvest_tasks.simulation.paper.executor import PaperExecutor

WITHIN_SEC = 60.0
"""A deadline, not a pause: on a starved machine a program may take long to start."""
PROGRAM = [sys.executable, "-m", "harvest_tasks", "paper"]


@pytest.fixture
def desk(redis: Client) -> Desk:
    return Desk(redis, **LIVE, HARVEST_SET_BE_AT_R="50")


def paper(desk: Desk, **terms: Any) -> PaperExecutor:
    return PaperExecutor(desk.client, desk.settings, ExecutionTerms(**terms))


def answers(desk: Desk) -> list[dict[str, str]]:
    """What the executor wrote, without the time."""
    entries = [values for _, values in desk.client.xrange(desk.source) if values.get("source") == "harvest_paper"]
    return [{name: text for name, text in values.items() if name != "ts"} for values in entries]


def settle(desk: Desk, executor: PaperExecutor) -> None:
    """Back and forth until nobody has anything to say."""
    before = -1
    while before != (before := desk.client.xlen(desk.source)):
        executor.drain()
        desk.run()


def pending(desk: Desk) -> int:
    return int(desk.client.xpending(desk.settings.stream_trade_intent, keys.PAPER_GROUP)["pending"])


def test_an_intent_is_filled_at_the_tracked_mark_and_the_fill_reaches_its_book(desk: Desk) -> None:
    desk.run(BUY, price("106"))
    executor = paper(desk, slippage_bps=Decimal(10), fee_bps=Decimal(5))
    settle(desk, executor)
    assert executor.tally == {Answer.FILLED: 1}
    (filled,) = answers(desk)
    assert (filled["side"], filled["qty"], filled["price"], filled["fee"]) == ("SELL", "0.25", "105.894", "0.01323675")
    position = desk.position()
    assert (position.holding.qty, position.holding.fees) == (Decimal("0.75"), Decimal("0.01323675"))
    assert position.ladder_state.reservations == ()
    assert_all_accounted_for(desk)


def test_a_short_is_bought_back_above_the_mark(desk: Desk) -> None:
    desk.run(BUY | {"side": "SELL", "stop_loss": "110"}, price("94"))
    settle(desk, paper(desk, slippage_bps=Decimal(10)))
    (filled,) = answers(desk)
    assert (filled["side"], filled["price"]) == ("BUY", "94.094")


def test_the_whole_ladder_is_taken_once_each(desk: Desk) -> None:
    executor = paper(desk)
    for value in ("106", "111", "116", "118", "109", "120"):
        desk.run(price(value) if desk.position().is_open else BUY, price(value))
        settle(desk, executor)
    assert executor.tally == {Answer.FILLED: 3}
    assert desk.position().holding.qty == Decimal("0.25")
    assert_all_accounted_for(desk)


def test_an_intent_read_twice_is_filled_once(desk: Desk) -> None:
    desk.run(BUY, price("106"))
    executor = paper(desk)
    executor.drain()
    desk.client.xgroup_setid(desk.settings.stream_trade_intent, keys.PAPER_GROUP, "0")
    executor.drain()
    assert executor.tally == {Answer.FILLED: 1, Answer.REPEATED: 1}
    assert len(answers(desk)) == 1
    assert pending(desk) == 0


def test_an_executor_killed_after_reading_is_followed_by_one_that_answers(desk: Desk) -> None:
    desk.run(BUY, price("106"))
    paper(desk).ensure_group()
    desk.client.xreadgroup(keys.PAPER_GROUP, keys.PAPER_CONSUMER, {desk.settings.stream_trade_intent: ">"})
    assert pending(desk) == 1
    executor = paper(desk)
    executor.drain()
    assert executor.tally == {Answer.FILLED: 1}
    assert pending(desk) == 0


class Rival:
    """A client whose first look at a marker is followed by another executor's answer."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.met = desk, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.desk.client, name)

    def pipeline(self, transaction: bool) -> Any:
        pipe = self.desk.client.pipeline(transaction=transaction)
        look = pipe.time

        def time_then_lose() -> Any:
            if not self.met:
                self.met = True
                paper(self.desk).drain()
            return look()

        pipe.time = time_then_lose  # the race, at the moment it matters
        return pipe


def test_of_two_executors_at_once_one_answers(desk: Desk) -> None:
    desk.run(BUY, price("106"))
    client: Any = Rival(desk)
    executor = PaperExecutor(client, desk.settings, ExecutionTerms())
    executor.drain()
    assert executor.tally == {Answer.REPEATED: 1}
    assert len(answers(desk)) == 1
    assert pending(desk) == 0


def test_a_position_that_changes_meanwhile_is_looked_at_again(desk: Desk) -> None:
    desk.run(BUY, price("106"))
    sold = BUY | {"side": "SELL", "qty": "0.9", "price": "106"}
    executor = paper(desk)
    executor.ensure_group()
    original = PaperExecutor._read_and_execute

    def execute_then_sell(self: PaperExecutor, pipe: Any, order: Any) -> Any:
        done = original(self, pipe, order)
        if desk.position().holding.qty == 1:
            desk.run(sold)
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PaperExecutor, "_read_and_execute", execute_then_sell)
        executor.drain()
    (filled,) = answers(desk)
    assert filled["qty"] == "0.1"


def test_rejected_intents_are_tried_again_at_most_three_times(desk: Desk) -> None:
    desk.run(BUY, price("106"))
    executor = paper(desk, reject_share=1.0)
    settle(desk, executor)
    assert executor.tally == {Answer.REJECTED: 3}
    assert len({values["intent_id"] for values in answers(desk)}) == 3
    assert [record["decision"] for record in desk.journal("exhausted")] == ["exhausted"]
    assert desk.position().holding.qty == 1
    assert_all_accounted_for(desk)


def test_an_ignored_intent_is_acknowledged_and_keeps_its_quantity_reserved(desk: Desk) -> None:
    desk.run(BUY, price("106"))
    executor = paper(desk, ignore_share=1.0)
    settle(desk, executor)
    assert executor.tally == {Answer.IGNORED: 1}
    assert (answers(desk), pending(desk)) == ([], 0)
    assert desk.position().ladder_state.reserved == Decimal("0.25")


def test_an_order_for_more_than_is_held_takes_what_is_held(desk: Desk) -> None:
    desk.run(BUY, price("106"))
    desk.client.hset(keys.position("BTCUSDT"), "qty", "0.1")
    paper(desk).drain()
    (filled,) = answers(desk)
    assert filled["qty"] == "0.1"


def test_an_order_for_a_closed_position_is_rejected(desk: Desk) -> None:
    desk.run(BUY, price("106"), BUY | {"side": "SELL", "price": "106"})
    executor = paper(desk)
    settle(desk, executor)
    assert executor.tally == {Answer.REJECTED: 1}
    assert answers(desk)[0]["reason"] == "nothing_left"
    assert not desk.position().is_open
    assert_all_accounted_for(desk)


def test_an_intent_that_nobody_took_in_time_expires_and_its_rung_is_armed_again(redis: Client) -> None:
    desk = Desk(redis, **LIVE, HARVEST_SET_BE_AT_R="50", HARVEST_INTENT_TIMEOUT_SEC="1")
    desk.run(BUY, price("106"))
    (intent,) = desk.live_intents()
    expires = intent["expires_at"]
    wait_until(lambda: redis.time()[0] > desk.last_ms / 1000 + 2, 10, f"the server's clock is past {expires}")
    paper(desk).drain()
    (expired,) = answers(desk)
    assert expired["status"] == "EXPIRED"
    desk.run()
    assert len(desk.live_intents()) == 2


def test_a_book_that_cannot_be_read_has_its_orders_rejected(desk: Desk) -> None:
    desk.run(BUY, price("106"))
    desk.client.hset(keys.position("BTCUSDT"), "qty", "much")
    paper(desk).drain()
    assert answers(desk)[0]["reason"] == "position_unreadable"


def test_shadow_intents_are_acknowledged_and_never_filled(redis: Client) -> None:
    shadow = Desk(redis, HARVEST_SET_BE_AT_R="50")
    shadow.run(BUY, price("106"))
    for _, values in redis.xrange(shadow.settings.stream_harvest_suggestions):
        shadow.client.xadd(shadow.settings.stream_trade_intent, values)
    executor = paper(shadow)
    executor.drain()
    assert executor.tally == {Answer.SHADOW: 1}
    assert (answers(shadow), pending(shadow)) == ([], 0)


def test_stop_moves_are_acknowledged_and_only_noted(redis: Client) -> None:
    desk = Desk(redis, **LIVE, HARVEST_LIVE_STOPS="true")
    desk.run(BUY, price("106"))
    executor = paper(desk)
    executor.drain()
    assert executor.tally == {Answer.FILLED: 1, Answer.STOP_NOTED: 1}
    assert len(answers(desk)) == 1


def test_an_entry_that_is_not_an_intent_is_counted_and_does_not_stop_later_ones(desk: Desk) -> None:
    stream = desk.settings.stream_trade_intent
    bad: list[dict[Any, Any]] = [{"x": "y"}, {"payload": "{"}, {"payload": json.dumps({"intent_id": "hv-1"})}]
    for fields in bad:
        desk.client.xadd(stream, fields)
    desk.run(BUY, price("106"))
    executor = paper(desk)
    executor.drain()
    assert executor.tally == {Answer.MALFORMED: 3, Answer.FILLED: 1}
    assert desk.client.hget(keys.COUNTS, "paper:malformed") == "3"
    assert pending(desk) == 0


def test_an_intent_trimmed_while_pending_is_acknowledged(desk: Desk) -> None:
    desk.run(BUY, price("106"))
    paper(desk).ensure_group()
    desk.client.xreadgroup(keys.PAPER_GROUP, keys.PAPER_CONSUMER, {desk.settings.stream_trade_intent: ">"})
    desk.client.xtrim(desk.settings.stream_trade_intent, maxlen=0, approximate=False)
    paper(desk).drain()
    assert pending(desk) == 0


def test_every_key_it_writes_ends_or_is_bounded(desk: Desk) -> None:
    desk.run(BUY, price("106"))
    paper(desk).drain()
    (intent,) = desk.live_intents()
    assert 0 < desk.client.ttl(keys.paper_reply(intent["intent_id"])) <= 7 * 86_400


@pytest.fixture
def process(environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with program(PROGRAM, stderr=subprocess.DEVNULL, environ={**environ, **LIVE}) as running:
        yield running


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_answers_until_it_is_asked_to_stop(
    desk: Desk, process: subprocess.Popen[bytes], number: int
) -> None:
    desk.run(BUY, price("106"))
    wait_until(lambda: answers(desk), WITHIN_SEC, "the answer")
    process.send_signal(number)
    assert process.wait(WITHIN_SEC) == 0


def test_the_command_drains_once_and_says_what_it_did(desk: Desk, environ: dict[str, str]) -> None:
    desk.run(BUY, price("106"))
    done = subprocess.run([*PROGRAM, "--once"], env=environ, capture_output=True, text=True, check=True)  # noqa: S603 - our own program
    assert done.stderr.splitlines()[-1] == "filled=1"


def test_shares_of_more_than_everything_are_a_usage_error(environ: dict[str, str]) -> None:
    argv = [*PROGRAM, "--reject-share=0.7", "--ignore-share=0.7"]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    assert done.returncode == 2
    assert "sum to more than 1" in done.stderr


def test_a_restarted_server_is_found_again(environ: dict[str, str], server: EmbeddedServer) -> None:
    with EmbeddedServer(server.executable) as own:
        client = connect(own.url())
        desk = Desk(client, **LIVE, HARVEST_SET_BE_AT_R="50")
        with program(
            PROGRAM, stderr=subprocess.DEVNULL, environ={**environ, **LIVE, "REDIS_URL": own.url()}
        ) as running:
            wait_until(lambda: client.exists(desk.settings.stream_trade_intent), WITHIN_SEC, "the executor's group")
            own.restart()
            desk.run(BUY, price("106"))
            wait_until(lambda: answers(desk), WITHIN_SEC, "the answer")
            running.terminate()
            assert running.wait(WITHIN_SEC) == 0
        client.close()
