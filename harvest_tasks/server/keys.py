"""Every Redis key that Harvest owns or reads by a fixed name. No other module spells such a key.

Names that a deployment may change (streams, prefixes, the kill switch) come from `Settings`.
"""

from typing import Final

GROUP: Final = "harvest_brain_group"
CONSUMER: Final = "harvest_brain"
PAPER_GROUP: Final = "harvest_paper"
PAPER_CONSUMER: Final = "harvest_paper"

DECISIONS: Final = "quantum:stream:harvest.decisions"
DEADLETTER: Final = "quantum:stream:harvest.deadletter"

BOOKS: Final = "quantum:harvest:books"
"""Set of every book that ever received a fill."""
WAITING: Final = "quantum:harvest:waiting"
"""Set of the books whose inbox is not empty."""
OPEN: Final = "quantum:harvest:open"
"""Set of the books with an open position."""
HELD: Final = "quantum:harvest:held"
"""Sorted set of the books with a due intent that a guard holds back; score: unix ms until which to look again."""
LEASE: Final = "quantum:harvest:watch:lease"
CURSOR: Final = "quantum:harvest:watch:cursor"
"""Hash: the newest input entry that was moved to an inbox, and how many had been read by then."""
BROKEN: Final = "quantum:harvest:broken"
"""Set of the books that missed entries because their inbox was not a stream."""
LOST: Final = "quantum:harvest:lost"
"""Hash: input entries that were lost before they were read; deleted when an operator releases the books."""
ADOPTION: Final = "quantum:harvest:adoption"
"""Hash: since when, and up to which input entry, positions that were open before the first start are being adopted."""
COMPARED: Final = "quantum:harvest:compared"
"""Hash: what the newest comparison with the exchange found, by book, where either side is open."""
MISMATCHES: Final = "quantum:harvest:suspected"
"""Hash: differences found once, by book, until another comparison confirms or clears them."""
COUNTS: Final = "quantum:harvest:counts"
"""Hash of counters: in, ignored, deadlettered, applied, duplicate, intents; and the sums of `liveness`."""
WINDOW: Final = "quantum:harvest:window"
"""List of the publish times (unix ms) of the newest intents, newest first: the rate limit's memory."""
HEARTBEAT: Final = "quantum:harvest:heartbeat"
"""Hash: when each part of Harvest last did its work (unix ms), see `liveness`."""

PROOF: Final = "quantum:harvest:proof"
"""Marks a database in which `harvest proof --active` runs a rehearsal."""

STREAM_EXECUTION: Final = "quantum:stream:execution"


POSITION_PREFIX: Final = "quantum:harvest:position:"


def position(book: str) -> str:
    return POSITION_PREFIX + book


INBOX_PREFIX: Final = "quantum:harvest:inbox:"


def inbox(book: str) -> str:
    return INBOX_PREFIX + book


def trades(book: str, generation: int) -> str:
    """Hash trade_id -> content digest; two generations are kept, see `ledger`."""
    return f"quantum:harvest:trades:{book}:{generation}"


def history(symbol: str) -> str:
    """List of the newest harvests of a symbol, newest first."""
    return f"quantum:harvest:history:{symbol}"


def lifecycles(symbol: str) -> str:
    """List of the newest closed lifecycles of a symbol, newest first."""
    return f"quantum:harvest:lifecycles:{symbol}"


def overrides(symbol: str) -> str:
    """Hash: the rules that a desk sets for one symbol."""
    return f"quantum:config:harvest:{symbol}"


LOCK_PREFIX: Final = "quantum:harvest:lock:"


def lock(book: str) -> str:
    return LOCK_PREFIX + book


def dedup(position_id: str, action: str) -> str:
    return f"quantum:dedup:harvest:{position_id}:{action}"


def paper_reply(intent_id: str) -> str:
    """String: the reference executor's reply to an intent."""
    return f"quantum:harvest:paper:{intent_id}"


POSITION_STATE_PREFIX: Final = "quantum:state:positions:"


def position_state(symbol: str) -> str:
    return POSITION_STATE_PREFIX + symbol


def ticker(symbol: str) -> str:
    return f"quantum:ticker:{symbol}"


def market(symbol: str) -> str:
    return f"quantum:market:{symbol}"
