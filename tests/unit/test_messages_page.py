"""The page on messages: the intent it shows is what Harvest writes, and it names each field that is read or written."""

import re
from decimal import Decimal
from pathlib import Path

from harvest_tasks.proposing.markets import NEUTRAL, Market, MarketSource
from harvest_tasks.proposing.positions import synthetic_position
from harvest_tasks.proposing.record import proposal_fields
from harvest_tasks.proposing.sources import OpenPosition, Source
from harvest_tasks.simulation.paper.order import parse_order
from harvest_tasks.wire import fields
from harvest_tasks.wire.intent import Delivery, intent_payload
from kernel.positions.entry import Side
from kernel.positions.intent import Intent, IntentKind, harvest_action, intent_id
from kernel.proposals.proposal import compute_harvest_proposal

PAGE = (Path(__file__).parents[2] / "docs" / "messages.md").read_text(encoding="utf-8")
INTENT_MS = 1_796_065_973_726
SUGGESTION = Delivery(live=False, live_stops=False, timeout_ms=900_000)


def example() -> Intent:
    action = harvest_action(["0.5"], 1)
    return Intent(
        intent_id=intent_id("BTCUSDT:1", action),
        position_id="BTCUSDT:1",
        kind=IntentKind.HARVEST,
        action=action,
        book="BTCUSDT",
        side=Side.SELL,
        qty=Decimal("0.25"),
        rungs=("0.5",),
        reason="R=0.52 >= 0.5",
        mark=Decimal("105.2"),
        time_ms=INTENT_MS,
        entry_price=Decimal(100),
        unrealized_pnl=Decimal("5.2"),
    )


def shown_intent() -> str:
    block = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert block
    return re.sub(r"\n ?", "", block[1])


def spans(section: str) -> set[str]:
    """Every word in code of a section's tables."""
    _, _, rest = PAGE.partition(f"\n## {section}")
    rows = re.findall(r"^\|.*\|$", rest.partition("\n## ")[0], re.MULTILINE)
    return {word for row in rows for word in re.findall(r"`([^`]+)`", row)}


def test_the_intent_it_shows_is_the_one_that_is_written() -> None:
    assert shown_intent() == intent_payload(example(), SUGGESTION, f"{INTENT_MS}-0")
    assert parse_order({"payload": shown_intent()}).dry_run


def test_it_names_each_field_of_an_entry() -> None:
    tables = (fields.FILL, fields.PLANNED_PRICE, fields.NOTIONAL, fields.MARK, fields.FUNDING, fields.ORDER_ENDED)
    assert {name for table in tables for name in table} - spans("In: `quantum:stream:execution.result`") == set()


def test_it_names_each_field_of_a_proposal_and_no_other() -> None:
    held = OpenPosition("BTCUSDT", Source.SYNTHETIC, synthetic_position("BTCUSDT"))
    market = Market(NEUTRAL, MarketSource.NEUTRAL)
    written = proposal_fields(held, market, compute_harvest_proposal(held.position, market.state), 1_796_065_973.0)
    table = PAGE.partition("\n## Out: proposals")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`([^`]+)`", row)} == set(written)
