"""The live state of a running session, for the screen. Read in two round trips, so that it slows nothing down."""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings
from harvest_tasks.simulation.demo.recording import parse_intent
from harvest_tasks.simulation.demo.session import Session
from harvest_tasks.wire.fields import Fields
from kernel.positions.position import Position
from kernel.positions.quantities import ZERO

_MAX_INTENTS: Final = 40
"""Newest intents kept, enough for a large terminal."""


@dataclass(frozen=True, slots=True)
class SentIntent:
    """An intent (its numbers are text), and the executor's answer, empty while there is none."""

    intent: Mapping[str, Any]
    answer: str


@dataclass(frozen=True, slots=True)
class LiveState:
    """The state after a minute. `intents` has the newest first; a symbol without a proposal has no fields."""

    minute: int
    minutes: int
    positions: Mapping[str, Position]
    proposals: Mapping[str, Fields]
    intents: Sequence[SentIntent]
    by_rung: Mapping[str, int]
    stop_moves: int
    counts: Mapping[str, int]
    opened: int
    closed: int

    @property
    def realized(self) -> Decimal:
        """Net of fees, in quote currency."""
        books = self.positions.values()
        return sum((p.banked_pnl + p.holding.realized_pnl - p.holding.fees for p in books), ZERO)


class LiveStateReader:
    """Reads the live state, and follows the intent stream from its beginning."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._last_id = "0"
        self._newest: deque[Mapping[str, Any]] = deque(maxlen=_MAX_INTENTS)
        self._by_rung = Counter({rung.name: 0 for rung in settings.ladder.rungs})
        self._stop_moves = 0

    def read(self, session: Session, minutes: int) -> LiveState:
        symbols = list(session.positions)
        with self._client.pipeline(transaction=False) as pipe:
            pipe.xread({self._settings.stream_trade_intent: self._last_id})
            pipe.hgetall(keys.COUNTS)
            for symbol in symbols:
                pipe.hgetall(self._settings.harvest_prefix + symbol)
            fresh, counts, *proposals = pipe.execute()
        self._count_intents(fresh)
        return LiveState(
            minute=session.minute + 1,
            minutes=minutes,
            positions=session.positions,
            proposals=dict(zip(symbols, proposals, strict=True)),
            intents=self._with_answers(),
            by_rung=self._by_rung,
            stop_moves=self._stop_moves,
            counts={name: int(n) for name, n in counts.items()},
            opened=len(session.openings),
            closed=session.closings.total(),
        )

    def _count_intents(self, fresh: Sequence[Any]) -> None:
        for entry_id, fields in fresh[0][1] if fresh else ():
            intent = parse_intent(fields["payload"])
            self._last_id = entry_id
            self._newest.appendleft(intent)
            self._by_rung.update(intent["rungs"])
            self._stop_moves += "stop_price" in intent

    def _with_answers(self) -> list[SentIntent]:
        if not self._newest:
            return []
        answers: Any = self._client.mget([keys.paper_reply(intent["intent_id"]) for intent in self._newest])
        return [SentIntent(intent, answer or "") for intent, answer in zip(self._newest, answers, strict=True)]
