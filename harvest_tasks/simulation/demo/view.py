"""The demo on a terminal: a live screen that fits it; elsewhere a line every few seconds."""

from time import monotonic
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console
from rich.live import Live

from harvest_tasks.simulation.demo.live_state import Board
from harvest_tasks.simulation.demo.panels import screen, signed
from kernel.positions.rules import Rules

SCREEN_EVERY_SEC: Final = 0.2
LINE_EVERY_SEC: Final = 3.0


class View(Protocol):
    """Used as a context; `show` may be called as often as one likes."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def is_due(self) -> bool:
        """Whether it is time to show something new."""

    def show(self, board: Board) -> None: ...


def view(console: Console, rules: Rules) -> View:
    return Screen(console, rules) if console.is_terminal else Lines(console)


class _Regular:
    """Shows at most every so often."""

    def __init__(self, every_sec: float, *, at_once: bool) -> None:
        self._every_sec = every_sec
        self._next = monotonic() + (0 if at_once else every_sec)

    @property
    def is_due(self) -> bool:
        return monotonic() >= self._next

    def _shown(self) -> None:
        self._next = monotonic() + self._every_sec

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class Lines(_Regular):
    """For a file or a pipe."""

    def __init__(self, console: Console) -> None:
        super().__init__(LINE_EVERY_SEC, at_once=False)
        self._console = console

    def show(self, board: Board) -> None:
        counts = f"{board.opened} opened, {board.counts.get('paper:filled', 0)} harvested, {board.closed} closed"
        text = f"minute {board.minute} of {board.minutes}: {counts}; {signed(board.realized)} USDT realized"
        self._console.print(text, soft_wrap=True, highlight=False)
        self._shown()


class Screen(_Regular):
    """The whole terminal, which gets its content back at the end."""

    def __init__(self, console: Console, rules: Rules) -> None:
        super().__init__(SCREEN_EVERY_SEC, at_once=True)
        self._console = console
        self._rules = rules
        self._live = Live(console=console, auto_refresh=False, screen=True, vertical_overflow="crop")

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, board: Board) -> None:
        self._live.update(screen(board, self._rules, self._console.height), refresh=True)
        self._shown()
