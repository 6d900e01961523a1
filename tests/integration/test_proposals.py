"""Cycles of proposals on a real server: what is read, decided, published and reported."""

import json
import logging
from collections.abc import Iterator
from typing import Any, cast

import inputs
import pytest
from inputs import NOW, market_state, position_hash, proposal, risk_proposal, settings, stream_entry, tracked_position
from redis.connection import AbstractConnection

from harvest_tasks import proposals, tasks
from harvest_tasks.proposing.cycle import run_cycle
from harvest_tasks.proposing.skip_reason import SkipReason
from harvest_tasks.proposing.summary import CycleSummary, ProposalOutcome, ProposalResult, warned_flaws
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.settings import model as settings_module
from harvest_tasks.wire.symbols import InvalidSymbol

REAL_ONLY = settings(synthetic_fallback="false")

FIELDS = [
    "harvest_action",
    "new_sl_proposed",
    "R_net",
    "risk_unit",
    "cost_est",
    "kill_score",
    "reason_codes",
    "sigma",
    "ts",
    "p_trend",
    "p_mr",
    "p_chop",
    "computed_at_utc",
    "position_side",
    "position_age_sec",
    "position_current_price",
    "position_entry_price",
    "position_unrealized_pnl",
    "k_regime_flip",
    "k_sigma_spike",
    "k_ts_drop",
    "k_age_penalty",
    "position_source",
    "market_state_source",
    "last_update_epoch",
    "schema",
]


@pytest.fixture(autouse=True)
def nothing_reported_yet() -> None:
    warned_flaws.forget()


def cycle(redis: Client, *names: str, now: float = NOW, **environ: str) -> CycleSummary:
    return run_cycle(redis, settings(**{"synthetic_fallback": "false", **environ}), names or ["BTCUSDT"], now)


def only(summary: CycleSummary) -> ProposalOutcome:
    (outcome,) = summary.outcomes
    return outcome


def source_of(outcome: ProposalOutcome) -> str:
    return outcome.fields["position_source"]


# What is published


def test_the_sample_position_is_published_as_specified(redis: Client) -> None:
    market_state(redis)
    risk_proposal(redis)
    position_hash(redis)
    assert only(cycle(redis)).result is ProposalResult.PUBLISHED
    held = proposal(redis)
    assert list(held) == FIELDS
    assert held == {
        **held,
        "harvest_action": "PARTIAL_25",
        "new_sl_proposed": "100.2",
        "R_net": "2.45",
        "risk_unit": "2",
        "cost_est": "0.1",
        "reason_codes": "harvest_partial_25,profit_lock",
        "computed_at_utc": "2026-01-23T14:30:00",
        "last_update_epoch": "1769178600",
        "position_side": "LONG",
        "position_age_sec": "3600",
        "position_current_price": "105",
        "position_entry_price": "100",
        "position_unrealized_pnl": "10",
        "position_source": "redis_hash",
        "market_state_source": "redis_hash",
        "schema": "1",
    }
    assert float(held["kill_score"]) == pytest.approx(0.5031249593105316, abs=1e-15)


def test_numbers_travel_as_plain_decimals(redis: Client) -> None:
    market_state(redis, "PEPEUSDT", sigma="1e-05", ts="-0.0")
    prices = dict.fromkeys(("entry_price", "current_price", "peak_price", "trough_price"), "8.7e-06")
    position_hash(redis, "PEPEUSDT", **prices, unrealized_pnl="0", current_sl="")
    cycle(redis, "PEPEUSDT")
    held = proposal(redis, "PEPEUSDT")
    assert (held["sigma"], held["ts"], held["position_entry_price"]) == ("0.00001", "0", "0.0000087")
    assert all("e" not in held[name] for name in ("R_net", "risk_unit", "cost_est", "kill_score"))


def test_a_stressed_regime_proposes_a_full_close(redis: Client) -> None:
    market_state(redis, **inputs.FLIPPED)
    position_hash(redis)
    cycle(redis)
    assert proposal(redis)["harvest_action"] == "FULL_CLOSE_PROPOSED"
    assert "kill_score_triggered,regime_flip,sigma_spike" in proposal(redis)["reason_codes"]


def test_r_of_a_thousandth_of_a_coin_is_that_of_a_whole_one(redis: Client) -> None:
    market_state(redis)
    position_hash(redis, qty="0.001", unrealized_pnl="0.005")
    cycle(redis)
    assert float(proposal(redis)["R_net"]) == pytest.approx(2.45)


