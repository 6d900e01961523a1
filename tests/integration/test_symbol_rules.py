"""The rules of a symbol as a real server holds them: read together, remembered for a while, never in the way."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import pytest
from redis.exceptions import NoPermissionError

from harvest_tasks.fills import symbol_rules
from harvest_tasks.fills.symbol_rules import CACHE_SEC, SymbolRules, base_rules
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client, Command, connect, round_trip
from harvest_tasks.settings.model import Settings

NAMES = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


class Clock:
    """Stands still until it may go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def settings(**environ: str) -> Settings:
    return Settings.from_env({"HARVEST_MIN_NOTIONAL": "5", **environ})


def calls(client: Client) -> dict[str, int]:
    """How often the server ran each of the two commands."""
    stats = client.info("commandstats")
    return {name: stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("hget", "hgetall")}


def test_the_deployments_rules_come_from_its_settings() -> None:
    given = settings(
        HARVEST_LADDER="0.2:0.1,1:0.5",
        HARVEST_MIN_R="0.5",
        HARVEST_SET_BE_AT_R="0.9",
        HARVEST_TRAIL_ATR_MULT="3",
        CHANGE_EPS_PCT="0.002",
        HARVEST_MAX_ACTIONS_PER_MIN="12",
        HARVEST_MODE="live",
        HARVEST_LIVE_CONFIRM="yes",
    )
    found = base_rules(given)
    assert found.ladder == given.ladder
    assert len(found.ladder.rungs) == 1
    assert (found.set_be_at_r, found.trail_atr_mult) == (Decimal("0.9"), Decimal(3))
    assert found.min_stop_move_pct == Decimal("0.002")
    assert found.instrument.min_notional == 5
    assert found.max_parts == 12
    assert found.live
    assert (found.atr, found.overrides) == (None, "")


def test_symbols_of_which_nothing_is_written_follow_the_deployment(redis: Client) -> None:
    found = SymbolRules(redis, settings()).rules(NAMES)
    assert found == dict.fromkeys(NAMES, base_rules(settings()))


def test_each_symbol_has_its_own_atr_and_its_own_overrides(redis: Client) -> None:
    redis.hset("quantum:marketstate:BTCUSDT", mapping={"atr": "250.5", "sigma": "0.01"})
    redis.hset("quantum:marketstate:ETHUSDT", "atr", "8.7e-06")
    redis.hset(keys.overrides("ETHUSDT"), mapping={"min_r": "1", "trail_atr_mult": "abc"})
    found = SymbolRules(redis, settings()).rules(NAMES)
    assert [found[name].atr for name in NAMES] == [Decimal("250.5"), Decimal("0.0000087"), None]
    assert [len(found[name].ladder.rungs) for name in NAMES] == [3, 2, 3]
    assert found["ETHUSDT"].overrides.startswith("min_r=1; refused trail_atr_mult='abc': ")
    assert found["BTCUSDT"].overrides == found["SOLUSDT"].overrides == ""


def test_a_symbol_may_lower_the_least_r_to_rungs_that_the_deployment_cuts(redis: Client) -> None:
    redis.hset(keys.overrides("BTCUSDT"), "min_r", "0.1")
    found = SymbolRules(redis, settings(HARVEST_LADDER="0.2:0.1,1:0.5", HARVEST_LADDER_BASIS="remaining")).rules(NAMES)
    assert [len(found[name].ladder.rungs) for name in NAMES] == [2, 1, 1]
    assert found["BTCUSDT"].ladder.basis == "remaining"


def test_the_market_state_is_read_under_the_deployments_prefix(redis: Client) -> None:
    redis.hset("quantum:marketstate:BTCUSDT", "atr", "1")
    redis.hset("desk:market:BTCUSDT", "atr", "2")
    found = SymbolRules(redis, settings(MARKETSTATE_PREFIX="desk:market:")).rules(["BTCUSDT"])
    assert found["BTCUSDT"].atr == 2


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "1e5000000", "abc", " 1", "9" * 10**5, b"\xff\xfe"])
def test_an_atr_that_is_no_positive_number_is_none(redis: Client, text: str | bytes) -> None:
    redis.hset("quantum:marketstate:BTCUSDT", "atr", text)
    assert SymbolRules(redis, settings()).rules(["BTCUSDT"])["BTCUSDT"].atr is None


def test_a_hash_of_arbitrary_bytes_is_refused_in_one_printable_line(redis: Client) -> None:
    redis.hset(keys.overrides("BTCUSDT"), mapping={b"\xff\x00": b"\xfe", b"ladder": b"\xc3\x28", b"min_r": b"1"})
    found = SymbolRules(redis, settings()).rules(["BTCUSDT"])["BTCUSDT"]
    assert found.overrides.isprintable()
    assert found.overrides.startswith("min_r=1; refused ladder='\\udcc3(': holds a control character; refused ")


