"""What was fed to a fleet against what came of it: counts that must agree at any moment, and effects once all is quiet.

The effects are worked out by `model`, which shares no code with what is tested, from the entries on the input stream.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings
from kernel.positions.intent import intent_id
from laboratory import invariants
from laboratory.invariants import Seen, Violation
from laboratory.model import Book, Lot, Published, Rules, Symbol, World

OUTCOMES: Final = ("REJECTED", "CANCELED", "EXPIRED")
PARTS: Final = ("applied", "duplicate", "deadlettered", "ignored")
SHOWN: Final = 5
"""Violations of one case that are told in words, of which each is cut."""
SHOWN_CHARACTERS: Final = 300
SNAPSHOT: Final = """
local found = {added = 0, read = -1, pending = 0}
if redis.call('EXISTS', KEYS[1]) == 1 then
  local lists = redis.call('XINFO', 'GROUPS', KEYS[1])
  lists[#lists + 1] = redis.call('XINFO', 'STREAM', KEYS[1])
  for _, list in ipairs(lists) do
    for i = 1, #list, 2 do
      if list[i] == 'entries-added' then found.added = list[i + 1] end
      if list[i] == 'entries-read' then found.read = list[i + 1] or -1 end
      if list[i] == 'pending' then found.pending = list[i + 1] end
    end
  end
end
local queued = 0
for _, book in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  queued = queued + redis.call('XLEN', ARGV[1] .. book)
end
return {found.added, found.read, found.pending, queued, redis.call('SCARD', KEYS[4]), redis.call('HGETALL', KEYS[3])}
"""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment: entries ever added, read (-1: the server cannot say), read and not moved; waiting in inboxes; books
    said to wait; counters.
    """

    added: int
    read: int
    pending: int
    queued: int
    waiting: int
    counts: Mapping[str, int]

    @property
    def came(self) -> int:
        return self.counts.get("in", 0)

    @property
    def accounted(self) -> int:
        return self.queued + sum(self.counts.get(part, 0) for part in PARTS)

    @property
    def is_quiet(self) -> bool:
        return self.came >= self.added and not (self.pending or self.queued or self.waiting)


class Wrong(AssertionError):
    """Something does not hold that must."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        super().__init__("; ".join(str(violation)[:SHOWN_CHARACTERS] for violation in violations[:SHOWN]))
        self.kinds = Counter(violation.kind for violation in violations)


class Account:
    """Of one fleet: its books net, its every entry is good, and nothing that it wrote or was fed was trimmed yet."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self.intents = 0
        self._client = client
        self._settings = settings
        self._rules = rules(settings)
        self._world = World(0, 10**9, fresh_ms=10**12)
        self._symbols: dict[str, Symbol] = {}
        self._read_to = "0-0"
        self._expected: dict[str, Published] = {}
        self._ended: set[str] = set()

    def check(self) -> Snapshot:
        """At any moment. Raises `Wrong` when an entry is on no account, or on two."""
        now = self._snapshot()
        moved = now.came if now.read < 0 else now.read - now.pending
        if moved != now.came:
            raise Wrong([_missing(now.came - moved, f"{moved} entries were moved, {now.came} came in: {now}")])
        if now.came != now.accounted:
            raise Wrong([_missing(now.accounted - now.came, f"in is {now.came}, its parts {now.accounted}: {now}")])
        return now

    def judge(self, fed: int) -> list[Violation]:
        """When all is quiet: which of the `fed` entries had no effect or another one, and what is only half there."""
        self._expect()
        seen = invariants.read(self._client, self._settings)
        self.intents = len(seen.sent)
        found = invariants.always(seen, self._ended) + invariants.at_rest(seen) + list(self._arrived(seen, fed))
        for book in self._books():
            found += invariants.like(seen, book)
        return found + list(self._published(seen))

    def _snapshot(self) -> Snapshot:
        names = (self._settings.stream_execution_result, keys.BOOKS, keys.COUNTS, keys.WAITING)
        *numbers, counts = self._client.eval(SNAPSHOT, len(names), *names, keys.INBOX_PREFIX)
        return Snapshot(*numbers, counts=dict(zip(counts[::2], map(int, counts[1::2]), strict=True)))

    def _expect(self) -> None:
        """Let the model take what was fed since."""
        source = self._settings.stream_execution_result
        while rows := self._client.xrange(source, f"({self._read_to}", count=2_000):
            self._read_to = rows[-1][0]
            for entry_id, fields in rows:
                self._take(entry_id, fields)

    def _take(self, entry_id: str, fields: Mapping[str, str]) -> None:
        symbol = self._symbols.setdefault(fields["symbol"], Symbol(fields["symbol"], self._rules, Counter()))
        self._world.now_ms = int(entry_id.partition("-")[0])
        self._world.sent_ms.clear()
        if fields["status"] in OUTCOMES:
            self._ended.add(fields["intent_id"])
        for book, said in symbol.reached(fields):
            for deed in book.take(said, entry_id, self._world):
                if isinstance(deed, Published):
                    name = intent_id(*deed.name)
                    symbol.names[name] = deed.name
                    self._expected[name] = deed

    def _books(self) -> Iterator[Book]:
        for symbol in self._symbols.values():
            yield from symbol.books.values()

    def _arrived(self, seen: Seen, fed: int) -> Iterator[Violation]:
        """Every entry is on the stream and came in, once, and none was refused."""
        added = self._client.xlen(self._settings.stream_execution_result)
        if added != fed:
            yield Violation("I4", "lost", f"{fed} entries were accepted, {added} are on the stream")
        came = seen.counts.get("in", 0)
        if came != fed:
            yield Violation("I4", "lost" if came < fed else "doubled", f"{fed} entries were fed, {came} came in")
        if seen.deadletters:
            yield Violation("I4", "lost", f"good entries were dead-lettered: {seen.deadletters[:3]}")

    def _published(self, seen: Seen) -> Iterator[Violation]:
        """The intents that the model publishes, and no other."""
        found = {sent.intent_id: sent.payload for sent in seen.sent}
        for name in self._expected.keys() - found.keys():
            yield Violation("I5", "lost", f"not published: {self._expected[name]}")
        for name in found.keys() - self._expected.keys():
            yield Violation("I5", "doubled", f"nothing calls for {found[name]}")
        for name in self._expected.keys() & found.keys():
            due, payload = self._expected[name], found[name]
            stop = payload.get("stop_price")
            asked = payload["side"], Fraction(payload["qty"]), None if stop is None else Fraction(stop)
            if asked != (due.side, due.qty, due.stop_price):
                yield Violation("I5", "out_of_order", f"{payload} is published, due is {due}")


def _missing(surplus: int, what: str) -> Violation:
    """Entries that are gone, or (`surplus` > 0) there more often than they came."""
    return Violation("I4", "doubled" if surplus > 0 else "lost", what)


def rules(settings: Settings) -> Rules:
    """The model's, as the settings say."""
    return Rules(
        ladder=[(Fraction(rung.r), Fraction(rung.fraction)) for rung in settings.ladder.rungs],
        basis=settings.harvest_ladder_basis.value,
        set_be_at_r=Fraction(settings.harvest_set_be_at_r),
        trail_mult=Fraction(settings.harvest_trail_atr_mult),
        eps=Fraction(settings.change_eps_pct),
        cost_bps=Fraction(0),
        atr=None,
        lot=Lot(min_notional=Fraction(settings.harvest_min_notional)),
        max_children=settings.harvest_max_actions_per_min,
        live=settings.is_live,
        stop_dist=None,
        fallback=Fraction(settings.fallback_stop_pct),
    )