def test_without_a_risk_proposal_the_configured_fallback_measures_the_risk(redis: Client) -> None:
    market_state(redis)
    position_hash(redis)
    cycle(redis, fallback_stop_pct="0.05")
    assert proposal(redis)["risk_unit"] == "5"


def test_an_unchanged_proposal_is_computed_and_not_published_again(redis: Client) -> None:
    market_state(redis)
    position_hash(redis)
    cycle(redis)
    outcome = only(cycle(redis, now=NOW + 10))
    assert outcome.result is ProposalResult.UNCHANGED
    assert outcome.fields["computed_at_utc"] == "2026-01-23T14:30:10"
    assert proposal(redis)["computed_at_utc"] == "2026-01-23T14:30:00"
    assert proposal(redis)["last_update_epoch"] == "1769178610"


def test_prefixes_and_stream_are_those_of_the_settings(redis: Client) -> None:
    inputs.write_hash(redis, "m:BTCUSDT", inputs.CALM)
    redis.hset("r:BTCUSDT", "stop_dist_pct", "0.04")
    position_hash(redis)
    cycle(
        redis,
        marketstate_prefix="m:",
        riskproposal_prefix="r:",
        harvest_prefix="h:",
        enable_stream="true",
        stream_name="s",
    )
    assert redis.hget("h:BTCUSDT", "risk_unit") == "4"
    assert redis.xlen("s") == 1


# Where positions come from


def test_auto_asks_the_hash_then_the_tracker_then_the_stream_then_synthetic(redis: Client) -> None:
    names = ["AAUSDT", "BBUSDT", "CCUSDT", "DDUSDT"]
    for name in names:
        market_state(redis, name)
    for name in names[:3]:
        stream_entry(redis, name)
    for name in names[:2]:
        tracked_position(redis, name)
    position_hash(redis, "AAUSDT")
    summary = cycle(redis, *names, synthetic_fallback="true")
    assert [source_of(outcome) for outcome in summary.outcomes] == [
        "redis_hash",
        "tracker",
        "redis_stream",
        "synthetic",
    ]


@pytest.mark.parametrize("source", ["redis_hash", "tracker", "redis_stream", "synthetic"])
def test_a_chosen_source_is_the_only_one(redis: Client, source: str) -> None:
    market_state(redis)
    position_hash(redis)
    tracked_position(redis)
    stream_entry(redis)
    assert source_of(only(cycle(redis, position_source=source))) == source


@pytest.mark.parametrize("source", ["redis_hash", "tracker", "redis_stream"])
def test_a_chosen_source_that_knows_nothing_has_no_position(redis: Client, source: str) -> None:
    market_state(redis)
    outcome = only(cycle(redis, position_source=source, synthetic_fallback="true"))
    assert outcome.reason is SkipReason.NO_POSITION


def test_the_newest_of_a_symbols_last_hundred_stream_entries_counts(redis: Client) -> None:
    market_state(redis)
    stream_entry(redis, current_price="101")
    stream_entry(redis, current_price="102")
    for _ in range(99):
        stream_entry(redis, "ETHUSDT")
    assert only(cycle(redis)).fields["position_current_price"] == "102"
    stream_entry(redis, "ETHUSDT")
    assert only(cycle(redis)).reason is None  # what was published is removed
    assert only(cycle(redis)).reason is SkipReason.NO_POSITION


def test_a_closed_position_in_the_first_source_that_knows_the_symbol_is_closed(redis: Client) -> None:
    market_state(redis)
    position_hash(redis, qty="0")
    tracked_position(redis)
    assert only(cycle(redis, synthetic_fallback="true")).reason is SkipReason.NO_POSITION


def test_a_source_that_cannot_be_used_is_not_passed_over(redis: Client) -> None:
    market_state(redis)
    position_hash(redis, entry_price="")
    tracked_position(redis)
    outcome = only(cycle(redis, synthetic_fallback="true"))
    assert outcome.reason is SkipReason.MISSING_NUMBER
    assert outcome.detail == "redis_hash: entry_price is missing"


# Hedge mode


def test_each_open_leg_has_a_proposal_under_its_books_name(redis: Client) -> None:
    market_state(redis)
    tracked_position(redis, "BTCUSDT:LONG")
    tracked_position(redis, "BTCUSDT:SHORT", qty="-1", mark="105", stop="")
    summary = cycle(redis)
    assert [(o.symbol, o.book) for o in summary.outcomes] == [
        ("BTCUSDT", "BTCUSDT:LONG"),
        ("BTCUSDT", "BTCUSDT:SHORT"),
    ]
    assert proposal(redis, "BTCUSDT:LONG")["position_side"] == "LONG"
    assert proposal(redis, "BTCUSDT:SHORT")["position_side"] == "SHORT"
    assert float(proposal(redis, "BTCUSDT:SHORT")["R_net"]) < 0
    assert not proposal(redis)


