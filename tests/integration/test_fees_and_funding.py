"""What a position cost and earned besides its prices: fees, rebates, funding, and the costs that R counts."""

from decimal import Decimal

import pytest
from desk import Desk, assert_all_accounted_for
from entries import BUY, price

from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from kernel.positions.holding import Holding
from kernel.positions.r_multiple import net_r

SELL = BUY | {"side": "SELL", "price": "110", "stop_loss": "120"}
FUNDING = {"symbol": "BTCUSDT", "status": "FUNDING"}


def funding(amount: str, **fields: str) -> dict[str, str]:
    return FUNDING | {"amount": amount, **fields}


def holding(desk: Desk) -> Holding:
    return desk.position().holding


def other_fees(desk: Desk) -> dict[str, Decimal]:
    return dict(holding(desk).other_fees)


# fees


def test_fees_of_all_fills_of_a_lifecycle_add_up(desk: Desk) -> None:
    desk.run(BUY | {"fee": "0.04"}, BUY | {"fee": "0.05"}, SELL | {"fee": "0.06"})
    assert holding(desk).fees == Decimal("0.15")
    assert_all_accounted_for(desk)


def test_fees_do_not_touch_the_gross_profit_and_reduce_the_net(desk: Desk) -> None:
    desk.run(BUY | {"fee": "0.04"}, SELL | {"fee": "0.06"})
    assert (holding(desk).realized_pnl, holding(desk).net_pnl) == (10, Decimal("9.9"))


def test_a_rebate_is_a_fee_below_zero(desk: Desk) -> None:
    desk.run(BUY | {"fee": "-0.02"}, SELL | {"fee": "0.01"})
    assert (holding(desk).fees, holding(desk).net_pnl) == (Decimal("-0.01"), Decimal("10.01"))


@pytest.mark.parametrize("asset", ["USDT", "usdt"])
def test_a_fee_that_names_the_quote_currency_is_one_without_a_name(desk: Desk, asset: str) -> None:
    desk.run(BUY | {"fee": "0.04", "fee_asset": asset})
    assert (holding(desk).fees, other_fees(desk)) == (Decimal("0.04"), {})


def test_a_fee_in_another_asset_is_recorded_and_never_converted(desk: Desk) -> None:
    desk.run(BUY | {"fee": "0.0001", "fee_asset": "BNB"}, SELL | {"fee": "0.0002", "fee_asset": "BNB"})
    assert other_fees(desk) == {"BNB": Decimal("0.0003")}
    assert (holding(desk).fees, holding(desk).net_pnl) == (0, 10)


def test_each_asset_is_counted_apart(desk: Desk) -> None:
    paid = [("0.2", "BNB"), ("0.1", "USDT"), ("0.3", "BTC"), ("-0.05", "BNB")]
    desk.run(*(BUY | {"fee": fee, "fee_asset": asset} for fee, asset in paid))
    assert other_fees(desk) == {"BNB": Decimal("0.15"), "BTC": Decimal("0.3")}
    assert holding(desk).fees == Decimal("0.1")


def test_a_fee_changes_neither_entry_nor_risk_nor_quantity(desk: Desk) -> None:
    desk.run(BUY, BUY | {"symbol": "ETHUSDT", "fee": "50"})
    plain, charged = holding(desk), desk.position("ETHUSDT").holding
    for name in ("qty", "avg_entry", "base_qty", "risk_per_unit", "realized_pnl"):
        assert getattr(plain, name) == getattr(charged, name)


def test_the_fee_of_a_flip_counts_in_the_new_lifecycle(desk: Desk) -> None:
    desk.run(BUY | {"fee": "0.1"}, SELL | {"qty": "3", "fee": "0.3"})
    assert (holding(desk).qty, holding(desk).fees) == (-2, Decimal("0.3"))
    assert desk.position().banked_pnl == Decimal("9.9")


def test_a_new_lifecycle_starts_without_the_fees_of_the_last(desk: Desk) -> None:
    bnb = {"fee": "0.001", "fee_asset": "BNB"}
    desk.run(BUY | bnb, SELL | {"fee": "0.1"}, BUY)
    assert (holding(desk).fees, other_fees(desk)) == (0, {})
    assert desk.position().banked_pnl == Decimal("9.9")


def test_what_closed_lifecycles_earned_net_is_banked(desk: Desk) -> None:
    desk.run(BUY | {"fee": "0.1"}, SELL | {"fee": "0.1"}, funding("-0.3"), BUY, SELL | {"price": "95"}, BUY)
    assert desk.position().banked_pnl == Decimal("9.8") - Decimal("0.3") - 5


# funding


def test_funding_received_and_paid_adds_up(desk: Desk) -> None:
    desk.run(BUY, funding("0.5"), funding("-0.2"))
    assert (holding(desk).funding, holding(desk).net_pnl) == (Decimal("0.3"), Decimal("0.3"))
    assert_all_accounted_for(desk)


def test_funding_moves_neither_quantity_nor_mark(desk: Desk) -> None:
    desk.run(BUY, price("103"))
    before = desk.position()
    desk.run(funding("-1"))
    after = desk.position()
    assert (after.mark, after.ladder_state, after.epoch) == (before.mark, before.ladder_state, before.epoch)
    assert (after.holding.qty, after.holding.realized_pnl, after.holding.fees) == (1, 0, 0)


def test_funding_late_after_the_close_belongs_to_the_lifecycle_that_was_open_last(desk: Desk) -> None:
    desk.run(BUY, SELL, funding("-0.5"))
    assert (holding(desk).qty, holding(desk).net_pnl) == (0, Decimal("9.5"))
    desk.run(BUY)
    assert (holding(desk).funding, desk.position().banked_pnl) == (0, Decimal("9.5"))


