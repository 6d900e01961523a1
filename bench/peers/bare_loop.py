"""The same work written by hand: one process, one loop, positions in memory, one script per batch.

It reads and validates the same entries with the same parser, folds and decides with the same kernel, writes the same
position hashes and the same intents, and acknowledges in the same step. It has no inboxes, leases, locks,
journal, history, memory of trade ids, counters or second process. If it is started twice, or if the reply to its
script is lost, its only protection is the pending list of the stream.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import localcontext
from hashlib import sha1
from typing import Any, Final

from redis.exceptions import ResponseError

from harvest_tasks.fills.commit import delivery_of
from harvest_tasks.fills.loading import SWITCH_OFF
from harvest_tasks.fills.symbol_rules import base_rules
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client, checked, connect, round_trip
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.execution_result import Refused, Routed, parse
from harvest_tasks.wire.intent import intent_payload
from harvest_tasks.wire.position import changed_fields, position_fields
from kernel.positions.decision import decide
from kernel.positions.guards import Guards
from kernel.positions.holding import RiskTerms
from kernel.positions.intent import Intent
from kernel.positions.position import Position, apply
from kernel.positions.quantities import EXACT

COUNT: Final = 500
GROUP: Final = "bare_loop"

SCRIPT: Final = """
-- KEYS  1 input stream  2 intent stream  3 dead letters  then each changed position
-- ARGV  1 group  2 dedup TTL s  3 number of ids, then the ids
--       number of intents, then dedup key, intent_id, symbol, intent_type, payload of each
--       number of refused, then id and reason of each; then for each position the number of its fields, and they
local at = 4
local function list(width)
  local n, first = tonumber(ARGV[at - 1]), at
  at = first + n * width + 1
  return n, first
end
local n_ids, ids = list(1)
local n_intents, intents = list(5)
local n_refused, refused = list(2)
for i = 4, #KEYS do
  local n, fields = list(2)
  redis.call('HSET', KEYS[i], unpack(ARGV, fields, fields + n * 2 - 1))
end
for i = intents, intents + (n_intents - 1) * 5, 5 do
  if redis.call('SET', ARGV[i], ARGV[i + 1], 'NX', 'EX', ARGV[2]) then
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', 10000, '*', 'payload', ARGV[i + 4], 'intent_id', ARGV[i + 1],
               'symbol', ARGV[i + 2], 'intent_type', ARGV[i + 3])
  end