def test_open_legs_come_before_a_hash_that_cannot_distinguish_them(redis: Client) -> None:
    market_state(redis)
    position_hash(redis)
    cycle(redis)
    tracked_position(redis, "BTCUSDT:LONG")
    summary = cycle(redis)
    assert {(o.book, o.result) for o in summary.outcomes} == {
        ("BTCUSDT:LONG", ProposalResult.PUBLISHED),
        ("BTCUSDT", ProposalResult.REMOVED),
    }


def test_a_closed_leg_loses_its_proposal_and_the_other_keeps_its_own(redis: Client) -> None:
    market_state(redis)
    tracked_position(redis, "BTCUSDT:LONG")
    tracked_position(redis, "BTCUSDT:SHORT", qty="-1")
    cycle(redis)
    tracked_position(redis, "BTCUSDT:SHORT", qty="0")
    summary = cycle(redis)
    assert {(o.book, o.result) for o in summary.outcomes} == {
        ("BTCUSDT:LONG", ProposalResult.UNCHANGED),
        ("BTCUSDT:SHORT", ProposalResult.REMOVED),
    }
    assert only(cycle(redis)).book == "BTCUSDT:LONG"


def test_an_unusable_leg_does_not_hide_the_other(redis: Client) -> None:
    market_state(redis)
    tracked_position(redis, "BTCUSDT:LONG", mark="")
    tracked_position(redis, "BTCUSDT:SHORT", qty="-1")
    summary = cycle(redis)
    assert [(o.book, o.result) for o in summary.outcomes] == [
        ("BTCUSDT:LONG", ProposalResult.SKIPPED),
        ("BTCUSDT:SHORT", ProposalResult.PUBLISHED),
    ]


# Positions that close


def test_a_closed_position_takes_its_proposal_with_it(redis: Client) -> None:
    market_state(redis)
    tracked_position(redis)
    cycle(redis)
    tracked_position(redis, qty="0")
    assert only(cycle(redis)).result is ProposalResult.REMOVED
    assert not proposal(redis)
    assert only(cycle(redis)).reason is SkipReason.NO_POSITION


def test_a_book_that_is_tracked_no_more_takes_its_proposal_with_it(redis: Client) -> None:
    market_state(redis)
    tracked_position(redis)
    cycle(redis)
    tracked_position(redis, qty="0")
    redis.srem(keys.BOOKS, "BTCUSDT")
    assert only(cycle(redis)).result is ProposalResult.REMOVED
    assert not proposal(redis)


def test_a_position_that_no_source_knows_any_more_takes_its_proposal_with_it(redis: Client) -> None:
    market_state(redis)
    position_hash(redis)
    cycle(redis)
    redis.delete(keys.position_state("BTCUSDT"))
    assert only(cycle(redis)).result is ProposalResult.REMOVED


def test_a_proposal_is_removed_even_without_a_market_state(redis: Client) -> None:
    market_state(redis)
    position_hash(redis)
    cycle(redis)
    redis.delete("quantum:marketstate:BTCUSDT", keys.position_state("BTCUSDT"))
    assert only(cycle(redis)).result is ProposalResult.REMOVED


# Synthetic positions


def test_a_synthetic_position_is_tagged_everywhere(redis: Client, caplog: pytest.LogCaptureFixture) -> None:
    summary = cycle(redis, synthetic_fallback="true")
    held = proposal(redis)
    assert held["position_source"] == "synthetic"
    assert held["market_state_source"] == "neutral"
    assert held["reason_codes"] == "harvest_partial_25,profit_lock,synthetic_position"
    assert summary.synthetic == ["BTCUSDT"]
    assert redis.hget(keys.COUNTS, "proposals:synthetic") == "1"
    assert "synthetic positions: 1: BTCUSDT" in caplog.text


