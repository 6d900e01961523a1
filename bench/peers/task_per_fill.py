"""One Celery task per entry, the obvious design: a reader sends it, the task loads, folds, decides and commits.

The worker has one prefork process, so the tasks of a book run in the order they were sent. A task's commit compares
the position's version, so a task that runs twice, or beside another, does no harm. The broker's settings are those of
Harvest's own app, with one in the peer's favour: the worker may prefetch far ahead, as one would let it with tasks of
half a millisecond.

`celery --app=bench.peers.task_per_fill worker` needs REDIS_URL; the broker is the next database of that server.
"""

import os
import sys
from collections.abc import Mapping
from decimal import localcontext
from functools import lru_cache
from hashlib import sha1
from typing import Any, Final

from celery import Celery

from bench import desk
from bench.peers.bare_loop import guards
from harvest_tasks.fills.commit import delivery_of
from harvest_tasks.fills.symbol_rules import base_rules
from harvest_tasks.messaging.configuration import configuration
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client, connect, round_trip
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.execution_result import Routed, parse
from harvest_tasks.wire.intent import intent_payload
from harvest_tasks.wire.position import position_fields, read_position
from kernel.positions.decision import decide
from kernel.positions.holding import RiskTerms
from kernel.positions.position import Position, apply
from kernel.positions.quantities import EXACT

GROUP: Final = "task_per_fill"
COUNT: Final = 500
DONE: Final = "bench:done"
"""Counts the finished tasks."""
PREFETCH: Final = 64

SCRIPT: Final = """
-- KEYS  1 position  2 intent stream  3 counter    ARGV  1 version  2 dedup TTL s  3 number of fields, then them
--       number of intents, then dedup key, intent_id, symbol, intent_type, payload of each
-- Reply 1, or 0 if another commit came first
if (redis.call('HGET', KEYS[1], 'version') or '0') ~= ARGV[1] then
  return 0
end
local width = ARGV[3] * 2
if width > 0 then
  redis.call('HSET', KEYS[1], unpack(ARGV, 4, 3 + width))
  redis.call('HINCRBY', KEYS[1], 'version', 1)
end
for i = 5 + width, #ARGV, 5 do
  if redis.call('SET', ARGV[i], ARGV[i + 1], 'NX', 'EX', ARGV[2]) then
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', 10000, '*', 'payload', ARGV[i + 4], 'intent_id', ARGV[i + 1],
               'symbol', ARGV[i + 2], 'intent_type', ARGV[i + 3])
  end
end
redis.call('INCR', KEYS[3])
return 1
"""
SHA: Final = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


def _app() -> Celery:
    made = Celery("task_per_fill")
    made.conf.update(configuration(desk.settings(os.environ.get("REDIS_URL", "redis://localhost:1/0"))))
    made.conf.update(
        beat_schedule={},
        task_annotations={},
        task_routes={"bench.peers.task_per_fill.apply_entry": {"queue": "fills"}},
        worker_prefetch_multiplier=PREFETCH,
    )
    return made


app = _app()


@lru_cache
def _client_and_settings() -> tuple[Client, Settings]:
    settings = desk.settings(os.environ["REDIS_URL"])
    client = connect(settings.redis_url)
    client.script_load(SCRIPT)
    return client, settings


@app.task(name="bench.peers.task_per_fill.apply_entry", ignore_result=True)
def apply_entry(entry_id: str, fields: Mapping[str, str]) -> None:
    """Apply one entry of the stream."""
    client, settings = _client_and_settings()
    parsed = parse(entry_id, fields)
    # The traffic is in one-way mode: a symbol has one book.
    book = parsed.book or parsed.symbol if isinstance(parsed, Routed) else ""
    while not _applied(client, settings, book, entry_id, parsed):
        pass


def _applied(client: Client, settings: Settings, book: str, entry_id: str, parsed: Any) -> bool:
    """Load, fold, decide, commit; False if another commit came first."""
    with client.pipeline(transaction=False) as pipe:
        pipe.hgetall(keys.position(book))
        pipe.time()
        pipe.get(settings.harvest_kill_switch_key)
        found, time, switch = pipe.execute()
    fields: list[str] = []
    intents: list[str] = []
    if isinstance(parsed, Routed):
        held = guards(time, switch, settings.harvest_max_actions_per_min, settings)
        with localcontext(EXACT):
            position, decisions = _fold(book, found, parsed, held, settings)
        fields = [text for pair in position_fields(position).items() for text in pair]
        delivery = delivery_of(settings)
        for intent in (i for d in decisions if d.refusal is None for i in d.intents):
            dedup, kind = keys.dedup(intent.position_id, intent.action), delivery.intent_type(intent)
            intents += (dedup, intent.intent_id, intent.symbol, kind, intent_payload(intent, delivery, entry_id))
    names = keys.position(book), settings.stream_harvest_suggestions, DONE
    head = found.get("version", "0"), settings.harvest_dedup_ttl_sec, len(fields) // 2
    return bool(client.evalsha(SHA, len(names), *names, *head, *fields, len(intents) // 5, *intents))


def _fold(book: str, found: Mapping[str, str], parsed: Routed, held: Any, settings: Settings) -> Any:
    before = read_position(book, found) if found else Position(book)
    after = apply(before, parsed.entry, RiskTerms(None, settings.fallback_stop_pct))
    position, _, decisions = decide(after, base_rules(settings), held)
    return position, decisions


def send_all(expected: int) -> None:
    """The reader: sends a task for each of `expected` entries, and acknowledges each batch after that."""
    client, settings = _client_and_settings()
    source = settings.stream_execution_result
    client.xgroup_create(source, GROUP, id="0", mkstream=True)
    sent = 0
    with app.producer_pool.acquire(block=True) as producer:
        while sent < expected:
            read = ("XREADGROUP", "GROUP", GROUP, "one", "COUNT", COUNT, "BLOCK", 500, "STREAMS", source, ">")
            (found,) = round_trip(client, [read])
            entries = found[0][1] if found else []
            for entry_id, flat in entries:
                fields = dict(zip(flat[::2], flat[1::2], strict=True))
                apply_entry.apply_async((entry_id, fields), producer=producer)
            if entries:
                client.xack(source, GROUP, *(entry_id for entry_id, _ in entries))
                sent += len(entries)


def main() -> None:
    """Connect, wait for a line on stdin, then send the tasks."""
    app.producer_pool.acquire(block=True).release()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    send_all(int(sys.argv[1]))


if __name__ == "__main__":
    main()
