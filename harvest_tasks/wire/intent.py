"""What do other programs read of an intent? One JSON payload whose bytes depend on the intent's cause alone.

Some values have two names, for two generations of executors: `side`/`action`, `qty`/`quantity`,
`reduce_only`/`reduceOnly`. Numbers are JSON numbers written from exact decimals.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from json.encoder import encode_basestring_ascii as quoted

from kernel.positions.intent import Intent, IntentKind
from kernel.positions.quantities import plain

INTENT_SOURCE = "harvest_brain"


@dataclass(frozen=True, slots=True)
class Delivery:
    """How intents are delivered: if `live` to the intent stream, else to the suggestions.

    Without `live_stops`, moves of the stop are only suggested in live mode, too. `timeout_ms` after its time an intent
    expires.
    """

    live: bool
    live_stops: bool
    timeout_ms: int

    def is_live(self, intent: Intent) -> bool:
        return self.live and (intent.kind is IntentKind.HARVEST or self.live_stops)

    def intent_type(self, intent: Intent) -> str:
        if intent.kind is not IntentKind.HARVEST:
            return intent.kind.value
        return "REDUCE_ONLY" if self.is_live(intent) else "HARVEST_PARTIAL"


def intent_payload(intent: Intent, delivery: Delivery, trace_id: str) -> str:
    """The intent as JSON text. `trace_id` names the input entry that made it due."""
    intent_id, side, qty = quoted(intent.intent_id), quoted(intent.side), plain(intent.qty)
    text = {
        "intent_id": intent_id,
        "intent_type": quoted(delivery.intent_type(intent)),
        "symbol": quoted(intent.symbol),
        "side": side,
        "action": side,
        "qty": qty,
        "quantity": qty,
        "reason": quoted(intent.reason),
        "r_level": intent.rungs[-1] if intent.rungs else "null",
        "rungs": f"[{','.join(intent.rungs)}]",
        "position_id": quoted(intent.position_id),
        "position_side": quoted(intent.position_side),
        "reduce_only": "true",
        "reduceOnly": "true",
        "dry_run": "false" if delivery.is_live(intent) else "true",
        "mark_price": plain(intent.mark),
        "entry_price": plain(intent.entry_price),
        "unrealized_pnl": plain(intent.unrealized_pnl),
        **_stop_price(intent.stop_price),
        "confidence": "1.0",
        "source": quoted(INTENT_SOURCE),
        "correlation_id": intent_id,
        "trace_id": quoted(trace_id),
        "timestamp": quoted(_iso(intent.time_ms)),
        "expires_at": quoted(_iso(intent.time_ms + delivery.timeout_ms)),
    }
    return "{" + ",".join([f'"{name}":{value}' for name, value in text.items()]) + "}"


def _stop_price(stop_price: Decimal | None) -> dict[str, str]:
    return {} if stop_price is None else {"stop_price": plain(stop_price)}


def _iso(unix_ms: int) -> str:
    """`2026-01-23T14:30:00.123Z`."""
    seconds = datetime.fromtimestamp(unix_ms // 1000, UTC).isoformat()
    return f"{seconds[:19]}.{unix_ms % 1000:03d}Z"
