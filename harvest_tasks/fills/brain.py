"""HarvestBrain: turns the entries in the inboxes of books into positions and reduce-only intents.

A wake-up (`process_fills`) only says where to look. Wake-ups that are lost, doubled or reordered cost latency and
nothing else.
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
from harvest_tasks.fills.plan import Plan, make_plan
from harvest_tasks.logs import Line
from harvest_tasks.messaging.wakeups import wake
from harvest_tasks.server import liveness
from harvest_tasks.server.client import Client, shared_client
from harvest_tasks.settings.model import Settings, current_settings
from kernel.positions.guards import Guards
from kernel.positions.quantities import plain
from kernel.positions.rules import Rules

log = logging.getLogger(__name__)

MAX_REVISIONS: Final = 8
"""After so many changes of the guards the batch is left to the next wake-up."""
INLINE_SEC: Final = 0.1
"""How long a watcher processes books inline: far less than its lease lasts."""
PROCESS_FOR_SEC: Final = 5.0
"""How long one task processes books. If entries are left, another wake-up follows, so that the slot is free."""


def process_inline(brain: "Brain", batch: LoadedBatch) -> None:
    """Process the books of `batch`, which the watcher just loaded for `brain`, within `INLINE_SEC`."""
    report_and_wake(*brain.process_loaded(batch, monotonic() + INLINE_SEC))


def report_and_wake(tally: Counter[str], unfinished: Sequence[str]) -> None:
    """Log and count what `Brain` returned, and wake a worker for the unfinished books."""
    if tally:
        log.debug(Line("processed", **dict(sorted(tally.items()))))
    wake(unfinished)
    liveness.count_failed(shared_client(current_settings().redis_url), tally["failed"])


@lru_cache(maxsize=1)
def this_brain() -> "Brain":
    """The brain of this process; it keeps the cached rules of symbols from task to task."""
    settings = current_settings()
    return Brain(shared_client(settings.redis_url), settings)


class Brain:
    """Plans and commits books."""

    def __init__(self, client: Client, settings: Settings, now_ms: int | None = None) -> None:
        self.ledger = Ledger(client, settings, now_ms)
        self._failing: dict[str, str] = {}
        """The problem of each book that failed last time, so that it is logged once."""

    def with_client(self, client: Client) -> "Brain":
        """This brain, with its cached rules and known failures, on another connection."""
        other = copy(self)
        other.ledger = self.ledger.with_client(client)
        return other

    def process(self, books: Sequence[str], deadline: float) -> tuple[Counter[str], list[str]]:
        """Apply all entries that wait for `books`.

        Returns counts of what was done, and the books that are unfinished at `deadline` (monotonic).
        """
        return self._process(list(dict.fromkeys(books)), Counter(), deadline)

    def process_loaded(self, batch: LoadedBatch, deadline: float) -> tuple[Counter[str], list[str]]:
        """Apply all entries that wait for the books of `batch`, which `ledger` has loaded.

        Returns what `process` returns.
        """
        tally: Counter[str] = Counter()
        return self._process(self._pass(batch, tally), tally, deadline)

    def _process(self, waiting: list[str], tally: Counter[str], deadline: float) -> tuple[Counter[str], list[str]]:
        while waiting and monotonic() < deadline:
            waiting = self._pass(self.ledger.load(waiting), tally)
        return tally, waiting

    def _pass(self, batch: LoadedBatch, tally: Counter[str]) -> list[str]:
        """Plan and commit each book once. Returns the books that need another pass."""
        for failed in (book for book in batch.books if isinstance(book, FailedBook)):
            self._report(failed, tally)
        tally["busy"] += sum(isinstance(book, BusyBook) for book in batch.books)
        loaded = {book.book: book for book in batch.books if isinstance(book, LoadedBook)}
        return self._settle(loaded, batch.rules, batch.guards, tally)

    def _settle(
        self, books: Mapping[str, LoadedBook], rules: Mapping[str, Rules], guards: Guards, tally: Counter[str]
    ) -> list[str]:
        """Plan and commit `books` until no guard objects. Returns those that need another pass."""
        earlier: dict[str, dict[str, str]] = {book: {} for book in books}
        again: list[str] = []
        for _ in range(MAX_REVISIONS):
            idle: list[str] = []
            settled = self.ledger.commit(self._plans(books, rules, guards, earlier, tally, idle))
            again += self.ledger.unlock(idle)
            unsettled: dict[str, LoadedBook] = {}
            for loaded, plan, outcome in settled:
                match outcome:
                    case Committed(left):
                        _count(tally, plan)
                        log_results(loaded, plan)
                        self._failing.pop(loaded.book, None)
                        again += [loaded.book] if left else []
                    case Conflict():
                        self.ledger.unlock([loaded.book])
                        again.append(loaded.book)
                    case Revise(revised, trades):
                        guards = replace(revised, published=guards.published | revised.published)
                        earlier[loaded.book].update(trades)
                        unsettled[loaded.book] = loaded
                    case FailedBook():
                        self._report(outcome, tally)
            books = unsettled
            if not books:
                return again
        self.ledger.unlock(list(books))
        return again

    def _plans(
        self,
        books: Mapping[str, LoadedBook],
        rules: Mapping[str, Rules],
        guards: Guards,
        earlier: Mapping[str, Mapping[str, str]],
        tally: Counter[str],
        idle: list[str],
    ) -> Iterator[tuple[LoadedBook, Plan]]:
        """A plan for each book that has something to write; the others are appended to `idle`.

        Each plan counts on what the plans before it leave of the rate limit.
        """
        for loaded in books.values():
            try:
                plan = make_plan(
                    loaded.position,
                    loaded.waiting,
                    rules[loaded.position.symbol],
                    guards,
                    loaded.terms,
                    earlier[loaded.book],
                )
            except ArithmeticError as error:
                self._report(FailedBook(loaded.book, error), tally)
                continue
            guards = plan.guards
            if plan.is_empty:
                _count(tally, plan)
                idle.append(loaded.book)
            else:
                yield loaded, plan

    def _report(self, failed: FailedBook, tally: Counter[str]) -> None:
        tally["failed"] += 1
        problem = f"{type(failed.error).__name__}: {failed.error}"
        if self._failing.get(failed.book) != problem:
            log.error(Line("book failed", book=failed.book, problem=problem))
        self._failing[failed.book] = problem
        self.ledger.unlock([failed.book])


def _count(tally: Counter[str], plan: Plan) -> None:
    counts = {
        "applied": plan.applied,
        "duplicate": plan.duplicate,
        "deadlettered": len(plan.dead_letters),
        "intents": len(plan.intents),
    }
    counts |= Counter(f"held_{refusal.value}" for refusal in plan.held.values())
    tally.update({name: n for name, n in counts.items() if n})


def log_results(loaded: LoadedBook, plan: Plan) -> None:
    """Log what a commit changed: the position, each journal entry, each dead letter. A price alone logs nothing."""
    held, entry_id = plan.position.holding, "{}-{}".format(*plan.position.applied)
    if held.qty != loaded.position.holding.qty:
        facts = {"qty": plain(held.qty), "avg_entry": plain(held.avg_entry), "entry_id": entry_id}
        log.info(Line("position", book=loaded.book, **facts))
    for record in plan.journal:
        facts = {name: value for name, value in record.items() if name not in ("decision", "cause")}
        log.info(Line(record["decision"], **facts, entry_id=record["cause"]))
    for message in plan.dead_letters:
        log.warning(Line("deadletter", book=loaded.book, reason=message.reason, entry_id=message.source_id))