def test_funding_in_another_asset_is_kept_apart_like_a_fee_of_the_other_sign(desk: Desk) -> None:
    desk.run(BUY, funding("0.002", asset="BNB"), BUY | {"fee": "0.005", "fee_asset": "BNB"})
    assert other_fees(desk) == {"BNB": Decimal("0.003")}
    assert (holding(desk).funding, holding(desk).net_pnl) == (0, 0)


def test_funding_in_the_quote_currency_by_name_is_funding(desk: Desk) -> None:
    desk.run(BUY, funding("0.5", asset="USDT"))
    assert (holding(desk).funding, other_fees(desk)) == (Decimal("0.5"), {})


def test_funding_of_a_symbol_that_was_never_seen_is_ignored_and_counted(desk: Desk) -> None:
    desk.run(funding("1"), funding("1", symbol="ETHUSDT"))
    assert (desk.counts()["in"], desk.counts()["ignored"]) == (2, 2)
    assert (desk.client.smembers(keys.BOOKS), desk.deadletters()) == (set(), [])
    assert_all_accounted_for(desk)


def test_funding_that_arrives_before_the_open_is_not_counted_later(desk: Desk) -> None:
    desk.run(funding("1"), BUY)
    assert holding(desk).funding == 0


def test_funding_of_the_same_entry_twice_counts_once(desk: Desk) -> None:
    desk.run(BUY, funding("0.5"))
    desk.client.xgroup_setid(desk.source, keys.GROUP, "0")
    desk.run()
    assert holding(desk).funding == Decimal("0.5")
    assert_all_accounted_for(desk)


@pytest.mark.parametrize("amount", ["", "abc", "NaN", "+1", "1e15"])
def test_malformed_funding_is_dead_lettered_and_freezes_nothing(desk: Desk, amount: str) -> None:
    desk.run(BUY, funding(amount))
    assert len(desk.deadletters()) == 1
    assert (desk.position().frozen, holding(desk).funding) == ("", 0)
    assert_all_accounted_for(desk)


# net R


def test_net_r_counts_what_is_left_after_fees_and_funding_in_units_of_all_that_was_risked(desk: Desk) -> None:
    desk.run(BUY | {"qty": "2", "fee": "0.5"}, funding("1.5"), SELL | {"fee": "0.5"}, SELL | {"price": "105"})
    # 10 + 5 gross, less 1 in fees, plus 1.5 of funding, on a risk of 2 x 10.
    assert net_r(holding(desk)) == Decimal("15.5") / 20


def test_fees_alone_make_net_r_negative_before_anything_is_realized(desk: Desk) -> None:
    desk.run(BUY | {"fee": "0.5"})
    assert net_r(holding(desk)) == Decimal("-0.05")


def test_other_assets_are_not_in_net_r(desk: Desk) -> None:
    desk.run(BUY | {"fee": "7", "fee_asset": "BNB"}, SELL)
    assert net_r(holding(desk)) == 1


def test_a_book_that_was_never_open_has_no_net_r(desk: Desk) -> None:
    desk.run(BUY | {"position_side": "LONG", "side": "SELL", "fee": "0.1"})
    assert net_r(desk.position("BTCUSDT:LONG").holding) == 0


# neither decides anything


def test_fees_and_funding_do_not_move_r(desk: Desk) -> None:
    desk.run(BUY | {"fee": "4"}, funding("-4"), price("104.999999999999"))
    assert desk.suggestions() == []
    desk.run(price("105"))
    assert desk.suggestions()[0]["r_level"] == 0.5


# costs


@pytest.fixture
def costly(redis: Client) -> Desk:
    """A way in and out costs 10 basis points of the entry: 0.1 of 100."""
    return Desk(redis, HARVEST_COST_BPS="10")


@pytest.mark.parametrize(
    ("entry", "short_of_it", "at_it"),
    [(BUY, "105.099999999999", "105.1"), (SELL | {"price": "100", "stop_loss": "110"}, "94.900000000001", "94.9")],
    ids=["long", "short"],
)
def test_costs_move_a_rung_by_exactly_their_amount(
    costly: Desk, entry: dict[str, str], short_of_it: str, at_it: str
) -> None:
    costly.run(entry, price(short_of_it))
    assert costly.suggestions() == []
    costly.run(price(at_it))
    partial, stop = costly.suggestions()
    assert (partial["r_level"], partial["reason"]) == (0.5, "R=0.50 >= 0.5")
    assert stop["intent_type"] == "MOVE_SL_BE"


def test_costs_move_every_rung_by_the_same_amount(costly: Desk) -> None:
    costly.run(BUY, price("110.099999999999"))
    assert costly.position().ladder_state.spent == ("0.5",)
    costly.run(price("110.1"), price("115.099999999999"))
    assert costly.position().ladder_state.spent == ("0.5", "1")
    costly.run(price("115.1"))
    assert costly.position().ladder_state.spent == ("0.5", "1", "1.5")


def test_costs_do_not_move_where_break_even_puts_the_stop(costly: Desk) -> None:
    costly.run(BUY, price("106"))
    assert [i["stop_price"] for i in costly.suggestions() if i["intent_type"] == "MOVE_SL_BE"] == [100.2]


def test_costs_are_a_share_of_the_mean_entry(costly: Desk) -> None:
    costly.run(BUY, BUY | {"price": "80"}, price("95.089999999999"))
    assert costly.suggestions() == []
    costly.run(price("95.09"))
    assert costly.suggestions()[0]["reason"] == "R=0.50 >= 0.5"


def test_without_costs_a_rung_is_where_it_says(desk: Desk) -> None:
    desk.run(BUY, price("104.999999999999"))
    assert desk.suggestions() == []
    desk.run(price("105"))
    assert len(desk.suggestions()) == 2
