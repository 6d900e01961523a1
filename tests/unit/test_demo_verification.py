"""The demo's check of Harvest against the kernel: it must notice everything."""

import json
from dataclasses import replace
from typing import Any

import entries
import pytest
from entries import price

from harvest_tasks.settings.model import Settings
from harvest_tasks.simulation.demo.recording import Recording, parse_intent
from harvest_tasks.simulation.demo.verification import FoldedSession, differences, fold_entries
from harvest_tasks.wire.position import position_fields

LIVE = Settings.from_env({"HARVEST_MODE": "live", "HARVEST_LIVE_CONFIRM": "yes", "HARVEST_LIVE_STOPS": "true"})
BUY = entries.BUY | {"fee": "1"}
SELL = BUY | {"side": "SELL"}
BEGAN_MS = 1_769_178_600_000


SESSION = [
    price("99"),
    BUY | {"trade_id": "1"},
    price("106"),
    BUY | {"trade_id": "1"},
    {"symbol": "BTCUSDT", "status": "NEW"},
    price("112"),
    BUY | {"symbol": "ETHUSDT"},
    price("106", "ETHUSDT"),
    SELL | {"symbol": "ETHUSDT", "price": "107"},
    SELL | {"price": "111", "trade_id": "2"},
]


def folded(*entries: dict[str, str]) -> FoldedSession:
    return fold_entries([(f"{BEGAN_MS + n}-0", fields) for n, fields in enumerate(entries)], LIVE)


def recording_of(made: FoldedSession) -> Recording:
    """What a Harvest would leave that does exactly what the kernel says."""
    ledgers_own = {"version": "7", "trades_generation": "1"}
    return Recording(
        entries=(),
        intents=[payload for payloads in made.intents.values() for payload in payloads],
        positions={book: position_fields(position) | ledgers_own for book, position in made.positions.items()},
        counts={**made.counts, "paper:filled": 3},
    )


@pytest.fixture
def made() -> FoldedSession:
    return folded(*SESSION)


@pytest.fixture
def left(made: FoldedSession) -> Recording:
    return recording_of(made)


def test_a_session_as_the_kernel_says_has_no_differences(made: FoldedSession, left: Recording) -> None:
    assert differences(left, made) == []


def test_the_fold_counts_as_harvest_does(made: FoldedSession) -> None:
    assert made.counts == {"in": 10, "applied": 7, "ignored": 2, "duplicate": 1}
    assert made.fills == 4
    assert [len(intents) for intents in made.intents.values()] == [3, 2]
    assert (made.pnl, made.lifecycles) == (14, [5, 9])


def tampered(left: Recording, n: int, **changed: Any) -> Recording:
    """With one intent's payload changed."""
    payload = json.dumps({**json.loads(left.intents[n]), **changed}, separators=(",", ":"))
    return replace(left, intents=[*left.intents[:n], payload, *left.intents[n + 1 :]])


@pytest.mark.parametrize(
    "changed", [{"qty": 0.26}, {"side": "BUY"}, {"reduce_only": False}, {"stop_price": 1}, {"trace_id": "1-1"}]
)
def test_a_tampered_intent_is_a_difference(made: FoldedSession, left: Recording, changed: dict[str, Any]) -> None:
    (found,) = differences(tampered(left, 0, **changed), made)
    assert found.startswith("BTCUSDT intent 1: ")
    assert f"{next(iter(changed))} published " in found


def test_other_bytes_of_the_same_meaning_are_a_difference(made: FoldedSession, left: Recording) -> None:
    respaced = replace(left, intents=[left.intents[0].replace(":", ": ", 1), *left.intents[1:]])
    assert differences(respaced, made) == ["BTCUSDT intent 1: other bytes"]


def test_a_missing_a_doubled_and_a_swapped_intent_are_differences(made: FoldedSession, left: Recording) -> None:
    missing = replace(left, intents=left.intents[:-1])
    doubled = replace(left, intents=[*left.intents, left.intents[-1]])
    swapped = replace(left, intents=[left.intents[1], left.intents[0], *left.intents[2:]])
    assert "published nothing" in differences(missing, made)[0]
    assert "folded nothing" in differences(doubled, made)[0]
    assert len(differences(swapped, made)) == 2


def test_intents_of_different_symbols_may_interleave(made: FoldedSession, left: Recording) -> None:
    interleaved = sorted(left.intents, key=lambda payload: parse_intent(payload)["symbol"], reverse=True)
    assert interleaved != left.intents
    assert differences(replace(left, intents=interleaved), made) == []


@pytest.mark.parametrize("name", ["qty", "stop", "spent", "epoch", "banked_pnl", "frozen", "reservations"])
def test_any_field_of_a_position_that_differs_is_named(made: FoldedSession, left: Recording, name: str) -> None:
    changed = {**left.positions, "ETHUSDT": {**left.positions["ETHUSDT"], name: "777"}}
    (found,) = differences(replace(left, positions=changed), made)
    assert found.startswith(f"ETHUSDT {name}: tracked '777'")


def test_a_book_that_should_not_be_there_or_is_not_is_a_difference(made: FoldedSession, left: Recording) -> None:
    extra = {**left.positions, "XRPUSDT": left.positions["ETHUSDT"]}
    assert differences(replace(left, positions=extra), made)
    assert differences(replace(left, positions={"BTCUSDT": left.positions["BTCUSDT"]}), made)


@pytest.mark.parametrize("name", ["in", "applied", "duplicate", "deadlettered", "ignored"])
def test_a_count_that_is_off_by_one_is_a_difference(made: FoldedSession, left: Recording, name: str) -> None:
    counts = {**left.counts, name: left.counts.get(name, 0) + 1}
    (found,) = differences(replace(left, counts=counts), made)
    assert found.startswith(f"{name}: counted ")


def test_money_that_the_fills_did_not_move_is_a_difference(made: FoldedSession, left: Recording) -> None:
    made.cash += 1
    assert differences(left, made) == ["the fills moved 15 of cash, the positions realized 14"]


def test_a_position_that_is_still_open_is_a_difference() -> None:
    made = folded(BUY)
    assert differences(recording_of(made), made) == ["still open: BTCUSDT"]


def test_more_differences_than_one_can_read_are_counted(made: FoldedSession, left: Recording) -> None:
    many = replace(left, intents=[*left.intents[:3]] * 5)
    assert differences(many, made)[-1].startswith("ETHUSDT intent 2: ")
    assert "BTCUSDT: 7 more intents differ" in differences(many, made)


def test_the_digest_leaves_times_out_and_nothing_else(left: Recording) -> None:
    assert tampered(left, 0, trace_id="1-1", timestamp="later", expires_at="later").digest == left.digest
    assert tampered(left, 0, qty=0.26).digest != left.digest
    assert replace(left, intents=left.intents[::-1]).digest == left.digest
