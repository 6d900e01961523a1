"""One entry's way through the door into the book that it names, without a server, and what must hold on the way."""

from collections.abc import Mapping
from typing import Final

from harvest_tasks.fills.plan import Delivered, make_plan
from harvest_tasks.fills.router import instruction
from harvest_tasks.fills.symbol_rules import base_rules
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire import inbox_entry
from kernel.positions.guards import Guards
from kernel.positions.holding import RiskTerms
from kernel.positions.position import Position

RULES: Final = base_rules(Settings.from_env({}))
GUARDS: Final = Guards(now_ms=1_700_000_001_000, fresh_ms=30_000, killed=False, budget=30)
LETTER_CHARACTERS: Final = 1_500
"""Of reason and head together: a byte of the head may take four."""
KINDS: Final = frozenset("BKOSIRM")
BOOK_CHARACTERS: Final = 40


def through_the_door(entry_id: str, fields: Mapping[str, str]) -> None:
    """Raises whatever is raised on the way, and AssertionError where something is not as promised."""
    flat = [part for pair in fields.items() for part in pair]
    kind, target, packed, reason, sha256, size, head = instruction((entry_id, flat))
    assert kind in KINDS, kind
    assert len(target) <= BOOK_CHARACTERS, target
    if kind in "RM":
        assert reason
        assert len(reason) + len(head) <= LETTER_CHARACTERS, len(head)
        assert len(sha256) == 64
        assert int(size) == len("\n".join(f"{n}={v}" for n, v in fields.items()).encode("utf-8", "surrogateescape"))
    if packed:
        entry = inbox_entry.unpack(packed)
        assert inbox_entry.pack(entry) == packed
        made = make_plan(Position(target or "BTCUSDT"), [Delivered("1-0", entry)], RULES, GUARDS, RiskTerms(), {})
        assert made.applied + made.duplicate + len(made.dead_letters) == 1
