"""What an executor on paper answers."""

from decimal import Decimal
from typing import Any

import pytest
from builders import fill, long_100, mark, run, short_100

from harvest_tasks.simulation.paper.execution import Answer, ExecutionTerms, execute
from harvest_tasks.simulation.paper.order import IntentType, Order
from harvest_tasks.wire.execution_result import Routed, parse
from kernel.positions.entry import Entry, Fill, OrderEnded, Side
from kernel.positions.position import Position

NOW_MS = 1_769_178_600_000


def order(**changed: Any) -> Order:
    values: dict[str, Any] = {
        "intent_id": "hv-1",
        "intent_type": IntentType.REDUCE_ONLY,
        "symbol": "BTCUSDT",
        "position_side": "BOTH",
        "position_id": "BTCUSDT:1",
        "side": Side.SELL,
        "qty": Decimal("0.25"),
        "dry_run": False,
        "expires_ms": NOW_MS + 1,
        "stop_price": None,
    }
    return Order(**{**values, **changed})


def held(*entries: Entry) -> Position:
    position, _ = run(entries)
    return position


def costs(slippage: str = "0", fee: str = "0", **shares: Any) -> ExecutionTerms:
    return ExecutionTerms(Decimal(slippage), Decimal(fee), **shares)


def test_a_fill_names_the_intent_and_what_it_took() -> None:
    done = execute(order(), held(long_100(), mark("105")), costs(), NOW_MS)
    assert done.answer is Answer.FILLED
    assert done.entry == {
        "status": "FILLED",
        "symbol": "BTCUSDT",
        "position_side": "BOTH",
        "intent_id": "hv-1",
        "source": "harvest_paper",
        "ts": str(NOW_MS),
        "side": "SELL",
        "trade_id": "paper-hv-1",
        "qty": "0.25",
        "price": "105",
        "fee": "0",
    }


@pytest.mark.parametrize(("opening", "side", "price"), [(long_100(), "SELL", "99.9"), (short_100(), "BUY", "100.1")])
def test_slippage_is_never_to_the_desks_advantage(opening: Fill, side: str, price: str) -> None:
    done = execute(order(side=Side(side)), held(opening), costs(slippage="10"), NOW_MS)
    assert done.entry is not None
    assert done.entry["price"] == price


def test_the_fee_is_a_share_of_the_value_of_the_fill() -> None:
    done = execute(order(), held(long_100()), costs(slippage="10", fee="5"), NOW_MS)
    assert done.entry is not None
    assert done.entry["fee"] == "0.0124875"


def test_a_fill_takes_at_most_what_is_held() -> None:
    done = execute(order(qty=Decimal(7)), held(long_100()), costs(), NOW_MS)
    assert done.entry is not None
    assert done.entry["qty"] == "1"


@pytest.mark.parametrize(
    ("position", "changed", "reason"),
    [
        (Position("BTCUSDT"), {}, "nothing_left"),
        (held(long_100(), fill("SELL", "1", "101")), {}, "nothing_left"),
        (held(long_100(), fill("SELL", "2", "101")), {}, "another_lifecycle"),
        (held(long_100()), {"side": Side.BUY}, "would_not_reduce"),
        (None, {}, "position_unreadable"),
    ],
)
def test_an_order_that_would_not_reduce_its_position_is_rejected(
    position: Position | None, changed: dict[str, Any], reason: str
) -> None:
    done = execute(order(**changed), position, costs(), NOW_MS)
    assert done.answer is Answer.REJECTED
    assert done.entry is not None
    assert (done.entry["status"], done.entry["reason"]) == ("REJECTED", reason)


def test_an_order_past_its_time_expires() -> None:
    done = execute(order(expires_ms=NOW_MS), held(long_100()), costs(), NOW_MS)
    assert done.entry is not None
    assert (done.answer, done.entry["status"]) == (Answer.EXPIRED, "EXPIRED")


def test_every_answer_is_parsed_as_what_it_means() -> None:
    filled = execute(order(), held(long_100()), costs("1", "5"), NOW_MS)
    refused = execute(order(), None, costs(), NOW_MS)
    for done, kind in ((filled, Fill), (refused, OrderEnded)):
        assert done.entry is not None
        parsed = parse(f"{NOW_MS}-0", done.entry)
        assert isinstance(parsed, Routed)
        assert (parsed.symbol, parsed.book) == ("BTCUSDT", "BTCUSDT" if kind is Fill else None)
        assert isinstance(parsed.entry, kind)
        assert parsed.entry.intent_id == "hv-1"


def test_what_goes_wrong_depends_on_seed_and_id_alone() -> None:
    ids = [f"hv-{n}" for n in range(2_000)]
    fates = [costs(reject_share=0.2, ignore_share=0.1, seed="7").failure(each) for each in ids]
    assert fates == [costs(reject_share=0.2, ignore_share=0.1, seed="7").failure(each) for each in ids]
    assert fates != [costs(reject_share=0.2, ignore_share=0.1, seed="8").failure(each) for each in ids]
    assert 300 < fates.count(Answer.REJECTED) < 500
    assert 130 < fates.count(Answer.IGNORED) < 270


@pytest.mark.parametrize(
    ("all_of_them", "none"),
    [(costs(reject_share=1.0), costs(reject_share=0.0)), (costs(ignore_share=1.0), costs(ignore_share=0.0))],
    ids=["reject_share", "ignore_share"],
)
def test_a_share_of_one_is_all_and_of_zero_none(all_of_them: ExecutionTerms, none: ExecutionTerms) -> None:
    assert all(all_of_them.failure(f"hv-{n}") for n in range(100))
    assert not any(none.failure(f"hv-{n}") for n in range(100))


def test_an_ignored_order_is_not_answered() -> None:
    done = execute(order(), held(long_100()), costs(ignore_share=1.0), NOW_MS)
    assert (done.answer, done.entry) == (Answer.IGNORED, None)
