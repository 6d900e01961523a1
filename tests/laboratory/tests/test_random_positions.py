"""Random lives of random books over a real server, against a model written from the rules alone (`model`).

The whole path is taken, from the input stream to what is published. A mismatch is told as the desk, all that was fed,
and what differs.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from desk import Desk, assert_all_accounted_for
from laboratory.comparison import Fields, Life, Taken, kernel_entry
from laboratory.model import World
from laboratory.random_lives import SOON, live_through
from laboratory.random_moves import LISTED_LOTS, SYMBOL, Setup, drawn_setup
from laboratory.setup_settings import asked, environ
from run_summary import TALLIES

from harvest_tasks.fills.inbox import deliver
from harvest_tasks.fills.watcher import watch
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client

LIVES = 24
PATIENCE = 2
SLICE_SEC = 0.004
"""Long enough to read once."""


class Server:
    """Books at a real server, moved and processed by the code that the workers run."""

    can_repeat = False

    def __init__(self, client: Client, setup: Setup, exchange_info: Path) -> None:
        client.flushall()
        self._client = client
        self._desk = Desk(client, **environ(setup, exchange_info))
        self._read: dict[str, str] = {}
        self._is_routed = True
        if setup.stop_dist is not None:
            client.hset(f"quantum:risk:proposal:{SYMBOL}", "stop_dist_pct", setup.stop_dist)
        if setup.atr is not None:
            client.hset(f"quantum:marketstate:{SYMBOL}", "atr", setup.atr)

    def feed(self, fields: Fields, source_id: str, reached: Sequence[tuple[str, Fields]]) -> None:
        self._desk.feed(fields, at=source_id)
        self._is_routed = False

    def tell(self, book: str, fields: Fields, now_ms: int) -> None:
        """Behind what was fed before."""
        self._route()
        self._client.sadd(keys.BOOKS, book)
        deliver(self._client, {book: kernel_entry(fields, "", now_ms)})

    def process(self, book: str, world: World) -> Taken:
        self._route()
        self._desk.now_ms = world.now_ms
        self._desk.process(book)
        settings = self._desk.settings
        streams = keys.DECISIONS, settings.stream_trade_intent, settings.stream_harvest_suggestions
        journal, live, shadow = (self._new(stream) for stream in streams)
        order = [record.get("intent_id") for record in journal if record["decision"] == "published"]
        intents = [*asked(live, "REDUCE_ONLY"), *asked(shadow, "HARVEST_PARTIAL")]
        intents.sort(key=lambda intent: order.index(intent.intent_id) if intent.intent_id in order else len(order))
        return Taken(self._desk.position(book), journal, intents)

    def turn(self, killed: bool) -> None:
        if killed:
            self._client.set("quantum:kill", "1")
        else:
            self._client.delete("quantum:kill")

    def presume(self, position_id: str, action: str) -> None:
        self._client.set(keys.dedup(position_id, action), "1")

    def forget(self) -> None:
        for key in self._client.scan_iter("quantum:dedup:*"):
            self._client.delete(key)

    def check_accounts(self) -> None:
        self._route()
        assert_all_accounted_for(self._desk)

    def _route(self) -> None:
        """What `Desk.route` does, without waiting for more."""
        while not self._is_routed:
            watch(self._client, self._desk.settings, SLICE_SEC, lambda _: None)
            newest = self._client.xinfo_stream(self._desk.source)["last-generated-id"]
            group = self._client.xinfo_groups(self._desk.source)[0]
            self._is_routed = group["last-delivered-id"] == newest and not group["pending"]

    def _new(self, stream: str) -> list[Mapping[str, str]]:
        entries = self._client.xrange(stream, min=f"({self._read.get(stream, '0-0')}")
        if entries:
            self._read[stream] = entries[-1][0]
        return [fields for _, fields in entries]


def test_random_lives_over_a_server_are_what_the_rules_say(redis: Client, tmp_path: Path) -> None:
    branches = TALLIES.setdefault("random lives over a server", Counter())

    def live(setup: bytes, moves: list[bytes]) -> None:
        desk = drawn_setup(setup, LISTED_LOTS)
        server = Server(redis, desk, tmp_path / "exchange_info.json")
        Life(desk, server, branches, PATIENCE).run(moves)
        server.check_accounts()

    live_through(live, LIVES)
    assert len([branch for branch in SOON if branches[branch]]) >= 40
