"""The reference executor: fills live intents on paper, at the mark price that Harvest tracks.

Each intent is answered exactly once, even with repeated reads or several executors: its marker, its execution result
and its acknowledgement are one transaction. The executor sees only fills that Harvest has already applied.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from redis.exceptions import RedisError, ResponseError, WatchError

from harvest_tasks.logs import Line
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings
from harvest_tasks.simulation.paper.execution import Answer, Execution, ExecutionTerms, execute
from harvest_tasks.simulation.paper.order import BadOrder, Order, parse_order
from harvest_tasks.wire.fields import Fields
from harvest_tasks.wire.position import UnreadablePosition, read_position
from kernel.positions.position import Position

log = logging.getLogger(__name__)

_READ_BATCH: Final = 100
_BLOCK_MS: Final = 500
_PAUSE_SEC: Final = 1.0
MARKER_TTL_SEC: Final = 7 * 86_400
RESULTS_MAXLEN: Final = 1_000_000


class PaperExecutor:
    """One executor. Several share the work, with the same group and consumer."""

    def __init__(self, client: Client, settings: Settings, terms: ExecutionTerms) -> None:
        self.tally: Counter[Answer] = Counter()
        self._client = client
        self._intents = settings.stream_trade_intent
        self._results = settings.stream_execution_result
        self._terms = terms

    def run(self, is_stopping: Callable[[], bool]) -> None:
        """Answer intents until `is_stopping` is true. After a server failure, start again with the pending intents."""
        while not is_stopping():
            try:
                self.drain()
                while not is_stopping():
                    self._answer_next(">", _BLOCK_MS)
            except RedisError as error:
                log.warning("server unavailable, retrying: %s", error)
                time.sleep(_PAUSE_SEC)

    def drain(self) -> None:
        """Answer all pending intents, then all unread ones. Raises redis-py's errors."""
        self.ensure_group()
        for begin in ("0", ">"):
            while self._answer_next(begin):
                pass

    def ensure_group(self) -> None:
        """Create the consumer group at the beginning of the stream, unless it exists."""
        try:
            self._client.xgroup_create(self._intents, keys.PAPER_GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def _answer_next(self, begin: str, block_ms: int | None = None) -> bool:
        """Answer the next entries after `begin`; False if there were none."""
        reply: Any = self._client.xreadgroup(
            keys.PAPER_GROUP, keys.PAPER_CONSUMER, {self._intents: begin}, count=_READ_BATCH, block=block_ms
        )
        entries: list[tuple[str, Fields]] = reply[0][1] if reply else []
        for entry_id, fields in entries:
            self.tally[self.answer(entry_id, fields)] += 1
        return bool(entries)

    def answer(self, entry_id: str, fields: Fields) -> Answer:
        """Answer one entry of the intent stream and acknowledge it."""
        try:
            order = parse_order(fields)
        except BadOrder as flaw:
            log.warning(Line("not an intent", entry_id=entry_id, why=flaw))
            return self._acknowledge(entry_id, Answer.MALFORMED)
        if order.dry_run:
            return self._acknowledge(entry_id, Answer.SHADOW)
        if order.intent_type.moves_stop:
            log.info(Line("stop noted", **_named(order, entry_id), stop=order.stop_price))
            return self._acknowledge(entry_id, Answer.STOP_NOTED)
        return self._execute(entry_id, order)

    def _acknowledge(self, entry_id: str, answer: Answer) -> Answer:
        with self._client.pipeline(transaction=True) as pipe:
            pipe.hincrby(keys.COUNTS, f"paper:{answer}", 1)
            pipe.xack(self._intents, keys.PAPER_GROUP, entry_id)
            pipe.execute()
        return answer

    def _execute(self, entry_id: str, order: Order) -> Answer:
        while True:
            with self._client.pipeline(transaction=True) as pipe:
                try:
                    done = self._read_and_execute(pipe, order)
                    pipe.multi()
                    self._write(pipe, entry_id, order, done)
                    pipe.execute()
                except WatchError:
                    continue
            log.info(Line(done.answer, **_named(order, entry_id), result=done.entry))
            return done.answer

    def _read_and_execute(self, pipe: Any, order: Order) -> Execution:
        """The execution of the order, valid while neither its marker nor its position changes."""
        pipe.watch(keys.paper_reply(order.intent_id), keys.position(order.book))
        if pipe.exists(keys.paper_reply(order.intent_id)):
            return Execution(Answer.REPEATED)
        position = _read_position(order.book, pipe.hgetall(keys.position(order.book)))
        seconds, micros = pipe.time()
        return execute(order, position, self._terms, seconds * 1000 + micros // 1000)

    def _write(self, pipe: Any, entry_id: str, order: Order, done: Execution) -> None:
        if done.answer is not Answer.REPEATED:
            pipe.set(keys.paper_reply(order.intent_id), done.answer.value, ex=MARKER_TTL_SEC)
        if done.entry is not None:
            pipe.xadd(self._results, done.entry, maxlen=RESULTS_MAXLEN, approximate=True)
        pipe.hincrby(keys.COUNTS, f"paper:{done.answer}", 1)
        pipe.xack(self._intents, keys.PAPER_GROUP, entry_id)


def _named(order: Order, entry_id: str) -> dict[str, str]:
    return {"intent_id": order.intent_id, "book": order.book, "entry_id": entry_id}


def _read_position(book: str, fields: Fields) -> Position | None:
    try:
        return read_position(book, fields)
    except UnreadablePosition as error:
        log.warning("%s", error)
        return None
