"""Random lives to draw, and the branches of the model that enough of them take."""

from collections.abc import Callable

from hypothesis import HealthCheck, Verbosity, given, settings
from hypothesis import strategies as st

from laboratory.random_moves import MOVE_BYTES, MOVES, SETUP_BYTES

lives = st.tuples(
    st.binary(min_size=SETUP_BYTES, max_size=SETUP_BYTES),
    st.lists(st.binary(min_size=MOVE_BYTES, max_size=MOVE_BYTES), min_size=MOVES, max_size=MOVES),
)

# fmt: off
SOON = [
    "open", "add", "reduce", "close", "flip", "risk_of_stop", "risk_of_distance", "risk_of_fallback", "stop_unusable",
    "atr_replaced", "mark", "old_price", "future_price_loses", "future_price_is_no_peak",
    "fee_in_quote", "fee_in_another_asset", "funding_in_quote", "funding_in_another_asset",
    "excess_of_a_leg", "excess_of_a_flat_leg",
    "duplicate_trade", "frozen_trade_id_reused", "frozen_refused", "frozen_position_mode", "release",
    "adopt_new", "adopt_flat", "adopt_other_side", "adopt_refused",
    "published_one_rung", "published_rungs_together", "published_first", "published_again", "published_whole",
    "published_parts", "published_live", "published_shadow", "published_sl_be", "published_trail", "published_resize",
    "carry_used", "rest_taken_along", "answered_in_full", "clamp", "rearm", "rearm_of_another_part", "overdue",
    "outcome_rejected", "outcome_canceled", "outcome_expired", "outcome_of_a_stranger", "outcome_of_no_reservation",
    "held_below_minimum", "held_killed", "held_frozen", "held_stale", "held_rate_limited", "look_again",
]
SELDOM = [
    "held_nothing_left", "held_duplicate", "exhausted", "exhausted_while_armed", "cut_to_the_most",
    "break_even_was_behind", "repeated", "adopt_more", "adopt_less", "adopt_nothing_new", "answered_in_part",
    "funding_unseen", "funding_of_the_other_mode",
]
# fmt: on
"""Branches of the model that lives take soon, and those that only thousands of lives surely take."""


def live_through(live: Callable[[bytes, list[bytes]], None], number: int) -> None:
    """Have `number` lives drawn and lived."""

    @settings(
        max_examples=number,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        verbosity=Verbosity.quiet,
    )
    @given(lives)
    def one(life: tuple[bytes, list[bytes]]) -> None:
        live(*life)

    one()
