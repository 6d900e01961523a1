"""The demo's feed on a real server: it returns only when everything that follows from what it sent is done."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from desk import LIVE, Desk
from entries import BUY

from harvest_tasks.fills.stream import InputStream
from harvest_tasks.server.client import Client
from harvest_tasks.simulation.demo import feed as feeds
from harvest_tasks.simulation.demo.feed import Feed, Interrupted, Stuck
from harvest_tasks.simulation.paper.execution import ExecutionTerms
from harvest_tasks.simulation.paper.executor import PaperExecutor

PRICE = {"symbol": "BTCUSDT", "status": "PRICE_UPDATE", "price": "106"}


@pytest.fixture
def desk(redis: Client) -> Desk:
    desk = Desk(redis, **LIVE)
    InputStream(redis, desk.settings).ensure_group()
    PaperExecutor(redis, desk.settings, ExecutionTerms()).ensure_group()
    return desk


class Working(Feed):
    """A feed whose session takes `steps` in turn while it waits, instead of processes beside it."""

    def __init__(self, desk: Desk, *steps: str) -> None:
        self.steps = iter(steps)
        self.desk = desk
        super().__init__(desk.client, desk.settings, ["BTCUSDT"], self._work)

    def _work(self) -> bool:
        match next(self.steps, "stop"):
            case "route":
                self.desk.route()
            case "apply":
                self.desk.process()
            case "answer":
                PaperExecutor(self.desk.client, self.desk.settings, ExecutionTerms()).drain()
            case _:
                return True
        return False


def test_the_positions_are_those_after_the_executors_fills(desk: Desk) -> None:
    feed = Working(desk, "route", "apply", "answer", "route", "apply")
    positions = feed.send([BUY, PRICE])
    assert positions["BTCUSDT"].holding.qty == Decimal("0.75")
    assert positions["BTCUSDT"].ladder_state.reservations == ()
    assert next(feed.steps, "none left") == "none left"


@pytest.mark.parametrize("done", [(), ("route",), ("route", "apply"), ("route", "apply", "answer")])
def test_whatever_is_left_to_do_is_waited_for(desk: Desk, done: tuple[str, ...]) -> None:
    with pytest.raises(Interrupted):
        Working(desk, *done).send([BUY, PRICE])


@pytest.mark.parametrize(
    ("done", "missing"),
    [
        ((), "the watcher has entries to read"),
        (("route",), "a book has entries to apply"),
        (("route", "apply"), "the executor has intents to answer"),
    ],
)
def test_when_nothing_moves_it_says_whose_turn_it_is(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, done: tuple[str, ...], missing: str
) -> None:
    desk.feed(BUY, PRICE)
    steps: dict[str, Callable[[], object]] = {"route": desk.route, "apply": desk.process}
    for step in done:
        steps[step]()
    monkeypatch.setattr(feeds, "SETTLE_TIMEOUT_SEC", 0.0)
    with pytest.raises(Stuck, match=missing):
        Feed(desk.client, desk.settings, ["BTCUSDT"], lambda: False).send([])