def test_a_synthetic_position_is_reported_once_until_it_was_a_real_one(
    redis: Client, caplog: pytest.LogCaptureFixture
) -> None:
    market_state(redis)
    for _ in range(3):
        cycle(redis, "BTCUSDT", "ETHUSDT", synthetic_fallback="true")
    assert [m for m in caplog.messages if "synthetic" in m] == [
        "proposals for synthetic positions: 2: BTCUSDT, ETHUSDT"
    ]
    for write in (position_hash, lambda client: client.delete(keys.position_state("BTCUSDT"))):
        write(redis)
        cycle(redis, "BTCUSDT", "ETHUSDT", synthetic_fallback="true")
    assert [m for m in caplog.messages if "synthetic" in m][1:] == ["proposals for synthetic positions: 1: BTCUSDT"]


def test_a_real_position_replaces_a_synthetic_one_at_once(redis: Client) -> None:
    market_state(redis)
    cycle(redis, synthetic_fallback="true")
    position_hash(redis)
    assert only(cycle(redis, synthetic_fallback="true")).result is ProposalResult.PUBLISHED
    assert proposal(redis)["position_source"] == "redis_hash"
    assert "synthetic" not in proposal(redis)["reason_codes"]


@pytest.mark.parametrize("source", ["auto", "synthetic"])
def test_no_position_is_ever_synthetic_in_live_mode(redis: Client, source: str) -> None:
    market_state(redis)
    # Settings refuse this combination at the start; the source must refuse it all the same.
    live = REAL_ONLY.model_copy(
        update={
            "harvest_mode": settings_module.Mode.LIVE,
            "synthetic_fallback": True,
            "position_source": settings_module.PositionSource(source),
        }
    )
    assert only(run_cycle(redis, live, ["BTCUSDT"], NOW)).reason is SkipReason.NO_POSITION
    assert not proposal(redis)


# What is skipped, and why


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"sigma": ""}, SkipReason.MISSING_NUMBER),
        ({"p_mr": "none"}, SkipReason.BAD_NUMBER),
        ({"p_chop": "1.5"}, SkipReason.OUT_OF_RANGE),
    ],
)
def test_an_unusable_market_state_is_a_reason_and_writes_nothing(
    redis: Client, broken: dict[str, str], reason: SkipReason
) -> None:
    market_state(redis, **broken)
    position_hash(redis)
    assert only(cycle(redis)).reason is reason
    assert not proposal(redis)


def test_no_market_state_is_a_reason_and_leaves_the_last_proposal_to_its_lifetime(redis: Client) -> None:
    market_state(redis)
    position_hash(redis)
    cycle(redis)
    redis.delete("quantum:marketstate:BTCUSDT")
    before = proposal(redis)
    assert only(cycle(redis, now=NOW + 10)).reason is SkipReason.NO_MARKET_STATE
    assert proposal(redis) == before


@pytest.mark.parametrize(
    "key",
    [
        "quantum:marketstate:BTCUSDT",
        "quantum:risk:proposal:BTCUSDT",
        "quantum:harvest:proposal:BTCUSDT",
        keys.position_state("BTCUSDT"),
    ],
)
def test_a_key_of_another_type_is_a_reason_for_its_symbol_alone(redis: Client, key: str) -> None:
    for name in ("BTCUSDT", "ETHUSDT"):
        market_state(redis, name)
        risk_proposal(redis, name)
        position_hash(redis, name)
    redis.delete(key)
    redis.set(key, "mine")
    broken, sound = cycle(redis, "BTCUSDT", "ETHUSDT").outcomes
    assert broken.reason is SkipReason.WRONG_KEY_TYPE
    assert sound.result is ProposalResult.PUBLISHED
    assert redis.get(key) == "mine"


def test_a_stream_key_of_another_type_concerns_only_who_needs_it(redis: Client) -> None:
    redis.set(keys.STREAM_EXECUTION, "mine")
    market_state(redis)
    position_hash(redis)
    sound, broken = cycle(redis, "BTCUSDT", "ETHUSDT").outcomes
    assert sound.result is ProposalResult.PUBLISHED
    assert broken.reason is SkipReason.WRONG_KEY_TYPE


def test_tracked_books_are_found_though_the_set_of_them_is_lost_to_another_type(redis: Client) -> None:
    market_state(redis)
    tracked_position(redis, "BTCUSDT:SHORT", qty="-1")
    redis.delete(keys.BOOKS)
    redis.set(keys.BOOKS, "mine")
    assert only(cycle(redis)).book == "BTCUSDT:SHORT"


