"""Shadow mode, the default, with everything running: what is fed, what comes out."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import inputs
import pytest
from cluster import Program, beat_program
from desk import Desk
from e2e.workload import TIMES, Outcome, essence, feed, folded, outcome, random_entries, seeded, settled
from entries import BUY, price
from pytest_celery import CeleryTestSetup
from waiting import wait_until

from harvest_tasks.server import keys
from harvest_tasks.server.client import Client

PROMISED_SEC = 2.0
READ_LASTS_SEC = 1.5
"""A worker that stops consuming still takes what the read brings that it is in, for up to a second."""
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "ADAUSDT")
PROPOSALS = "quantum:stream:harvest.proposal"

Environ = Callable[[str], dict[str, str]]

CLIENT = """
import json
from harvest_tasks.celery import app
from harvest_tasks.proposals import compute_proposal
try:
    print(json.dumps(compute_proposal.delay({symbol!r}).get(timeout=5)))
except Exception as error:
    print(f"{{type(error).__name__}}: {{error}}")
"""


@pytest.fixture(scope="module")
def deployment() -> dict[str, str]:
    return {"ENABLE_STREAM": "true"}


def test_all_nodes_are_up(celery_setup: CeleryTestSetup) -> None:
    assert celery_setup.ready(docker=True, control=True)
    assert [node.worker_name for node in celery_setup.worker_cluster] == ["fills-1", "fills-2", "proposals", "adhoc"]


def test_a_fill_and_a_price_become_one_suggestion_and_no_intent(desk: Desk) -> None:
    desk.feed(BUY, price("105.2"))
    wait_until(lambda: len(desk.suggestions()) == 2, 5.0, "the suggestion and the move of the stop")
    (harvest,) = [intent for intent in desk.suggestions() if intent["intent_type"] == "HARVEST_PARTIAL"]
    assert (harvest["side"], harvest["qty"], harvest["reason"]) == ("SELL", 0.25, "R=0.52 >= 0.5")
    assert harvest["dry_run"] is True
    assert desk.live_intents() == []


def test_killed_it_tracks_and_publishes_nothing_until_the_switch_goes_off(
    desk: Desk, measured: Callable[[str], None]
) -> None:
    desk.client.set("quantum:kill", "1")
    desk.feed(BUY, price("106"))
    settled(desk)
    assert desk.position().holding.qty == 1
    assert desk.suggestions() == []
    assert {record["reason"] for record in desk.journal("held")} == {"killed"}
    desk.client.set("quantum:kill", "0")
    off = monotonic()
    wait_until(lambda: len(desk.suggestions()) == 2, PROMISED_SEC, "what is due comes out without a new price")
    measured(f"{monotonic() - off:.2f} s from the switch to the suggestion")


def test_a_malformed_entry_holds_up_nothing_behind_it(desk: Desk) -> None:
    eth = BUY | {"symbol": "ETHUSDT"}
    desk.feed(BUY, eth, eth | {"qty": "NaN"}, price("-1"), {"payload": "{"}, eth, price("106"), price("106", "ETHUSDT"))
    settled(desk)
    assert [message["reason"].partition(":")[0] for message in desk.deadletters()] == [
        "not_finite",
        "signed",
        "not_json",
    ]
    assert {intent["symbol"] for intent in desk.suggestions()} == {"BTCUSDT"}
    assert desk.position("BTCUSDT").frozen == ""
    assert desk.position("ETHUSDT").frozen.startswith("refused_entry")
    assert desk.position("ETHUSDT").holding.qty == 2


def test_two_workers_keep_the_order_of_each_symbol(
    desk: Desk, replay: Callable[[], Outcome], measured: Callable[[str], None]
) -> None:
    entries = random_entries(seeded(7), 3_000, SYMBOLS, flips=0.6)
    began = monotonic()
    feed(desk, entries, batch=20)
    settled(desk)
    measured(f"{len(entries)} entries in {monotonic() - began:.2f} s")
    positions = {book: desk.position(book) for book in SYMBOLS}
    assert min(position.epoch for position in positions.values()) > 100
    assert {book: essence(position) for book, position in positions.items()} == folded(desk)
    assert outcome(desk) == replay()


def test_entries_read_again_from_the_beginning_make_no_second_intent(desk: Desk) -> None:
    entries = [BUY, price("105.2"), BUY | {"symbol": "ETHUSDT", "trade_id": "1"}, price("112", "ETHUSDT")]
    feed(desk, entries)
    settled(desk)
    before = outcome(desk)
    assert len(before.intents) == 4
    desk.client.xgroup_setid(desk.source, keys.GROUP, "0")
    wait_until(lambda: desk.counts().get("duplicate") == len(entries), 5.0, "all of them are duplicates")
    assert outcome(desk).intents == before.intents
    assert outcome(desk).positions == before.positions


def test_the_same_entries_in_other_batches_make_the_same_intents(desk: Desk, empty: Callable[[], None]) -> None:
    entries = random_entries(seeded(11), 300, SYMBOLS)
    seen = []
    for batch in (300, 50, 7):
        empty()
        feed(desk, entries, batch=batch)
        settled(desk)
        seen.append(sorted(json.dumps(_without_times(intent)) for intent in desk.suggestions()))
    assert len(seen[0]) > 20
    assert seen[1:] == seen[:1] * 2


def _without_times(intent: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in intent.items() if name not in TIMES}


@pytest.fixture
def second_beat(environ_of: Environ, directory: Path) -> Iterator[Program]:
    with closing(beat_program("beat-2", environ_of("harvest-beat"), directory)) as beat:
        beat.start()
        yield beat


def test_two_beats_and_two_watching_workers_do_everything_once(
    desk: Desk,
    second_beat: Program,
    celery_setup: CeleryTestSetup,
    replay: Callable[[], Outcome],
) -> None:
    inputs.market_state(desk.client)
    desk.feed(BUY, price("105.2"))
    feed(desk, random_entries(seeded(3), 400, SYMBOLS[1:]), batch=5)
    wait_until(lambda: desk.counts().get("proposals:unchanged", 0) >= 4, 8.0, "both beats have sent for proposals")
    settled(desk)
    assert outcome(desk) == replay()
    assert published(desk, "BTCUSDT") == 1
    watched = [totals.get("harvest_tasks.watcher.watch_fills", 0) for totals in _totals(celery_setup)]
    assert len(watched) == 2
    assert min(watched) > 0


def test_of_two_beats_one_is_enough(desk: Desk, second_beat: Program, programs: dict[str, Program]) -> None:
    programs["beat"].kill()
    before = cycles(desk)
    wait_until(lambda: cycles(desk) > before + 1, 8.0, "the other beat goes on")


def cycles(desk: Desk) -> int:
    """Of proposals; each ends by looking at one symbol."""
    counts = desk.counts()
    looked = ("published", "unchanged", "skipped:no_position", "skipped:no_market_state")
    return sum(counts.get(f"proposals:{result}", 0) for result in looked)


def published(desk: Desk, symbol: str) -> int:
    return [entry["symbol"] for _, entry in desk.client.xrange(PROPOSALS)].count(symbol)


def _brains(setup: CeleryTestSetup) -> list[str]:
    """The workers that watch and process fills."""
    return [node.hostname() for node in setup.worker_cluster if node.worker_name.startswith("fills")]


def _totals(setup: CeleryTestSetup) -> list[dict[str, int]]:
    """How many of each task the two workers that process fills have taken."""
    names = _brains(setup)
    stats = setup.app.control.inspect(destination=names, limit=len(names), timeout=3.0).stats()
    return [node["total"] for node in stats.values()]


def test_beat_publishes_proposals_of_a_tracked_position(desk: Desk) -> None:
    inputs.market_state(desk.client)
    inputs.risk_proposal(desk.client, stop_dist_pct="0.1")
    desk.feed(BUY, price("131"))
    proposal = wait_until(lambda: inputs.proposal(desk.client), 5.0, "a proposal")
    assert proposal["position_source"] == "tracker"
    assert (proposal["position_side"], proposal["position_current_price"]) == ("LONG", "131")
    assert proposal["harvest_action"] == "PARTIAL_25"
    wait_until(lambda: desk.counts().get("proposals:skipped:no_position"), 5.0, "ETHUSDT is looked at, too")
    assert inputs.proposal(desk.client, "ETHUSDT") == {}


def ask(environ: dict[str, str], symbol: str) -> str:
    """What a client in a process of its own gets as an answer."""
    argv = [sys.executable, "-c", CLIENT.format(symbol=symbol)]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=20.0, check=False)  # noqa: S603 - ours
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_client_asks_for_a_proposal_and_gets_it(desk: Desk, environ_of: Environ) -> None:
    inputs.market_state(desk.client)
    inputs.position_hash(desk.client)
    proposal = json.loads(ask(environ_of("harvest-proposal"), "BTCUSDT"))
    assert (proposal["symbol"], proposal["position_source"]) == ("BTCUSDT", "redis_hash")
    assert proposal["harvest_action"] == "PARTIAL_25"


def test_a_client_that_asks_for_no_symbol_gets_one_clear_error(desk: Desk, environ_of: Environ) -> None:
    answer = ask(environ_of("harvest-proposal"), "btc usdt")
    assert answer == "InvalidSymbol: 'btc usdt' is not a symbol: expected A-Z and 0-9 only, such as BTCUSDT"


@contextmanager
def nobody_consumes(queue: str, setup: CeleryTestSetup) -> Iterator[None]:
    """Messages stay where they are for a while; the workers go on with everything else."""
    names = _brains(setup)
    options = {"destination": names, "reply": True, "limit": len(names), "timeout": 5.0}
    replies = setup.app.control.cancel_consumer(queue, **options)
    assert len(replies) == len(names), replies
    sleep(READ_LASTS_SEC)
    try:
        yield
    finally:
        setup.app.control.add_consumer(queue, **options)


def test_a_wake_up_that_the_broker_lost_is_sent_again(
    desk: Desk, celery_setup: CeleryTestSetup, broker: Client, measured: Callable[[str], None]
) -> None:
    with nobody_consumes("fills", celery_setup):
        # More than a watcher answers itself.
        desk.feed_at_once(BUY, *[price("100")] * desk.settings.watch_answers_up_to, price("105.2"))
        wait_until(lambda: broker.exists("fills") and desk.client.exists(keys.WAITING), 20.0, "the wake-up is sent")
        assert broker.delete("fills") == 1
        assert desk.suggestions() == []
    lost = monotonic()
    wait_until(lambda: len(desk.suggestions()) == 2, PROMISED_SEC, "the sweep sends another")
    measured(f"{monotonic() - lost:.2f} s from the loss of the wake-up to the suggestion")


def test_what_is_old_after_a_downtime_rebuilds_the_state_and_publishes_nothing(
    desk: Desk, programs: dict[str, Program]
) -> None:
    for program in programs.values():
        program.kill()
    old = str(desk.server_ms() - 60_000)
    desk.feed({**BUY, "ts": old}, price("106", ts=old))
    for program in programs.values():
        program.launch()
    settled(desk)
    assert desk.position().holding.qty == 1
    assert {record["reason"] for record in desk.journal("held")} == {"stale"}
    assert desk.suggestions() == []
    desk.feed(price("106"))
    wait_until(lambda: len(desk.suggestions()) == 2, 5.0, "a fresh price publishes")
