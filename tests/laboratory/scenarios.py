"""Small stories of one book, each with a decision in it: what the server holds before, and what comes in."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from harvest_tasks.settings.model import Settings
from kernel.positions.intent import harvest_action, intent_id
from laboratory.invariants import Fields
from laboratory.model import FILLS, Book, Lot, Published, Rules, Symbol, World

BOOK: Final = "BTCUSDT"
FAR: Final = 10**9
"""More than any guard counts to."""


def bought(qty: str = "1", price: str = "100", **more: str) -> Fields:
    return {"symbol": BOOK, "status": "FILLED", "side": "BUY", "qty": qty, "price": price, "stop_loss": "90", **more}


def sold(qty: str, price: str, **more: str) -> Fields:
    return {"symbol": BOOK, "status": "FILLED", "side": "SELL", "qty": qty, "price": price, **more}


def marked(price: str) -> Fields:
    return {"symbol": BOOK, "status": "PRICE_UPDATE", "price": price}


FIRST: Final = intent_id(f"{BOOK}:1", harvest_action(("0.5",), 1))
"""The intent of the first rung of the first lifecycle."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """`before` was applied when it begins, `news` has not been read. `ended` are intents that an outcome names."""

    name: str
    before: Sequence[Fields]
    news: Sequence[Fields]
    environ: Mapping[str, str] = field(default_factory=dict)
    ended: Sequence[str] = ()

    @property
    def settings(self) -> Settings:
        """With timers that no slow machine runs into."""
        return Settings.from_env(
            {
                "HARVEST_MAX_ACTIONS_PER_MIN": "1000",
                "HARVEST_REQUIRE_FRESH_SNAPSHOT_SEC": "3600",
                "HARVEST_LOCK_TTL_SEC": "300",
                **self.environ,
            }
        )

    @property
    def publishes(self) -> bool:
        """Whether its news make an intent due: a refused entry freezes the book before."""
        return not any(entry.get("qty", "").startswith("-") for entry in self.news)

    @property
    def fills(self) -> int:
        """Among the news."""
        return sum(entry["status"] in FILLS for entry in self.news)

    def model(self, ids: Sequence[str]) -> Book:
        """What the reference model makes of it, each entry under its id."""
        symbol = Symbol(BOOK, _rules(self.settings), Counter())
        world = World(now_ms=int(ids[-1].partition("-")[0]), per_minute=FAR, fresh_ms=FAR)
        for entry_id, entry in zip(ids, [*self.before, *self.news], strict=True):
            for book, fields in symbol.reached(entry):
                deeds = book.take(fields, entry_id, world)
                symbol.names.update({intent_id(*d.name): d.name for d in deeds if isinstance(d, Published)})
        return symbol.book(BOOK)


LIVE: Final = {"HARVEST_MODE": "live", "HARVEST_LIVE_CONFIRM": "yes", "SYNTHETIC_FALLBACK": "false"}

ALL: Final = (
    Scenario("one fill that crosses a rung", [bought()], [bought("0.1", "107")]),
    Scenario("two fills", [], [bought(), sold("0.3", "108")]),
    Scenario("a fill, and a mark that crosses two rungs", [], [bought(), marked("111")]),
    Scenario("a refused entry before a mark", [bought()], [sold("-1", "100"), marked("107")]),
    Scenario("a flip", [bought(), marked("106")], [sold("2", "104", stop_loss="114"), marked("98")]),
    Scenario(
        "live, and an intent is rejected",
        [bought(), marked("106")],
        [{"symbol": BOOK, "status": "REJECTED", "intent_id": FIRST}, marked("107")],
        LIVE,
        ended=[FIRST],
    ),
    Scenario(
        "funding before a mark",
        [bought()],
        [{"symbol": BOOK, "status": "FUNDING", "amount": "-0.5"}, marked("107")],
    ),
)


def _rules(settings: Settings) -> Rules:
    """The desk's, for the model."""
    ladder = [(Fraction(rung.r), Fraction(rung.fraction)) for rung in settings.ladder.rungs]
    return Rules(
        ladder=ladder,
        basis=settings.harvest_ladder_basis.value,
        set_be_at_r=Fraction(settings.harvest_set_be_at_r),
        trail_mult=Fraction(settings.harvest_trail_atr_mult),
        eps=Fraction(settings.change_eps_pct),
        cost_bps=Fraction(settings.harvest_cost_bps),
        atr=None,
        lot=Lot(min_notional=Fraction(settings.harvest_min_notional)),
        max_children=settings.harvest_max_actions_per_min,
        live=settings.is_live,
        stop_dist=None,
        fallback=Fraction(settings.fallback_stop_pct),
    )