def test_a_cycle_logs_its_sums_in_one_line(redis: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "harvest_tasks.proposing")
    for name in ("AAUSDT", "BBUSDT", "CCUSDT"):
        market_state(redis, name)
    position_hash(redis, "AAUSDT")
    position_hash(redis, "BBUSDT", entry_price="")
    position_hash(redis, "DDUSDT")
    cycle(redis, "AAUSDT", "BBUSDT", "CCUSDT", "DDUSDT")
    lines = [record.message for record in caplog.records if record.levelno == logging.DEBUG]
    assert lines == [
        "proposals: computed=1 published=1 unchanged=0 removed=0 skipped=3"
        " skipped:missing_number=1 skipped:no_market_state=1 skipped:no_position=1"
    ]
    assert "1: BBUSDT missing_number (redis_hash: entry_price is missing)" in caplog.text


def test_what_is_published_has_a_line_and_what_stays_the_same_has_none(
    redis: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "harvest_tasks.proposing")
    market_state(redis)
    position_hash(redis)
    for _ in range(3):
        cycle(redis)
    assert [message.split(" R_net")[0] for message in caplog.messages] == [
        "proposal published book=BTCUSDT harvest_action=PARTIAL_25"
    ]


def test_an_input_that_is_of_no_use_is_reported_once_until_it_changes(
    redis: Client, caplog: pytest.LogCaptureFixture
) -> None:
    market_state(redis)
    for price in ("", "", "x", "100", ""):
        position_hash(redis, entry_price=price)
        cycle(redis)
    assert caplog.text.count("entry_price is missing") == 2
    assert caplog.text.count("inputs that cannot be used") == 3


def test_a_line_names_five_books_at_most(redis: Client, caplog: pytest.LogCaptureFixture) -> None:
    cycle(redis, *(f"COIN{n}" for n in range(7)), synthetic_fallback="true")
    assert "7: COIN0, COIN1, COIN2, COIN3, COIN4 and 2 more" in caplog.text


def test_a_stale_market_state_is_used_and_warned_about(redis: Client, caplog: pytest.LogCaptureFixture) -> None:
    market_state(redis, ts_timestamp=str(NOW - 181))
    position_hash(redis)
    summary = cycle(redis)
    assert only(summary).result is ProposalResult.PUBLISHED
    assert list(summary.stale) == ["BTCUSDT"]
    assert "market states that are too old" in caplog.text
    assert list(cycle(redis, now=NOW - 1).stale) == []


# Cost and signs of life


