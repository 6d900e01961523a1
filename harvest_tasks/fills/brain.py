"""HarvestBrain: turns the entries in the inboxes of books into positions and reduce-only intents.

A bell (`process_fills`) only says where to look. Losing, doubling or reordering bells costs latency and nothing else.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import lru_cache
from time import monotonic
from typing import Final

from harvest_tasks.fills.commit import Committed, Conflict, Revise
from harvest_tasks.fills.ledger import Ledger, LoadedBatch
from harvest_tasks.fills.loading import BusyBook, FailedBook, LoadedBook
from harvest_tasks.fills.plan import Plan, plan
from harvest_tasks.logs import Line
from harvest_tasks.messaging.wakeups import wake
from harvest_tasks.server import liveness
from harvest_tasks.server.client import Client, shared
from harvest_tasks.settings.model import Settings, current
from kernel.positions.guards import Guards
from kernel.positions.quantities import plain
from kernel.positions.rules import Rules

log = logging.getLogger(__name__)

MAX_REVISIONS: Final = 8
"""Guards that change faster than this leave the batch to the next bell."""
INLINE_SEC: Final = 0.1
"""How long a watcher stays with books: far less than its lease lasts."""
PROCESS_FOR_SEC: Final = 5.0
"""A bell that still finds entries after this long rings again instead of holding its slot."""


def process_inline(brain: "Brain", batch: LoadedBatch) -> None:
    """The same for whoever just moved entries to books, loaded them for `brain`, and has other things to do."""
    report_and_wake(*brain.process_loaded(batch, monotonic() + INLINE_SEC))


def report_and_wake(tally: Counter[str], unfinished: Sequence[str]) -> None:
    """What `Brain` returned: log it, and have the unfinished books looked at again."""
    if tally:
        log.debug(Line("processed", **dict(sorted(tally.items()))))
    wake(unfinished)
    liveness.count_failed(shared(current().redis_url), tally["failed"])


@lru_cache(maxsize=1)
def this_brain() -> "Brain":
    """This process's, with what it remembers of the rules of symbols."""
    settings = current()
    return Brain(shared(settings.redis_url), settings)


class Brain:
    """One worker's hand on the ledger."""

    def __init__(self, client: Client, settings: Settings, now_ms: int | None = None) -> None:
        self.ledger = Ledger(client, settings, now_ms)
        self._failing: dict[str, str] = {}
        """What is wrong with each book that failed last time, so that it is said once."""

    def with_client(self, client: Client) -> "Brain":
        """The same, with what it remembers, for another client."""
        other = copy(self)
        other.ledger = self.ledger.with_client(client)
        return other

    def process(self, books: Sequence[str], deadline: float) -> tuple[Counter[str], list[str]]:
        """Apply all that waits for `books`. Returns what was done, and the books unfinished at `deadline`."""
        return self._process(list(dict.fromkeys(books)), Counter(), deadline)

    def process_loaded(self, batch: LoadedBatch, deadline: float) -> tuple[Counter[str], list[str]]:
        """The same for the books of `work`, which `ledger` loaded."""
        tally: Counter[str] = Counter()
        return self._process(self._pass(batch, tally), tally, deadline)

    def _process(self, waiting: list[str], tally: Counter[str], deadline: float) -> tuple[Counter[str], list[str]]:
        while waiting and monotonic() < deadline:
            waiting = self._pass(self.ledger.load(waiting), tally)
        return tally, waiting

    def _pass(self, batch: LoadedBatch, tally: Counter[str]) -> list[str]:
        """Plan and commit each book once; the books that need another pass."""
        for failed in (book for book in batch.books if isinstance(book, FailedBook)):
            self._report(failed, tally)
        tally["busy"] += sum(isinstance(book, BusyBook) for book in batch.books)
        loaded = {book.book: book for book in batch.books if isinstance(book, LoadedBook)}
        return self._settle(loaded, batch.rules, batch.guards, tally)

    def _settle(
        self, work: Mapping[str, LoadedBook], rules: Mapping[str, Rules], guards: Guards, tally: Counter[str]
    ) -> list[str]:
        """Plan and commit until no guard objects any more; the books that need another pass."""
        earlier: dict[str, dict[str, str]] = {book: {} for book in work}
        again: list[str] = []
        for _ in range(MAX_REVISIONS):
            idle: list[str] = []
            settled = self.ledger.commit(self._plans(work, rules, guards, earlier, tally, idle))
            again += self.ledger.unlock(idle)
            open_questions: dict[str, LoadedBook] = {}
            for loaded, made, outcome in settled:
                match outcome:
                    case Committed(left):
                        _count(tally, made)
                        log_results(loaded, made)
                        self._failing.pop(loaded.book, None)
                        again += [loaded.book] if left else []
                    case Conflict():
                        self.ledger.unlock([loaded.book])
                        again.append(loaded.book)
                    case Revise(revised, trades):
                        guards = replace(revised, published=guards.published | revised.published)
                        earlier[loaded.book].update(trades)
                        open_questions[loaded.book] = loaded
                    case FailedBook():
                        self._report(outcome, tally)
            work = open_questions
            if not work:
                return again
        self.ledger.unlock(list(work))
        return again

    def _plans(
        self,
        work: Mapping[str, LoadedBook],
        rules: Mapping[str, Rules],
        guards: Guards,
        earlier: Mapping[str, Mapping[str, str]],
        tally: Counter[str],
        idle: list[str],
    ) -> Iterator[tuple[LoadedBook, Plan]]:
        """A plan for each book that has something to write, each counting on what the ones before it left; the others
        are put with the `idle`.
        """
        for loaded in work.values():
            try:
                made = plan(
                    loaded.position,
                    loaded.batch,
                    rules[loaded.position.symbol],
                    guards,
                    loaded.terms,
                    earlier[loaded.book],
                )
            except ArithmeticError as error:
                self._report(FailedBook(loaded.book, error), tally)
                continue
            guards = made.guards
            if made.is_empty:
                _count(tally, made)
                idle.append(loaded.book)
            else:
                yield loaded, made

    def _report(self, failed: FailedBook, tally: Counter[str]) -> None:
        tally["failed"] += 1
        problem = f"{type(failed.error).__name__}: {failed.error}"
        if self._failing.get(failed.book) != problem:
            log.error(Line("book failed", book=failed.book, problem=problem))
        self._failing[failed.book] = problem
        self.ledger.unlock([failed.book])


def _count(tally: Counter[str], made: Plan) -> None:
    counts = {
        "applied": made.applied,
        "duplicate": made.duplicate,
        "deadlettered": len(made.deadletters),
        "intents": len(made.intents),
    }
    counts |= Counter(f"held_{refusal.value}" for refusal in made.held.values())
    tally.update({name: n for name, n in counts.items() if n})


def log_results(loaded: LoadedBook, made: Plan) -> None:
    """A line for each thing that came of a book: what is held now, what the journal says, what could not be used.

    Prices that change nothing are no news.
    """
    held, entry_id = made.position.holding, "{}-{}".format(*made.position.applied)
    if held.qty != loaded.position.holding.qty:
        facts = {"qty": plain(held.qty), "avg_entry": plain(held.avg_entry), "entry_id": entry_id}
        log.info(Line("position", book=loaded.book, **facts))
    for record in made.journal:
        told = {name: value for name, value in record.items() if name not in ("decision", "cause")}
        log.info(Line(record["decision"], **told, entry_id=record["cause"]))
    for letter in made.deadletters:
        log.warning(Line("deadletter", book=loaded.book, reason=letter.reason, entry_id=letter.source_id))
