"""The tasks of workers: thin bodies around `fills` and `reconciling`. The tasks of proposals are in `proposals`."""

import logging
from functools import partial
from time import monotonic

from harvest_tasks.celery import app
from harvest_tasks.fills import sweep
from harvest_tasks.fills.brain import PROCESS_FOR_SEC, process_inline, report_and_wake, this_brain
from harvest_tasks.fills.watcher import RECONNECT_FOR_SEC, Handover, InlineProcessing, watch
from harvest_tasks.logs import Line
from harvest_tasks.messaging.wakeups import wake
from harvest_tasks.reconciling import adoption, mismatch
from harvest_tasks.server import liveness
from harvest_tasks.server.client import shared_client
from harvest_tasks.server.clock import server_ms
from harvest_tasks.settings.model import current_settings

log = logging.getLogger(__name__)


@app.task(name="harvest_tasks.watcher.watch_fills", ignore_result=True)
def watch_fills(succeeds: bool = False) -> None:
    """Watch the input for one slice, unless another watcher does, and start the next slice.

    `succeeds`: this slice succeeds one that is about to end, and waits for its lease.
    """
    settings = current_settings()
    begin_next = partial(watch_fills.apply_async, kwargs={"succeeds": True}, expires=settings.watch_slice_sec)
    # A connection of its own: taking one from the pool and putting it back costs more than applying a fill.
    with shared_client(settings.redis_url).client() as client:
        own = this_brain().with_client(client)
        inline = InlineProcessing(own.ledger, partial(process_inline, own))
        handover = Handover(succeeds, begin_next)
        first_start = partial(adoption.begin_adoption, client, settings)
        slice_sec = settings.watch_slice_sec
        if watch(client, settings, slice_sec, wake, RECONNECT_FOR_SEC, inline, handover, first_start):
            liveness.record_sign(client, liveness.WATCHED_MS, server_ms(client))


@app.task(name="harvest_tasks.brain.process_fills", ignore_result=True)
def process_fills(books: list[str]) -> None:
    """Process the inboxes of `books`. After `PROCESS_FOR_SEC`, a new wake-up is sent for what is left."""
    report_and_wake(*this_brain().process(books, monotonic() + PROCESS_FOR_SEC))


@app.task(name="harvest_tasks.sweep.evaluate_positions", ignore_result=True)
def evaluate_positions() -> None:
    """Deliver fresh marks to open positions, and process these and every other book with entries in its inbox."""
    settings = current_settings()
    client = shared_client(settings.redis_url)
    # Before marks fill the inboxes: adoption and mismatch consider only books with an empty inbox.
    adoption.advance_adoption(client, settings)
    mismatch.confirm_mismatches(client, settings)
    sweep.evaluate(client, settings, this_brain())


@app.task(name="harvest_tasks.reconciliation.reconcile_positions", ignore_result=True)
def reconcile_positions() -> None:
    """Compare the tracked positions with the exchange snapshots, and freeze books that differ for the second time.

    This is how a fill that never reached the input is found: it leaves no trace there.
    """
    settings = current_settings()
    client = shared_client(settings.redis_url)
    reconciled = mismatch.reconcile_books(client, settings)
    log.debug(Line("reconciled", **reconciled.counts))
    wake(reconciled.frozen)
    liveness.record_sign(client, liveness.RECONCILED_MS, server_ms(client))


@app.task(name="harvest_tasks.health.heartbeat", ignore_result=True)
def heartbeat() -> None:
    """Record that a worker ran a task that beat sent."""
    client = shared_client(current_settings().redis_url)
    liveness.record_sign(client, liveness.BEAT_MS, server_ms(client))
