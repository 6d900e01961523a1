"""The watcher: reads fills and prices from the input stream and moves them to the inboxes of their books.

A watcher is a bounded task. Beat starts one each second. All but the holder of the lease return at once, unless the
lease was not renewed in time: then its holder is dead or slow, and they wait until it expires. The holder first moves
what an earlier watcher left pending, then reads until its slice is over. Shortly before that it starts its successor,
which waits for the lease. The holder goes on after a restart of the server: its lease survives that, so no other
watcher could begin before it expires.

The watcher processes the books of a small batch itself: a wake-up would take longer than the work. It runs the code of
a brain worker. If it is killed while it does so, the entries are in the inboxes and nothing is lost.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Final

from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import TimeoutError as TimedOut

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
"""For how long the watcher tries to reach a server that went away."""
_RETRY_SEC: Final = 0.05
HANDOVER_SEC: Final = 0.1
"""How long before its end a slice starts the next one: the time that a Celery message takes on a busy machine."""
WAIT_FOR_HOLDER_SEC: Final = 0.3
"""How long a successor waits for the holder to give up the lease."""
LEASE_RETRY_SEC: Final = 0.002
OVERDUE_MS: Final = LEASE_MS - BLOCK_MS - 100
"""A lease with less left than this was not renewed in time: its holder renews it at least every `BLOCK_MS`."""

Wake = Callable[[Sequence[str]], None]


class Superseded(Exception):
    """Another watcher took the lease."""


def watch(
    client: Client,
    settings: Settings,
    seconds: float,
    wake: Wake,
    patience_sec: float = 0.0,
    inline: "InlineProcessing | None" = None,
    handover: "Handover | None" = None,
    first_start: Callable[[], None] = lambda: None,
) -> bool:
    """Move the input to the inboxes for `seconds`. Returns False if another watcher holds the lease, or took it.

    `wake` receives the books whose inboxes received something; `inline`, if given, processes them at once when a batch
    has at most `settings.watch_answers_up_to` entries. `first_start` runs before anything was ever read.

    Raises redis-py's ConnectionError or TimeoutError once the server has been away for `patience_sec`. Without
    `patience_sec` it raises at once, and does not wait for a lease that is overdue.
    """
    lease = Lease(client)
    waits = handover is not None and handover.waits
    if not (
        lease.acquire() or (waits and _wait_for_release(lease)) or (patience_sec and _wait_for_expiry(client, lease))
    ):
        return False
    try:
        notifier = Notifier(wake, inline, settings.watch_answers_up_to)
        watcher = Watcher(client, InputStream(client, settings), Router(client, settings), lease, notifier, first_start)
        end = monotonic() + seconds
        if handover:
            watcher.run(end - HANDOVER_SEC, patience_sec)
            handover.begin_next()
        watcher.run(end, patience_sec)
    except Superseded:
        log.warning("watch lease lost to another watcher")
        return False
    except InputGone as gone:
        log.warning("%s: starting again", gone)
        if handover:
            handover.begin_next()
    except InputUnusable as unusable:
        _freeze_once(client, str(unusable), wake)
        return False
    finally:
        lease.release()
    return True


def _wait_for_release(lease: Lease) -> bool:
    """Wait for the holder to give up the lease. Returns whether `lease` got it."""
    until = monotonic() + WAIT_FOR_HOLDER_SEC
    while monotonic() < until:
        sleep(LEASE_RETRY_SEC)
        if lease.acquire():
            return True
    return False


def _wait_for_expiry(client: Client, lease: Lease) -> bool:
    """Wait until a lease that was not renewed in time expires. Returns whether `lease` got it."""
    left_ms = int(client.pttl(keys.LEASE))
    if left_ms > OVERDUE_MS:
        return False
    sleep(max(0, left_ms + 1) / 1000)
    return lease.acquire()


def _freeze_once(client: Client, why: str, wake: Wake) -> None:
    """Freeze all books because the input is not a stream: once, although beat starts a watcher each second."""
    if not client.exists(keys.LOST):
        books = inbox.freeze_all(client, 0, why, server_ms(client))
        log.error("%s; books frozen: %d", why, len(books))
        wake(books)


@dataclass(frozen=True, slots=True)
class InlineProcessing:
    """Processes the books that were loaded for `ledger` at once, in the process of the watcher."""

    ledger: Ledger
    process: Callable[[LoadedBatch], None]


@dataclass(frozen=True, slots=True)
class Handover:
    """How slices follow each other: this one `waits` for the lease of the one before it, and calls `begin_next` shortly
    before its own end.
    """

    waits: bool
    begin_next: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Notifier:
    """Has books that received entries processed: inline for up to `inline_up_to` entries, else by a wake-up."""

    wake: Wake
    inline: InlineProcessing | None
    inline_up_to: int

    def ledger(self, count: int) -> Ledger | None:
        """The ledger for which to load the books of `count` entries; None if they will not be processed inline."""
        return self.inline.ledger if self.inline and count <= self.inline_up_to else None

    def notify(self, moved: Moved) -> None:
        if self.inline and moved.batch:
            self.inline.process(moved.batch)
        else:
            self.wake(moved.books)


@dataclass(frozen=True, slots=True)
class Watcher:
    """The holder of the lease at work."""

    client: Client
    stream: InputStream
    router: Router
    lease: Lease
    notifier: Notifier
    first_start: Callable[[], None]

    def run(self, deadline: float, patience_sec: float = 0.0) -> None:
        """Read until `deadline` (monotonic), and go on when the server comes back. Raises `Superseded`."""
        while True:
            try:
                return self._read(deadline)
            except (Disconnected, TimedOut) as error:
                if not patience_sec:
                    raise
                log.warning("server is away: %s", error)
                self._reconnect(monotonic() + patience_sec)

    def _reconnect(self, until: float) -> None:
        """Wait until the server replies and this watcher holds the lease.

        Raises `Superseded`, or redis-py's error if the server is still away after `until` (monotonic).
        """
        while True:
            try:
                if self.lease.renew() or self.lease.acquire():
                    return
            except (Disconnected, TimedOut):
                if monotonic() > until:
                    raise
                sleep(_RETRY_SEC)
            else:
                raise Superseded

    def _read(self, deadline: float) -> None:
        self.stream.ensure_group(self.first_start, self._freeze_after_deletion)
        self._take_over()
        after_id, wait_ms = NOWHERE, 1
        while True:
            entries, position = self.stream.read(after_id, wait_ms)
            left = deadline - monotonic()
            wait_ms = max(1, min(BLOCK_MS, int(left * 1000)))
            if position.is_miscounted:
                self._report_loss(position, entries)
            if entries:
                self._move(entries, position.read_after(len(entries)))
                after_id = entries[-1][0]
            elif not self.lease.renew():
                raise Superseded
            elif position.is_at_the_end:
                after_id = position.delivered_id
            else:
                # All that was left of the stream was deleted, and that was reported.
                self.stream.recount(position, entries)
            # A slice reads once, however late it began.
            if left <= 0:
                return

    def _take_over(self) -> None:
        """Move the pending entries of all consumers, in stream order."""
        while True:
            entries, trimmed = self.stream.claim()
            if trimmed:
                self._freeze_after_loss(trimmed, f"{trimmed} entries were trimmed or deleted before they were moved")
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

    def _report_loss(self, position: GroupPosition, entries: list[RawEntry]) -> None:
        """Freeze all books if entries were lost, before the entries behind them are moved."""
        if position.lost:
            self._freeze_after_loss(
                position.lost, f"{position.lost} entries were trimmed or deleted before they were read"
            )
        self.stream.recount(position, entries)

    def _freeze_after_deletion(self, why: str) -> None:
        """Freeze all books because the stream is gone, with an unknown number of unread entries."""
        self._freeze_after_loss(0, why)

    def _freeze_after_loss(self, count: int, why: str) -> None:
        books = inbox.freeze_all(self.client, count, why, server_ms(self.client))
        fix = "compare positions with the exchange, then: harvest release --all"
        log.error(Line("input lost", lost=count, why=why, frozen=len(books), fix=fix))
        self.notifier.wake(books)
