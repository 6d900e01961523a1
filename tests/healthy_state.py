"""What a healthy deployment leaves in Redis, and some ways to break it."""

from collections.abc import Callable
from typing import Final

import inputs
from desk import Desk
from entries import BUY

from harvest_tasks.fills.inbox import freeze_all
from harvest_tasks.server import liveness

SIGNS: Final = (
    *(liveness.BEAT_MS, liveness.WATCHED_MS, liveness.SWEPT_MS),
    *(liveness.PROPOSALS_CYCLE_MS, liveness.RECONCILED_MS),
)
LONG_AGO_MS: Final = 3_600_000

Break = Callable[[Desk], object]


def make_healthy(desk: Desk) -> None:
    """Signs of life, market states, and a position."""
    liveness.record_start(desk.client, "fills@desk", desk.server_ms())
    for sign in SIGNS:
        liveness.record_sign(desk.client, sign, desk.server_ms())
    for symbol in desk.settings.symbols or ():
        inputs.market_state(desk.client, symbol, ts_timestamp=str(desk.client.time()[0]))
    desk.run(BUY)


def behind(sign: str) -> Break:
    """It was given long ago."""
    return lambda desk: liveness.record_sign(desk.client, sign, desk.server_ms() - LONG_AGO_MS)


def lost(desk: Desk) -> None:
    freeze_all(desk.client, 5, "5 entries were trimmed", desk.server_ms())
    desk.process()
