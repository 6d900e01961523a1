"""A performance of the demo: announced, played at its pace, shown meanwhile, and summed up."""

import time
from collections.abc import Callable
from typing import Final

from rich.console import Console

from harvest_tasks.fills.symbol_rules import base_rules
from harvest_tasks.server.client import Client
from harvest_tasks.simulation.demo.environment import Stage
from harvest_tasks.simulation.demo.feed import Feed, Interrupted
from harvest_tasks.simulation.demo.live_state import Lookout
from harvest_tasks.simulation.demo.prices import carried
from harvest_tasks.simulation.demo.recording import gather
from harvest_tasks.simulation.demo.session import Session
from harvest_tasks.simulation.demo.strategy import Strategy
from harvest_tasks.simulation.demo.summary import Summary, summarize
from harvest_tasks.simulation.demo.texts import conclusion, introduction
from harvest_tasks.simulation.demo.view import view
from harvest_tasks.simulation.paper.execution import Terms

LONGEST_SEC: Final = 38.0
"""On a machine that is too slow for the whole tape the session ends early, and says so."""
NAP_SEC: Final = 0.05


def perform(stage: Stage, console: Console, terms: Terms, speed: float) -> Summary:
    """`speed` is in market minutes per second; 0: as fast as everything keeps up.

    Raises `NotReady`, `Stuck` or `Interrupted`.
    """
    tape, strategy = carried(), Strategy()
    console.print(*introduction(tape, strategy, terms), sep="\n")
    doing = console.status("starting a server, workers, beat and the executor")

    def act(client: Client, is_stopping: Callable[[], bool]) -> Summary:
        doing.stop()
        pace = Pace(speed, is_stopping)
        session = Session(
            Feed(client, stage.settings, tape.symbols, is_stopping), stage.settings, tape, strategy, terms
        )
        lookout = Lookout(client, stage.settings)

        def go_on() -> bool:
            if screen.is_due:
                screen.show(lookout.look(session, tape.minutes))
            return pace.go_on(session.minute + 1)

        with view(console, base_rules(stage.settings)) as screen:
            session.play(go_on)
        doing.update("checking everything against the kernel, and stopping all processes")
        doing.start()
        return summarize(gather(client, stage.settings), stage.settings, session, tape, strategy, terms)

    with doing:
        summary = stage.perform(act, executor_options(terms))
    console.print(*conclusion(summary), sep="\n")
    return summary


def executor_options(terms: Terms) -> list[str]:
    return [
        f"--slippage-bps={terms.slippage_bps}",
        f"--fee-bps={terms.fee_bps}",
        f"--reject-share={terms.reject_share}",
        f"--seed={terms.seed}",
    ]


class Pace:
    """Begins when it is made."""

    def __init__(self, speed: float, is_stopping: Callable[[], bool]) -> None:
        self._speed = speed
        self._is_stopping = is_stopping
        self._began = time.monotonic()

    def go_on(self, minutes: int) -> bool:
        """Whether there is time for another minute; returns when that is due. Raises `Interrupted`."""
        if not self._speed:
            return time.monotonic() - self._began < LONGEST_SEC
        while (left := self._began + minutes / self._speed - time.monotonic()) > 0:
            if self._is_stopping():
                raise Interrupted
            time.sleep(min(left, NAP_SEC))
        return True
