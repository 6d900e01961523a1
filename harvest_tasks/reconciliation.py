"""Reconciliation: the tracked positions beside the exchange's own record, from time to time.

A fill that never reached the input leaves no trace in it; this is how it shows.
"""

import logging

from harvest_tasks import brain
from harvest_tasks.celery import app
from harvest_tasks.logs import Line
from harvest_tasks.reconciling.suspicion import reconcile
from harvest_tasks.server import liveness
from harvest_tasks.server.client import shared
from harvest_tasks.server.clock import server_ms
from harvest_tasks.settings.model import current

log = logging.getLogger(__name__)


@app.task(name="harvest_tasks.reconciliation.reconcile_positions", ignore_result=True)
def reconcile_positions() -> None:
    """Compare once, and freeze what differs for the second time."""
    settings = current()
    client = shared(settings.redis_url)
    found = reconcile(client, settings)
    log.debug(Line("reconciled", **found.counts))
    brain.ring(found.frozen)
    liveness.note(client, liveness.RECONCILED_MS, server_ms(client))
