"""The watcher: reads fills and prices from the input stream and brings them to the inboxes of their books.

A watcher is a bounded task. Beat starts one each second; all but the holder of the lease return at once, unless the
lease was not renewed in time: its holder is dead or slow, and they wait for the end of it. The holder first takes over
what an earlier one left pending, then reads until its slice is over. Shortly before that it starts its successor, which
waits for the lease. When the server is started again, it goes on: the lease outlives that, so nobody else could begin
before it ends.

Where little is moved at once, it also processes the books itself: a bell would take longer than the work. Whoever
processes a book does it with the same code, and a watcher that is killed at it has only moved the entries.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Final

from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import TimeoutError as Unanswered

from harvest_tasks.fills import inbox
from harvest_tasks.fills.group_position import NOWHERE, GroupPosition
from harvest_tasks.fills.lease import LEASE_MS, Lease
from harvest_tasks.fills.ledger import Ledger, LoadedBatch
from harvest_tasks.fills.router import LeaseLost, Moved, OlderPending, Router
from harvest_tasks.fills.stream import InputGone, InputStream, InputUnusable, RawEntry
from harvest_tasks.logs import Line
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.server.clock import server_ms
from harvest_tasks.settings.model import Settings

log = logging.getLogger(__name__)

BLOCK_MS: Final = 500
RECONNECT_FOR_SEC: Final = 3.0
"""How long a server is looked for that is away."""
RETRY_SEC: Final = 0.05
HANDOVER_SEC: Final = 0.1
"""How long before its end a slice starts the next one: as a message of Celery takes on a busy machine."""
WAIT_FOR_HOLDER_SEC: Final = 0.3
"""How long a successor waits for the lease."""
LEASE_RETRY_SEC: Final = 0.002
OVERDUE_MS: Final = LEASE_MS - BLOCK_MS - 100
"""What is left of a lease whose holder is late: it renews at least every `BLOCK_MS`."""

Wake = Callable[[Sequence[str]], None]


class Superseded(Exception):
    """Another watcher reads the input now."""


def watch(
    client: Client,
    settings: Settings,
    seconds: float,
    wake: Wake,
    patience: float = 0.0,
    inline: "InlineProcessing | None" = None,
    handover: "Handover | None" = None,
    first_start: Callable[[], None] = lambda: None,
) -> bool:
    """Watch for `seconds`, calling `ring` with the books whose inboxes received something, unless that was at most
    `settings.watch_answers_up_to` entries, and there is an `answerer`. `first_start` is called before anything was
    ever read.

    False if another watcher holds the lease, or took it. Raises redis-py's ConnectionError or TimeoutError when the
    server goes and stays away for `patience` seconds. Without patience it raises at once, and waits for no lease that
    is overdue.
    """
    lease = Lease(client)
    waits = handover is not None and handover.waits
    if not (lease.acquire() or (waits and _succeeds_holder(lease)) or (patience and _outlives_holder(client, lease))):
        return False
    try:
        bells = Notifier(wake, inline, settings.watch_answers_up_to)
        watcher = Watcher(client, InputStream(client, settings), Router(client, settings), lease, bells, first_start)
        end = monotonic() + seconds
        if handover:
            watcher.run(end - HANDOVER_SEC, patience)
            handover.begin_next()
        watcher.run(end, patience)
    except Superseded:
        log.warning("watch lease lost")
        return False
    except InputGone as gone:
        log.warning("%s: beginning again", gone)
        if handover:
            handover.begin_next()
    except InputUnusable as unusable:
        _freeze_once(client, str(unusable), wake)
        return False
    finally:
        lease.release()
    return True


def _succeeds_holder(lease: Lease) -> bool:
    """Whether the holder gives the lease up soon, and it is ours then."""
    until = monotonic() + WAIT_FOR_HOLDER_SEC
    while monotonic() < until:
        sleep(LEASE_RETRY_SEC)
        if lease.acquire():
            return True
    return False


def _outlives_holder(client: Client, lease: Lease) -> bool:
    """Whether the lease was overdue, and is ours at the end of it."""
    left_ms = int(client.pttl(keys.LEASE))
    if left_ms > OVERDUE_MS:
        return False
    sleep(max(0, left_ms + 1) / 1000)
    return lease.acquire()


def _freeze_once(client: Client, why: str, wake: Wake) -> None:
    """Of an input that is no stream; said once, though it is tried each second."""
    if not client.exists(keys.LOST):
        books = inbox.freeze_all(client, 0, why, server_ms(client))
        log.error("%s; books frozen: %d", why, len(books))
        wake(books)


@dataclass(frozen=True, slots=True)
class InlineProcessing:
    """Carries out what was loaded for `ledger`."""

    ledger: Ledger
    process: Callable[[LoadedBatch], None]


@dataclass(frozen=True, slots=True)
class Handover:
    """`waits` for the lease of one that is about to end; has the next one begin when its own end is near."""

    waits: bool
    begin_next: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Notifier:
    """Who is told of books with entries: `answerer` of up to `few` entries, `ring` of more."""

    wake: Wake
    inline: InlineProcessing | None
    inline_up_to: int

    def ledger(self, count: int) -> Ledger | None:
        """For whom the books of so many entries are to be loaded."""
        return self.inline.ledger if self.inline and count <= self.inline_up_to else None

    def notify(self, moved: Moved) -> None:
        if self.inline and moved.batch:
            self.inline.process(moved.batch)
        else:
            self.wake(moved.books)


@dataclass(frozen=True, slots=True)
class Watcher:
    """One holder of the lease at work."""

    client: Client
    stream: InputStream
    router: Router
    lease: Lease
    notifier: Notifier
    first_start: Callable[[], None]

    def run(self, deadline: float, patience: float = 0.0) -> None:
        """Read until `deadline` (monotonic), also after the server was away. Raises `Superseded`."""
        while True:
            try:
                return self._read(deadline)
            except (Disconnected, Unanswered) as error:
                if not patience:
                    raise
                log.warning("server away: %s", error)
                self._come_back(monotonic() + patience)

    def _come_back(self, until: float) -> None:
        """Returns once the server answers and the lease is this watcher's. Raises what keeps it away after `until`."""
        while True:
            try:
                if self.lease.renew() or self.lease.acquire():
                    return
            except (Disconnected, Unanswered):
                if monotonic() > until:
                    raise
                sleep(RETRY_SEC)
            else:
                raise Superseded

    def _read(self, deadline: float) -> None:
        self.stream.ensure_group(self.first_start, self._destroyed)
        self._take_over()
        after_id, wait_ms = NOWHERE, 1
        while True:
            entries, position = self.stream.read(after_id, wait_ms)
            left = deadline - monotonic()
            wait_ms = max(1, min(BLOCK_MS, int(left * 1000)))
            if position.is_miscounted:
                self._report(position, entries)
            if entries:
                self._move(entries, position.read_after(len(entries)))
                after_id = entries[-1][0]
            elif not self.lease.renew():
                raise Superseded
            elif position.is_at_the_end:
                after_id = position.delivered_id
            else:
                # All that was left of the stream has been deleted, and was told of.
                self.stream.recount(position, entries)
            # However late the slice began, it read once.
            if left <= 0:
                return

    def _take_over(self) -> None:
        """Move everything that is pending, whoever read it, in stream order."""
        while True:
            entries, trimmed = self.stream.claim()
            if trimmed:
                self._lost(trimmed, f"{trimmed} entries were trimmed or deleted before they were moved")
            if not entries:
                return
            moved = self._moved(entries, None)
            if isinstance(moved, LeaseLost):
                raise Superseded
            if isinstance(moved, Moved):
                log.info(Line("took over pending entries", count=moved.count))
                self.notifier.notify(moved)

    def _move(self, entries: list[RawEntry], read: int | None) -> None:
        moved = self._moved(entries, read)
        if isinstance(moved, LeaseLost):
            raise Superseded
        if isinstance(moved, Moved):
            self.notifier.notify(moved)
        else:
            self._take_over()

    def _moved(self, entries: list[RawEntry], read: int | None) -> Moved | LeaseLost | OlderPending:
        return self.router.move(self.lease.token, LEASE_MS, entries, read, self.notifier.ledger(len(entries)))

    def _report(self, position: GroupPosition, entries: list[RawEntry]) -> None:
        """Freeze what lost entries concern before the entries behind them are moved."""
        if position.lost:
            self._lost(position.lost, f"{position.lost} entries were trimmed or deleted before they were read")
        self.stream.recount(position, entries)

    def _destroyed(self, why: str) -> None:
        """Whatever was unread is gone with the stream, and nobody can say how much that was."""
        self._lost(0, why)

    def _lost(self, count: int, why: str) -> None:
        books = inbox.freeze_all(self.client, count, why, server_ms(self.client))
        mend = "once positions are right, harvest release --all"
        log.error(Line("input lost", lost=count, why=why, frozen=len(books), mend=mend))
        self.notifier.wake(books)
