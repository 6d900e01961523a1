"""One run of the demo: prints the introduction, plays the session at its speed, shows it, and prints the summary."""

import time
from collections.abc import Callable
from typing import Final

from rich.console import Console

from harvest_tasks.fills.symbol_rules import base_rules
from harvest_tasks.server.client import Client
from harvest_tasks.simulation.demo.environment import Environment
from harvest_tasks.simulation.demo.feed import Feed, Interrupted
from harvest_tasks.simulation.demo.live_state import LiveStateReader
from harvest_tasks.simulation.demo.prices import bundled_prices
from harvest_tasks.simulation.demo.recording import record
from harvest_tasks.simulation.demo.session import Session
from harvest_tasks.simulation.demo.strategy import Strategy
from harvest_tasks.simulation.demo.summary import Summary, summarize
from harvest_tasks.simulation.demo.texts import conclusion, introduction
from harvest_tasks.simulation.demo.view import make_view
from harvest_tasks.simulation.paper.execution import ExecutionTerms

MAX_RUN_SEC: Final = 38.0
"""On a slow machine the session ends early after this time, and the summary reports it."""
SLEEP_SEC: Final = 0.05


def run_demo(
    environment: Environment, console: Console, terms: ExecutionTerms, speed: float, on_signal: Callable[[], None]
) -> Summary:
    """Run the demo at `speed` in market minutes per second; 0: as fast as this machine can.

    The first signal calls `on_signal`, and stops the demo.

    Raises `NotReady`, `Stuck` or `Interrupted`.
    """
    settings, prices, strategy = environment.settings, bundled_prices(), Strategy()
    console.print(*introduction(prices, strategy, terms), sep="\n")
    progress = console.status("starting a server, the workers, beat and the executor")

    def action(client: Client, is_stopping: Callable[[], bool]) -> Summary:
        progress.stop()
        pace = Pace(speed, is_stopping)
        feed = Feed(client, settings, prices.symbols, is_stopping)
        session = Session(feed, settings, prices, strategy, terms)
        live_state = LiveStateReader(client, settings)

        def continue_after_minute() -> bool:
            if screen.is_due:
                screen.show(live_state.read(session, prices.minutes))
            return pace.wait_for_next(session.minute + 1)

        with make_view(console, base_rules(settings)) as screen:
            session.play(continue_after_minute)
        progress.update("verifying against the kernel, and stopping all processes")
        progress.start()
        return summarize(record(client, settings), settings, session, prices, strategy, terms)

    with progress:
        summary = environment.run(action, executor_options(terms), on_signal)
    console.print(*conclusion(summary), sep="\n")
    return summary


def executor_options(terms: ExecutionTerms) -> list[str]:
    return [
        f"--slippage-bps={terms.slippage_bps}",
        f"--fee-bps={terms.fee_bps}",
        f"--reject-share={terms.reject_share}",
        f"--seed={terms.seed}",
    ]


class Pace:
    """Limits the speed of a session, from the moment it is created."""

    def __init__(self, speed: float, is_stopping: Callable[[], bool]) -> None:
        self._speed = speed
        self._is_stopping = is_stopping
        self._began = time.monotonic()

    def wait_for_next(self, minutes: int) -> bool:
        """Wait until `minutes` have passed at this speed; False if the time for the run is up. Raises `Interrupted`."""
        if not self._speed:
            return time.monotonic() - self._began < MAX_RUN_SEC
        while (left := self._began + minutes / self._speed - time.monotonic()) > 0:
            if self._is_stopping():
                raise Interrupted
            time.sleep(min(left, SLEEP_SEC))
        return True
