"""Runs the real code in an empty database of the state server: the kill switch, a rung that fires once, the rate limit,
one cycle of proposals. Deletes its keys at the end.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, Final

from redis.exceptions import NoPermissionError, ResponseError

from harvest_tasks.fills.brain import Brain
from harvest_tasks.fills.stream import InputStream
from harvest_tasks.fills.watcher import watch
from harvest_tasks.operations.intents import newest_intents
from harvest_tasks.operations.kill_switch import set_kill_switch
from harvest_tasks.operations.proof.check import CheckResult, check_of, fails, not_run, passes
from harvest_tasks.proposing.cycle import run_cycle
from harvest_tasks.proposing.summary import ProposalResult
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client, connect
from harvest_tasks.server.clock import server_ms, server_sec
from harvest_tasks.settings import redis_url
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.position import HELD_FIELD
from kernel.positions.ladder import Rung

SUBJECT: Final = "rehearsal"
HIGHEST: Final = 15
"""A server has 16 databases by default."""
CLAIM_SEC: Final = 300
SYMBOL: Final = "PROOFUSDT"
OTHER: Final = "PROOF2USDT"
ENTRY: Final = 100
STOP: Final = 90
_PATIENCE_SEC: Final = 10.0
_FIX: Final = "keep the kill switch on, and run make test with this release"
CHOSEN: Final = frozenset(Settings.model_fields) - {
    *("redis_host", "redis_port", "redis_db", "broker_url", "result_backend", "instruments_file", "symbols"),
    *("harvest_min_notional", "harvest_cost_bps", "position_source", "enable_stream"),
}
"""The settings that a rehearsal uses: all but addresses, and the exchange's rules for real symbols."""
CALM: Final = {"sigma": "0.01", "ts": "0.35", "p_trend": "0.6", "p_mr": "0.2", "p_chop": "0.2"}


class NoRoom(Exception):
    """No database of the server is empty."""


def rehearse(settings: Settings, environ: Mapping[str, str]) -> list[CheckResult]:
    """The results, in order; each check goes on from the state that the one before it left."""
    try:
        with rehearsal_database(settings, environ) as rehearsal:
            return [
                check(rehearsal)
                for check in (rehearse_kill_switch, rehearse_each_once, rehearse_rate_limit, rehearse_one_cycle)
            ]
    except NoRoom as why:
        return [not_rehearsed(str(why))]
    except NoPermissionError as refused:
        return [not_rehearsed(f"{refused}: run it as the server's owner")]


@check_of(SUBJECT)
def not_rehearsed(why: str) -> CheckResult:
    return not_run(why)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A client of the empty database, and settings that point to it."""

    client: Client
    settings: Settings

    def feed(self, symbol: str, **fields: str) -> None:
        """Take one entry through the whole path, without Celery."""
        self.client.xadd(self.settings.stream_execution_result, dict[Any, Any]({"symbol": symbol, **fields}))
        InputStream(self.client, self.settings).ensure_group()
        watch(self.client, self.settings, 0.0, lambda _: None)
        self.process(symbol)

    def process(self, symbol: str) -> None:
        Brain(self.client, self.settings).process([symbol], monotonic() + _PATIENCE_SEC)

    def open(self, symbol: str) -> None:
        fill = {"side": "BUY", "qty": "1", "price": str(ENTRY), "stop_loss": str(STOP), "trade_id": "1"}
        self.feed(symbol, status="FILLED", **fill)

    def price(self, symbol: str) -> None:
        """Feed a price just above the first rung."""
        self.feed(symbol, status="PRICE_UPDATE", price=f"{ENTRY + (ENTRY - STOP) * self.rung.r + 1}")

    def forget(self, names: Sequence[str]) -> None:
        if names:
            self.client.delete(*names)

    def close(self) -> None:
        """Delete every key whose name is Harvest's; keys of others stay."""
        self.forget([name for name in self.client.scan_iter(count=1000) if self._is_ours(name)])

    def _is_ours(self, name: str) -> bool:
        chosen = self.settings.model_dump().values()
        prefixes = (self.settings.marketstate_prefix, self.settings.riskproposal_prefix, self.settings.harvest_prefix)
        return name.startswith(("quantum:", *prefixes)) or name in chosen

    @property
    def rung(self) -> Rung:
        return self.settings.ladder.rungs[0]

    def harvests(self, symbol: str) -> int:
        """How many harvests were published."""
        found = newest_intents(self.client, self.settings, 100, symbol)
        return sum(intent.stop_price is None for intent in found)

    def held(self, symbol: str) -> str:
        """Why a due intent was held back."""
        return str(self.client.hget(keys.position(symbol), HELD_FIELD) or "")


