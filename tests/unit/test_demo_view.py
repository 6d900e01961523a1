"""What the demo shows: it must fit a small terminal, and be readable in a file."""

import io
import re
from decimal import Decimal

import pytest
from builders import fill, mark, run
from rich.console import Console

from harvest_tasks.fills.symbol_rules import base_rules
from harvest_tasks.settings.model import Settings
from harvest_tasks.simulation.demo.live_state import LiveState, SentIntent
from harvest_tasks.simulation.demo.panels import render_screen
from harvest_tasks.simulation.demo.view import LineView, ScreenView, make_view
from kernel.positions.position import Position

RULES = base_rules(Settings.from_env({}))
HELD, _ = run([fill("BUY", "0.5", "60000", stop_loss=Decimal(59000)), mark("60640.5")])
SENT = SentIntent(
    {
        "symbol": "BTCUSDT",
        "intent_type": "REDUCE_ONLY",
        "side": "SELL",
        "qty": "0.125",
        "mark_price": "60640.5",
        "reason": "R=0.64 >= 0.5",
    },
    "filled",
)
MOVED = SentIntent({**SENT.intent, "intent_type": "TRAIL_UPDATE", "stop_price": "60100"}, "")
PROPOSAL = {
    "harvest_action": "FULL_CLOSE_PROPOSED",
    "R_net": "0.59",
    "kill_score": "0.731",
    "new_sl_proposed": "60120",
    "reason_codes": "kill_score_triggered,regime_flip,sigma_spike,ts_drop,age_penalty",
}
STATE = LiveState(
    minute=212,
    minutes=480,
    positions={"BTCUSDT": HELD, "ETHUSDT": Position("ETHUSDT")},
    proposals={"BTCUSDT": PROPOSAL, "ETHUSDT": {}},
    intents=[SENT, MOVED] * 20,
    by_rung={"0.5": 12, "1": 4, "1.5": 1},
    stop_moves=20,
    counts={"applied": 123_456, "paper:filled": 17, "proposals:published": 9},
    opened=20,
    closed=18,
)


def drawn(width: int, height: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height)
    with console.capture() as captured:
        console.print(render_screen(STATE, RULES, height))
    return captured.get().splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (200, 60)])
def test_the_screen_fills_the_terminal_and_no_more(width: int, height: int) -> None:
    lines = drawn(width, height)
    assert len(lines) == height
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
def test_everything_that_matters_is_readable(width: int, height: int) -> None:
    text = re.sub(" +", " ", "\n".join(drawn(width, height)))
    for said in (
        "minute 212 of 480",
        "BTCUSDT long 0.5 60,000.00 60,640.50 +0.64 59,000.00 ●○○ +320.25",
        "ETHUSDT flat",
        "BTCUSDT FULL_CLOSE_PROPOSED +0.59 0.73 60,120.00 regime_flip",
        "BTCUSDT REDUCE_ONLY SELL 0.125 60,640.50 R=0.64 >= 0.5 filled",
        "BTCUSDT TRAIL_UPDATE 60,100.00 R=0.64 >= 0.5 noted",
        "20 opened, 17 harvested, 18 closed",
        "12 at 0.5 R, 4 at 1 R, 1 at 1.5 R; 20 stop moves",
        "9 published, 0 unchanged",
        "123,456 applied",
    ):
        assert said in text


def test_a_terminal_gets_the_screen_and_a_file_gets_lines() -> None:
    assert isinstance(make_view(Console(file=io.StringIO(), force_terminal=True), RULES), ScreenView)
    assert isinstance(make_view(Console(file=io.StringIO()), RULES), LineView)


def test_a_line_says_how_far_it_is() -> None:
    out = io.StringIO()
    with make_view(Console(file=out, width=40), RULES) as lines:
        assert not lines.is_due
        lines.show(STATE)
    assert out.getvalue() == "minute 212 of 480: 20 opened, 17 harvested, 18 closed; +0.00 USDT realized\n"
