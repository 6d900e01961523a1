"""A server whose clock was set back: what was stamped later than now happened before, and holds nobody up for long."""

import pytest
from desk import Desk

from harvest_tasks.fills.group_position import InputProgress
from harvest_tasks.fills.lease import LEASE_MS
from harvest_tasks.fills.sweep import sweep, unblock
from harvest_tasks.reconciling.audit import Audit
from harvest_tasks.reconciling.mismatch import SECOND_LOOK_MS, continued_observation
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
LIMIT = 4
PER_BOOK = 2
"""A harvest and a break-even stop at once."""


@pytest.fixture
def desk(redis: Client) -> Desk:
    desk = Desk(redis, HARVEST_MAX_ACTIONS_PER_MIN=str(LIMIT))
    desk.now_ms = desk.server_ms()
    return desk


def move_clock(desk: Desk, by_ms: int) -> int:
    """What it says then."""
    assert desk.now_ms is not None
    desk.now_ms += by_ms
    return desk.now_ms


def bought(symbol: str) -> dict[str, str]:
    return {"symbol": symbol, "status": "FILLED", "side": "BUY", "qty": "1", "price": "100", "stop_loss": "90"}


def due(desk: Desk, symbol: str) -> None:
    """Open a book whose price is beyond a rung at this moment."""
    desk.run({**bought(symbol), "ts": str(desk.now_ms)}, marked(desk, symbol))


def marked(desk: Desk, symbol: str, price: str = "106") -> dict[str, str]:
    return {"symbol": symbol, "status": "PRICE_UPDATE", "price": price, "ts": str(desk.now_ms)}


def window(desk: Desk) -> list[int]:
    return [int(at) for at in desk.client.lrange(keys.WINDOW, 0, -1)]


def held(desk: Desk) -> list[tuple[str, str]]:
    return [(record["book"], record["reason"]) for record in desk.journal("held")]


def fill_the_window(desk: Desk) -> None:
    for n in range(LIMIT // PER_BOOK):
        due(desk, f"C{n}USDT")
    assert len(desk.suggestions()) == LIMIT


def test_after_the_clock_was_set_back_the_rate_limit_holds_for_a_minute_and_no_longer(desk: Desk) -> None:
    fill_the_window(desk)
    move_clock(desk, -HOUR_MS)
    due(desk, "ETHUSDT")
    assert set(held(desk)) == {("ETHUSDT", "rate_limited")}
    move_clock(desk, MINUTE_MS - 1)
    desk.run(marked(desk, "ETHUSDT"))
    assert len(desk.suggestions()) == LIMIT
    move_clock(desk, 1)
    desk.run(marked(desk, "ETHUSDT"))
    assert len(desk.suggestions()) == LIMIT + PER_BOOK


def test_the_minute_begins_with_the_first_commit_after_the_step(desk: Desk) -> None:
    fill_the_window(desk)
    move_clock(desk, -HOUR_MS)
    seen = desk.now_ms
    for _ in range(2):
        desk.run(marked(desk, "C0USDT", "99"))
        assert window(desk) == [seen] * LIMIT
        move_clock(desk, 30_000)


def test_only_what_is_ahead_of_the_clock_is_set_back_with_it(desk: Desk) -> None:
    now = move_clock(desk, 0)
    desk.client.rpush(keys.WINDOW, *(now + ahead for ahead in (5_000, 1, 0, -1, -30_000)))
    due(desk, "C0USDT")
    assert window(desk) == [now, now, now, now - 1, now - 30_000]


def test_a_step_back_and_forth_lets_no_more_through_than_one_minute_does(desk: Desk) -> None:
    fill_the_window(desk)
    move_clock(desk, -10_000)
    due(desk, "ETHUSDT")
    move_clock(desk, 10_000)
    desk.run(marked(desk, "ETHUSDT", "107"))
    assert len(desk.suggestions()) == LIMIT


def test_a_book_that_saw_prices_before_the_step_lives_on_prices_by_key(desk: Desk) -> None:
    """Stream ids never go back: what the stream brings is from the future until the clock has caught up."""
    ahead = desk.server_ms() + HOUR_MS
    opened, mark = bought("C0USDT"), {"symbol": "C0USDT", "status": "PRICE_UPDATE", "price": "106"}
    desk.feed(opened, at=f"{ahead}-0")
    desk.feed(mark, at=f"{ahead}-1")
    desk.feed({**mark, "ts": str(desk.server_ms())})
    desk.now_ms = None
    desk.route()
    desk.process()
    assert {reason for _, reason in held(desk)} == {"stale"}
    desk.client.hset(keys.ticker("C0USDT"), mapping={"markPrice": "106.5", "ts": str(desk.server_ms())})
    sweep(desk.client, desk.settings)
    desk.process()
    assert len(desk.suggestions()) == PER_BOOK


def test_a_difference_noted_before_the_step_is_confirmed_in_the_usual_time() -> None:
    notes = {"C0USDT": continued_observation({}, "C0USDT", "it", audit(HOUR_MS)).to_text()}
    first = continued_observation(notes, "C0USDT", "it", audit(0))
    later = audit(SECOND_LOOK_MS)
    assert continued_observation({"C0USDT": first.to_text()}, "C0USDT", "it", later).has_lasted(later)


@pytest.mark.parametrize("key", [keys.LEASE, keys.lock("C0USDT")])
def test_what_a_dead_holder_left_before_the_step_holds_nobody_up(desk: Desk, key: str) -> None:
    desk.client.set(key, "a dead one's", px=HOUR_MS)
    unblock(desk.client, ["C0USDT"], desk.settings.harvest_lock_ttl_sec * 1000)
    assert 0 < desk.client.pttl(key) <= max(LEASE_MS, desk.settings.harvest_lock_ttl_sec * 1000)


@pytest.mark.parametrize("key", [keys.LEASE, keys.lock("C0USDT")])
def test_what_a_holder_took_after_the_step_is_its_own_for_its_whole_time(desk: Desk, key: str) -> None:
    desk.client.set(key, "a live one's", px=500)
    unblock(desk.client, ["C0USDT"], desk.settings.harvest_lock_ttl_sec * 1000)
    assert 0 < desk.client.pttl(key) <= 500


def audit(now_ms: int) -> Audit:
    return Audit(now_ms, InputProgress("0-0", "0-0", None), frozenset(), (), (), True)