end
for i = refused, refused + (n_refused - 1) * 2, 2 do
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', 10000, '*', 'source_id', ARGV[i], 'reason', ARGV[i + 1])
end
return n_ids > 0 and redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, ids, ids + n_ids - 1))
"""
SHA: Final = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

Fields = Mapping[str, str]


class Folding:
    """The positions of all books in memory; a batch of entries becomes the arguments of one script."""

    def __init__(self, settings: Settings) -> None:
        self.positions: dict[str, Position] = {}
        self._settings = settings
        self._delivery = delivery_of(settings)
        self._rules = base_rules(settings)
        self._terms = RiskTerms(None, settings.fallback_stop_pct)

    def script_arguments(
        self, entries: Iterable[tuple[str, Fields]], guards: Guards, *, acknowledge: bool = True
    ) -> list[str | int]:
        """Fold `entries` (stream id, fields), and return the arguments of `SCRIPT`."""
        before: dict[str, Position | None] = {}
        intents: list[str | int] = []
        refused: list[str | int] = []
        ids: list[str | int] = []
        with localcontext(EXACT):
            for entry_id, fields in entries:
                ids.append(entry_id)
                parsed = parse(entry_id, fields)
                if isinstance(parsed, Routed):
                    for book in self._books(parsed):
                        before.setdefault(book, self.positions.get(book))
                        self.positions[book], guards = self._step(book, parsed, guards, intents, entry_id)
                elif isinstance(parsed, Refused):
                    refused += (entry_id, f"{parsed.reason}: {parsed.detail}")
        return self._call(before, ids if acknowledge else [], intents, refused)

    def _books(self, parsed: Routed) -> Sequence[str]:
        if parsed.book is not None:
            return (parsed.book,)
        symbol = parsed.symbol
        return [book for book in (symbol, f"{symbol}:LONG", f"{symbol}:SHORT") if book in self.positions]

    def _step(
        self, book: str, parsed: Routed, guards: Guards, intents: list[str | int], entry_id: str
    ) -> tuple[Position, Guards]:
        before = self.positions.get(book) or Position(book)
        after = apply(before, parsed.entry, self._terms)
        after, guards, decisions = decide(after, self._rules, guards)
        for decision in decisions:
            if decision.refusal is None:
                for intent in decision.intents:
                    intents += self._message(intent, entry_id)
        return after, guards

    def _message(self, intent: Intent, cause: str) -> tuple[str, ...]:
        kind, text = self._delivery.intent_type(intent), intent_payload(intent, self._delivery, cause)
        return keys.dedup(intent.position_id, intent.action), intent.intent_id, intent.symbol, kind, text

    def _call(
        self,
        before: Mapping[str, Position | None],
        ids: list[str | int],
        intents: list[str | int],
        refused: list[str | int],
    ) -> list[str | int]:
        settings = self._settings
        names = [settings.stream_execution_result, settings.stream_harvest_suggestions, keys.DEADLETTER]
        names += map(keys.position, before)
        fields: list[str | int] = []
        for book, was in before.items():
            now = self.positions[book]
            row = position_fields(now) if was is None else changed_fields(was, now)
            fields += (len(row), *(text for pair in row.items() for text in pair))
        lists = [len(ids), *ids, len(intents) // 5, *intents, len(refused) // 2, *refused]
        head: list[str | int] = [SHA, len(names), *names, GROUP, settings.harvest_dedup_ttl_sec]
        return [*head, *lists, *fields]


def guards(time: Sequence[str | int], switch: str | None, budget: int, settings: Settings) -> Guards:
    """The guards for a batch; the budget is counted in memory."""
    now_ms = int(time[0]) * 1000 + int(time[1]) // 1000
    fresh_ms = settings.harvest_require_fresh_snapshot_sec * 1000
    return Guards(now_ms, fresh_ms, killed=switch not in SWITCH_OFF, budget=budget)


def begin(client: Client, settings: Settings) -> None:
    """Create the consumer group and load the script."""
    client.script_load(SCRIPT)
    try:
        client.xgroup_create(settings.stream_execution_result, GROUP, id="0", mkstream=True)
    except ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise


class BareLoop:
    """Two round trips per batch: one reads it, one writes the result."""

    def __init__(self, settings: Settings) -> None:
        self._client = connect(settings.redis_url)
        self._settings = settings
        self.folding = Folding(settings)
        begin(self._client, settings)

    def run(self, expected: int | None) -> None:
        """Run until `expected` entries are done, or forever if it is None."""
        done = 0
        while expected is None or done < expected:
            time, switch, found = self._read(None if expected is None else 1)
            if found:
                entries = found[0][1]
                held = guards(time, switch, self._settings.harvest_max_actions_per_min, self._settings)
                self._write(self.folding.script_arguments(map(_fields, entries), held))
                done += len(entries)

    def _write(self, call: Sequence[str | int]) -> None:
        checked(*round_trip(self._client, [("EVALSHA", *call)]))

    def _read(self, block_ms: int | None) -> tuple[Sequence[str], str | None, Any]:
        block = ("BLOCK", 500 if block_ms is None else block_ms)
        source = self._settings.stream_execution_result
        read = ("XREADGROUP", "GROUP", GROUP, "one", "COUNT", COUNT, *block, "STREAMS", source, ">")
        # The clock and the switch are read together with the batch.
        found, time, switch = round_trip(
            self._client, [read, ("TIME",), ("GET", self._settings.harvest_kill_switch_key)]
        )
        return time, switch, found


def _fields(entry: tuple[str, Sequence[str]]) -> tuple[str, Fields]:
    entry_id, flat = entry
    return entry_id, dict(zip(flat[::2], flat[1::2], strict=True))