@check_of(f"{SUBJECT}: kill switch")
def rehearse_kill_switch(rehearsal: Rehearsal) -> CheckResult:
    set_kill_switch(rehearsal.client, rehearsal.settings.harvest_kill_switch_key, killed=True)
    rehearsal.open(SYMBOL)
    rehearsal.price(SYMBOL)
    killed, why = rehearsal.harvests(SYMBOL), rehearsal.held(SYMBOL)
    set_kill_switch(rehearsal.client, rehearsal.settings.harvest_kill_switch_key, killed=False)
    rehearsal.process(SYMBOL)
    published = rehearsal.harvests(SYMBOL)
    if (killed, published) != (0, 1) or "killed" not in why:
        return fails(f"{killed} intents while it was on, {published} after it was turned off", _FIX)
    return passes(f"on: the rung at {rehearsal.rung.name} R was held back; off: it was published")


@check_of(f"{SUBJECT}: each once")
def rehearse_each_once(rehearsal: Rehearsal) -> CheckResult:
    """Repeats the price and the fill, with and without the dedup keys."""
    rehearsal.price(SYMBOL)
    rehearsal.open(SYMBOL)
    names = list(rehearsal.client.scan_iter(keys.dedup(SYMBOL, "*")))
    rehearsal.forget(names)
    rehearsal.price(SYMBOL)
    count, duplicates = rehearsal.harvests(SYMBOL), int(rehearsal.client.hget(keys.COUNTS, "duplicate") or 0)
    if (count, duplicates) != (1, 1) or not names:
        return fails(f"{count} harvests, {duplicates} duplicates, {len(names)} dedup keys", _FIX)
    return passes(f"a repeated fill and price changed nothing, with or without the {len(names)} dedup keys")


@check_of(f"{SUBJECT}: rate limit")
def rehearse_rate_limit(rehearsal: Rehearsal) -> CheckResult:
    most = rehearsal.settings.harvest_max_actions_per_min
    rehearsal.client.lpush(keys.WINDOW, *[server_ms(rehearsal.client)] * most)
    rehearsal.open(OTHER)
    rehearsal.price(OTHER)
    count, why = rehearsal.harvests(OTHER), rehearsal.held(OTHER)
    if count or "rate_limited" not in why:
        return fails(f"{count} harvests beyond {most} in a minute", _FIX)
    return passes(f"after {most} intents the next one was held back")


@check_of(f"{SUBJECT}: one cycle")
def rehearse_one_cycle(rehearsal: Rehearsal) -> CheckResult:
    """Runs `harvest propose --once` twice."""
    rehearsal.client.hset(rehearsal.settings.marketstate_prefix + SYMBOL, mapping=dict[Any, Any](CALM))
    done = [run_cycle(rehearsal.client, rehearsal.settings, [SYMBOL], server_sec(rehearsal.client)) for _ in range(2)]
    results = [outcome.result for summary in done for outcome in summary.outcomes]
    if results != [ProposalResult.PUBLISHED, ProposalResult.UNCHANGED]:
        return fails(f"the results were {', '.join(results)}", _FIX)
    return passes("Single cycle complete: published once, unchanged the second time")


@contextmanager
def rehearsal_database(settings: Settings, environ: Mapping[str, str]) -> Iterator[Rehearsal]:
    """A rehearsal in the highest empty database, emptied again at the end. Raises `NoRoom`."""
    client, url = _claimed(settings)
    kept = {name: text for name, text in environ.items() if name.lower() in CHOSEN}
    rehearsal = Rehearsal(client, Settings.from_env({**kept, "REDIS_URL": url}))
    try:
        yield rehearsal
    finally:
        rehearsal.close()
        client.close()


def _claimed(settings: Settings) -> tuple[Client, str]:
    """A client and the URL of an empty database, now claimed by one key."""
    state = redis_url.parse_address(settings.redis_url)
    taken = {state.db, *(_database(url) for url in (settings.broker_url, settings.result_backend))}
    for db in range(HIGHEST, -1, -1):
        url = replace(state, db=db).for_redis()
        client = connect(url)
        if db not in taken and _claim(client):
            return client, url
        client.close()
    raise NoRoom("no database of the server is empty")


def _database(url: str) -> int:
    return redis_url.parse_address(url, redis_url.CELERY_FORMS).db


def _claim(client: Client) -> bool:
    try:
        if client.dbsize() or not client.set(keys.PROOF, "1", nx=True, ex=CLAIM_SEC):
            return False
    except NoPermissionError:
        raise
    except ResponseError:
        # The server has fewer databases.
        return False
    return int(client.dbsize()) == 1
