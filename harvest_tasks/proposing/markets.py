"""What do other programs publish about a symbol's market? Reads the market state and the risk proposal."""

from decimal import Decimal
from enum import StrEnum
from math import inf
from typing import NamedTuple

from harvest_tasks.proposing.skip_reason import (
    HashReply,
    NoProposal,
    SkipReason,
    hash_fields,
    needs_usable_input,
)
from harvest_tasks.wire.fields import Fields
from harvest_tasks.wire.numbers import is_stop_distance, optional_float, required_float
from harvest_tasks.wire.refusal import InvalidInput
from kernel.proposals.market import MarketState, P1Proposal


class MarketSource(StrEnum):
    REDIS_HASH = "redis_hash"
    NEUTRAL = "neutral"


NEUTRAL = MarketState(sigma=0.01, ts=0.3, p_trend=0.34, p_mr=0.33, p_chop=0.33)
"""Neutral: every component of the kill score is 0."""


class Market(NamedTuple):
    state: MarketState
    source: MarketSource


@needs_usable_input
def read_market(reply: HashReply, *, is_synthetic: bool) -> Market:
    """The market state; without one, neutral values for a synthetic position. Raises `NoProposal` for any other."""
    found = hash_fields(reply)
    if found:
        return Market(_state(found), MarketSource.REDIS_HASH)
    if is_synthetic:
        return Market(NEUTRAL, MarketSource.NEUTRAL)
    raise NoProposal(SkipReason.NO_MARKET_STATE)


def _state(fields: Fields) -> MarketState:
    return MarketState(
        sigma=required_float(fields, "sigma"),
        ts=required_float(fields, "ts"),
        p_trend=required_float(fields, "p_trend"),
        p_mr=required_float(fields, "p_mr"),
        p_chop=required_float(fields, "p_chop"),
    )


@needs_usable_input
def read_risk_proposal(reply: HashReply) -> P1Proposal | None:
    found = hash_fields(reply)
    if not found:
        return None
    return P1Proposal(
        stop_dist_pct=_stop_dist_pct(found),
        proposed_sl=optional_float(found, "proposed_sl"),
        proposed_tp=optional_float(found, "proposed_tp"),
    )


def _stop_dist_pct(found: Fields) -> float | None:
    ratio = optional_float(found, "stop_dist_pct")
    return ratio if ratio is not None and is_stop_distance(Decimal(found["stop_dist_pct"])) else None


def market_age_sec(reply: HashReply, now: float) -> float | None:
    """Seconds since the market state was made; None if it states no time, infinite for an impossible one such as 0."""
    if not isinstance(reply, dict) or not reply.get("ts_timestamp"):
        return None
    try:
        made = required_float(reply, "ts_timestamp")
    except InvalidInput:
        return inf
    return max(now - made, 0.0) if 0 < made <= now + 60 else inf