def test_keys_of_another_type_cost_their_symbol_its_own_rules_and_nobody_else_anything(redis: Client) -> None:
    redis.set(keys.overrides("BTCUSDT"), "min_r=1")
    redis.rpush("quantum:marketstate:ETHUSDT", "1")
    redis.hset("quantum:marketstate:BTCUSDT", "atr", "7")
    redis.hset(keys.overrides("ETHUSDT"), "min_r", "1")
    found = SymbolRules(redis, settings()).rules(NAMES)
    assert found["BTCUSDT"].overrides == "refused quantum:config:harvest:BTCUSDT: is not a hash"
    assert found["BTCUSDT"].ladder == base_rules(settings()).ladder
    assert (found["BTCUSDT"].atr, found["ETHUSDT"].atr) == (7, None)
    assert found["ETHUSDT"].overrides == "min_r=1"


def test_all_symbols_are_read_in_one_round_trip(redis: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def counted(client: Client, commands: Sequence[Command]) -> list[Any]:
        sizes.append(len(commands))
        return round_trip(client, commands)

    monkeypatch.setattr(symbol_rules, "round_trip", counted)
    monkeypatch.setattr(redis, "execute_command", lambda *args, **_: pytest.fail(f"a round trip of its own: {args}"))
    cache = SymbolRules(redis, settings())
    assert len(cache.rules([f"S{i}USDT" for i in range(500)])) == 500
    assert sizes == [1_000]


def test_what_was_read_is_remembered_and_read_again_when_it_is_old(redis: Client, clock: Clock) -> None:
    cache = SymbolRules(redis, settings(), clock)
    before = calls(redis)
    cache.rules(["BTCUSDT"])
    redis.hset(keys.overrides("BTCUSDT"), "min_r", "1")
    clock.now += CACHE_SEC - 0.001
    assert cache.rules(["BTCUSDT"])["BTCUSDT"].overrides == ""
    assert calls(redis) == {name: n + 1 for name, n in before.items()}
    clock.now += 0.001
    assert cache.rules(["BTCUSDT"])["BTCUSDT"].overrides == "min_r=1"
    assert calls(redis) == {name: n + 2 for name, n in before.items()}


def test_only_the_symbols_not_remembered_are_read(redis: Client, clock: Clock) -> None:
    cache = SymbolRules(redis, settings(), clock)
    cache.rules(["BTCUSDT"])
    clock.now += 3.0
    before = calls(redis)
    cache.rules(["BTCUSDT", "ETHUSDT", "BTCUSDT", "ETHUSDT"])
    assert calls(redis) == {name: n + 1 for name, n in before.items()}
    redis.hset(keys.overrides("BTCUSDT"), "min_r", "1")
    redis.hset(keys.overrides("ETHUSDT"), "min_r", "1")
    clock.now += 2.0
    # Being asked for meanwhile makes nothing younger.
    found = cache.rules(["BTCUSDT", "ETHUSDT"])
    assert [found[name].overrides for name in ("BTCUSDT", "ETHUSDT")] == ["min_r=1", ""]


def test_asking_for_nothing_asks_the_server_nothing(redis: Client) -> None:
    before = calls(redis)
    assert SymbolRules(redis, settings()).rules([]) == {}
    assert calls(redis) == before


def test_symbols_that_went_out_of_use_are_forgotten(redis: Client, clock: Clock) -> None:
    cache = SymbolRules(redis, settings(), clock)
    for i in range(50):
        cache.rules([f"S{i}USDT"])
        clock.now += 1.0
    assert len(cache._cached) <= 2 * CACHE_SEC + 1


@pytest.fixture
def denied_url(redis: Client, server_url: str) -> Iterator[str]:
    """Of a user who may not read whole hashes."""
    redis.execute_command("ACL", "SETUSER", "reader", "on", "nopass", "~*", "+@all", "-hgetall")
    yield server_url.replace("redis://", "redis://reader:any@")
    redis.execute_command("ACL", "DELUSER", "reader")


def test_any_other_error_of_the_server_is_raised_and_nothing_is_remembered(redis: Client, denied_url: str) -> None:
    redis.hset(keys.overrides("BTCUSDT"), "min_r", "1")
    with connect(denied_url) as client:
        cache = SymbolRules(client, settings())
        with pytest.raises(NoPermissionError):
            cache.rules(["BTCUSDT"])
        redis.execute_command("ACL", "SETUSER", "reader", "+hgetall")
        assert cache.rules(["BTCUSDT"])["BTCUSDT"].overrides == "min_r=1"
