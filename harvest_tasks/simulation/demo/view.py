"""The view of a running demo: a live screen on a terminal, otherwise a line every few seconds."""

from time import monotonic
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console
from rich.live import Live

from harvest_tasks.simulation.demo.live_state import LiveState
from harvest_tasks.simulation.demo.panels import format_signed, render_screen
from kernel.positions.rules import Rules

SCREEN_EVERY_SEC: Final = 0.2
LINE_EVERY_SEC: Final = 3.0


class DemoView(Protocol):
    """A context manager that shows the live state."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def is_due(self) -> bool:
        """Whether it is time to show a new state."""

    def show(self, state: LiveState) -> None: ...


def make_view(console: Console, rules: Rules) -> DemoView:
    return ScreenView(console, rules) if console.is_terminal else LineView(console)


class _Throttled:
    """Limits how often a state is shown."""

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


class LineView(_Throttled):
    """One line at a time, for a file or a pipe."""

    def __init__(self, console: Console) -> None:
        super().__init__(LINE_EVERY_SEC, at_once=False)
        self._console = console

    def show(self, state: LiveState) -> None:
        counts = f"{state.opened} opened, {state.counts.get('paper:filled', 0)} harvested, {state.closed} closed"
        text = f"minute {state.minute} of {state.minutes}: {counts}; {format_signed(state.realized)} USDT realized"
        self._console.print(text, soft_wrap=True, highlight=False)
        self._shown()


class ScreenView(_Throttled):
    """The whole terminal; its previous content returns at the end."""

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

    def show(self, state: LiveState) -> None:
        self._live.update(render_screen(state, self._rules, self._console.height), refresh=True)
        self._shown()
