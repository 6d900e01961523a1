"""What one sees of a session while it plays: read in two round trips, so that looking slows nothing down."""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings
from harvest_tasks.simulation.demo.recording import read
from harvest_tasks.simulation.demo.session import Session
from kernel.positions.position import Position
from kernel.positions.quantities import ZERO

KEPT: Final = 40
"""Newest intents that a large terminal may show."""

Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sent:
    """An intent (its numbers are text), and how the executor answered it; empty for not yet."""

    intent: Mapping[str, Any]
    answer: str


@dataclass(frozen=True, slots=True)
class Board:
    """`intents` are the newest first; `proposals` have no fields where there is none."""

    minute: int
    minutes: int
    positions: Mapping[str, Position]
    proposals: Mapping[str, Fields]
    intents: Sequence[Sent]
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


class Lookout:
    """Follows the intent stream from its beginning."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._seen = "0"
        self._newest: deque[Mapping[str, Any]] = deque(maxlen=KEPT)
        self._by_rung = Counter({rung.name: 0 for rung in settings.ladder.rungs})
        self._stop_moves = 0

    def look(self, session: Session, minutes: int) -> Board:
        symbols = list(session.positions)
        with self._client.pipeline(transaction=False) as pipe:
            pipe.xread({self._settings.stream_trade_intent: self._seen})
            pipe.hgetall(keys.COUNTS)
            for symbol in symbols:
                pipe.hgetall(self._settings.harvest_prefix + symbol)
            fresh, counts, *proposals = pipe.execute()
        self._note(fresh)
        return Board(
            minute=session.minute + 1,
            minutes=minutes,
            positions=session.positions,
            proposals=dict(zip(symbols, proposals, strict=True)),
            intents=self._answered(),
            by_rung=self._by_rung,
            stop_moves=self._stop_moves,
            counts={name: int(n) for name, n in counts.items()},
            opened=len(session.openings),
            closed=session.closings.total(),
        )

    def _note(self, fresh: Sequence[Any]) -> None:
        for entry_id, fields in fresh[0][1] if fresh else ():
            intent = read(fields["payload"])
            self._seen = entry_id
            self._newest.appendleft(intent)
            self._by_rung.update(intent["rungs"])
            self._stop_moves += "stop_price" in intent

    def _answered(self) -> list[Sent]:
        if not self._newest:
            return []
        answers: Any = self._client.mget([keys.paper_answer(intent["intent_id"]) for intent in self._newest])
        return [Sent(intent, answer or "") for intent, answer in zip(self._newest, answers, strict=True)]