@pytest.fixture
def sent(redis: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What goes to the server, one item per round trip."""
    trips: list[Any] = []
    send = AbstractConnection.send_packed_command

    def counted(self: AbstractConnection, command: Any, *args: Any, **kwargs: Any) -> None:
        trips.append(command)
        cast(Any, send)(self, command, *args, **kwargs)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", counted)
    yield trips


def test_a_cycle_makes_three_round_trips_however_many_symbols_it_has(redis: Client, sent: list[Any]) -> None:
    names = [f"COIN{n}" for n in range(50)]
    for name in names:
        market_state(redis, name)
        position_hash(redis, name)
    stream_entry(redis, "COIN1")
    cycle(redis, "COIN1")
    sent.clear()
    summary = cycle(redis, *names)
    assert summary.computed == 50
    assert len(sent) == 3  # read, publish, and the sign of life
    assert sum(b"XREVRANGE" in bytes(chunk) for chunk in sent[0]) == 1


def test_tracked_books_cost_one_more_round_trip_however_many_there_are(redis: Client, sent: list[Any]) -> None:
    names = [f"COIN{n}" for n in range(50)]
    for name in names:
        market_state(redis, name)
        tracked_position(redis, f"{name}:LONG")
        tracked_position(redis, f"{name}:SHORT", qty="-1")
    cycle(redis, "COIN1")
    sent.clear()
    assert cycle(redis, *names).computed == 100
    assert len(sent) == 4


def test_a_cycle_leaves_a_sign_of_life_even_when_nothing_changed(redis: Client) -> None:
    cycle(redis)
    cycle(redis, now=NOW + 10)
    assert redis.hget(keys.HEARTBEAT, "proposals_cycle_ms") == "1769178610000"
    assert redis.hget(keys.COUNTS, "proposals:skipped:no_position") == "2"


def test_only_exact_keys_of_ours_are_written(redis: Client) -> None:
    market_state(redis)
    risk_proposal(redis)
    position_hash(redis)
    tracked_position(redis)
    before = set(redis.keys())
    cycle(redis, enable_stream="true")
    assert set(redis.keys()) - before == {
        "quantum:harvest:proposal:BTCUSDT",
        "quantum:stream:harvest.proposal",
        keys.HEARTBEAT,
        keys.COUNTS,
    }


# Which symbols


def test_a_star_follows_every_symbol_that_fills_reached(redis: Client) -> None:
    for name in ("BTCUSDT", "ETHUSDT"):
        market_state(redis, name)
    tracked_position(redis, "BTCUSDT")
    tracked_position(redis, "ETHUSDT:LONG")
    tracked_position(redis, "ETHUSDT:SHORT", qty="0")
    tracked_position(redis, "SOLUSDT", qty="0")
    summary = cycle(redis, "*", synthetic_fallback="true")
    assert {o.book: o.result for o in summary.outcomes} == {
        "BTCUSDT": ProposalResult.PUBLISHED,
        "ETHUSDT:LONG": ProposalResult.PUBLISHED,
        "SOLUSDT": ProposalResult.SKIPPED,
    }


def test_a_star_without_positions_is_an_empty_cycle(redis: Client) -> None:
    assert cycle(redis, "*").outcomes == []


def test_a_symbol_named_twice_is_computed_once(redis: Client) -> None:
    assert len(cycle(redis, "BTCUSDT", "BTCUSDT").outcomes) == 1


def test_text_that_is_no_symbol_is_refused_before_anything_is_written(redis: Client) -> None:
    with pytest.raises(InvalidSymbol, match="'btcusdt' is not a symbol"):
        cycle(redis, "ETHUSDT", "btcusdt")
    assert redis.dbsize() == 0


# The tasks


@pytest.fixture
def worker(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment of a worker process."""
    monkeypatch.setenv("REDIS_URL", url)
    monkeypatch.setenv("SYNTHETIC_FALLBACK", "false")
    settings_module.current_settings.cache_clear()
    yield
    settings_module.current_settings.cache_clear()


def test_compute_proposal_returns_the_proposal(redis: Client, worker: None) -> None:
    market_state(redis)
    position_hash(redis)
    found = json.loads(json.dumps(proposals.compute_proposal("BTCUSDT")))
    assert set(found) == {*FIELDS, "symbol", "book", "result", "reason", "detail"}
    assert (found["symbol"], found["result"], found["harvest_action"]) == ("BTCUSDT", "published", "PARTIAL_25")


def test_compute_proposal_says_why_there_is_none(redis: Client, worker: None) -> None:
    found = proposals.compute_proposal("BTCUSDT")
    assert found == {
        "symbol": "BTCUSDT",
        "book": "BTCUSDT",
        "result": "skipped",
        "reason": "no_position",
        "detail": "",
    }


def test_compute_proposal_returns_both_legs(redis: Client, worker: None) -> None:
    market_state(redis)
    tracked_position(redis, "BTCUSDT:LONG")
    tracked_position(redis, "BTCUSDT:SHORT", qty="-1")
    found = proposals.compute_proposal("BTCUSDT")
    assert found["book"] == "BTCUSDT:LONG"
    assert [other["book"] for other in found["other_books"]] == ["BTCUSDT:SHORT"]


def test_compute_proposals_returns_the_sums(redis: Client, worker: None) -> None:
    market_state(redis)
    position_hash(redis)
    assert proposals.compute_proposals(["BTCUSDT", "ETHUSDT"]) == {
        "computed": 1,
        "published": 1,
        "unchanged": 0,
        "removed": 0,
        "skipped": 1,
        "skipped_by_reason": {"no_position": 1},
        "synthetic": 0,
        "stale_market_states": 0,
    }


@pytest.mark.parametrize("symbols", [(), ("*",), (["*"],)])
def test_compute_proposals_follows_the_tracker_by_default(
    redis: Client, worker: None, symbols: tuple[Any, ...]
) -> None:
    market_state(redis)
    tracked_position(redis)
    assert proposals.compute_proposals(*symbols)["published"] == 1


def test_an_empty_chunk_computes_nothing(redis: Client, worker: None) -> None:
    tracked_position(redis)
    assert proposals.compute_proposals([])["computed"] == 0


@pytest.mark.parametrize("symbol", ["*", "btc", ""])
def test_compute_proposal_takes_one_symbol(redis: Client, worker: None, symbol: str) -> None:
    with pytest.raises(InvalidSymbol):
        proposals.compute_proposal(symbol)


def test_the_heartbeat_is_the_servers_time(redis: Client, worker: None) -> None:
    tasks.heartbeat()
    seconds, _ = redis.time()
    assert 0 <= seconds * 1000 - int(str(redis.hget(keys.HEARTBEAT, "beat_ms"))) + 1000 < 5000
