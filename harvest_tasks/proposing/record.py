"""A proposal as the fields of its Redis hash: plain text, and numbers as plain decimals."""

from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final

from harvest_tasks.proposing.markets import Market
from harvest_tasks.proposing.sources import OpenPosition, Source
from kernel.positions.quantities import plain
from kernel.proposals.proposal import HarvestProposal

SCHEMA: Final = "1"
SYNTHETIC_POSITION: Final = "synthetic_position"
"""The reason code of every proposal for a synthetic position."""


def proposal_fields(held: OpenPosition, market: Market, proposal: HarvestProposal, now: float) -> dict[str, str]:
    """The hash of a proposal computed at `now` (unix seconds)."""
    position, state, killers = held.position, market.state, proposal.k_components
    codes = [*proposal.reason_codes, *([SYNTHETIC_POSITION] if held.source is Source.SYNTHETIC else [])]
    return {
        "harvest_action": proposal.harvest_action,
        "new_sl_proposed": "" if proposal.new_sl_proposed is None else _text(proposal.new_sl_proposed),
        "R_net": _text(proposal.R_net),
        "risk_unit": _text(proposal.risk_unit),
        "cost_est": _text(proposal.cost_est),
        "kill_score": _text(proposal.kill_score),
        "reason_codes": ",".join(codes),
        "sigma": _text(state.sigma),
        "ts": _text(state.ts),
        "p_trend": _text(state.p_trend),
        "p_mr": _text(state.p_mr),
        "p_chop": _text(state.p_chop),
        "computed_at_utc": utc(now),
        "position_side": position.side,
        "position_age_sec": _text(position.age_sec),
        "position_current_price": _text(position.current_price),
        "position_entry_price": _text(position.entry_price),
        "position_unrealized_pnl": _text(position.unrealized_pnl),
        "k_regime_flip": _text(killers.regime_flip),
        "k_sigma_spike": _text(killers.sigma_spike),
        "k_ts_drop": _text(killers.ts_drop),
        "k_age_penalty": _text(killers.age_penalty),
        "position_source": held.source,
        "market_state_source": market.source,
        "last_update_epoch": str(int(now)),
        "schema": SCHEMA,
    }


def _text(value: float) -> str:
    """Plain decimal text that reads back as the very same float; 0 has no sign."""
    text = repr(value + 0.0)
    return plain(Decimal(text)) if "e" in text else text.removesuffix(".0")


@lru_cache(maxsize=8)
def utc(now: float) -> str:
    """`now` (unix seconds) as `2026-01-23T14:30:00`, which sorts as text."""
    return datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%S")
