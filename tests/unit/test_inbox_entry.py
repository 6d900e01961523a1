"""Entries survive their way through an inbox."""

import json
from decimal import Decimal

import pytest
from entries import fill, mark, outcome
from hypothesis import given
from hypothesis import strategies as st

from harvest_tasks.wire.inbox_entry import BadInboxEntry, pack, unpack
from kernel.positions.entry import (
    Adopt,
    Entry,
    Fill,
    Freeze,
    Funding,
    Mark,
    OrderEnded,
    OrderEndStatus,
    Overdue,
    Release,
    Side,
)

ids = st.builds("{}-{}".format, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
times = st.integers(0, 2**53)
names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=64)
numbers = st.decimals(Decimal("1e-12"), Decimal("999999999999999"), places=12)
amounts = st.decimals(-1000, 1000, places=12)

entries: st.SearchStrategy[Entry] = st.one_of(
    st.builds(
        Fill,
        ids,
        times,
        st.sampled_from(Side),
        numbers,
        numbers,
        st.none() | names,
        st.none() | names,
        st.none() | numbers,
        st.none() | numbers,
        st.none() | amounts,
    ),
    st.builds(Mark, ids, times, numbers),
    st.builds(OrderEnded, ids, times, st.sampled_from(OrderEndStatus), names),
    st.builds(Freeze, ids, times, st.text()),
    st.builds(Release, ids, times),
)


@given(entries)
def test_what_is_packed_is_unpacked_exactly(entry: Entry) -> None:
    text = pack(entry)
    unpacked = unpack(text)
    assert unpacked == entry
    assert type(unpacked) is type(entry)
    assert pack(unpacked) == text
    assert text.isascii()


@given(entries)
def test_what_is_packed_is_the_json_that_an_encoder_writes(entry: Entry) -> None:
    text = pack(entry)
    assert text == json.dumps(json.loads(text), separators=(",", ":"))


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (
            fill(qty="0.50", price="6E+4", trade_id="7", fee="-0.010"),
            '["F","1700000000123-0",1700000000123,"BUY","0.5","60000","7",null,null,null,"-0.01",null]',
        ),
        (mark("0.000000000001"), '["M","1700000000123-0",1700000000123,"0.000000000001"]'),
        (outcome(), '["O","1700000000123-0",1700000000123,"REJECTED","h-1"]'),
        (Funding("1-1", 5, Decimal("-0.50")), '["U","1-1",5,"-0.5",null]'),
        (Funding("1-1", 5, Decimal(1), "BNB"), '["U","1-1",5,"1","BNB"]'),
        (Adopt("", 5, Decimal(0), Decimal("-1.50"), Decimal(100)), '["A","",5,"0","-1.5","100",null]'),
        (Adopt("", 5, Decimal(1), Decimal(2), Decimal(100), Decimal(90)), '["A","",5,"1","2","100","90"]'),
        (Overdue("", 5, 4), '["L","",5,4]'),
        (Freeze("1-1", 5, "lost"), '["Z","1-1",5,"lost"]'),
        (Release("1-1", 5), '["R","1-1",5]'),
    ],
)
def test_an_entry_is_one_compact_array_with_plain_decimals(entry: Entry, text: str) -> None:
    assert pack(entry) == text


def test_sides_and_statuses_come_back_as_themselves() -> None:
    sold, expired = unpack(pack(fill(Side.SELL))), unpack(pack(outcome(OrderEndStatus.EXPIRED)))
    assert isinstance(sold, Fill)
    assert isinstance(expired, OrderEnded)
    assert sold.side is Side.SELL
    assert expired.status is OrderEndStatus.EXPIRED


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "not JSON",
        "null",
        "{}",
        "[]",
        '["X","1-1",5]',
        '[["F"],"1-1",5]',
        '["R"]',
        '["R","1-1",5,6]',
        '["M","1-1",5]',
        '["M","1-1",5,"abc"]',
        '["F","1-1",5,"BUY","1","2"]',
        '["F","1-1",5,"HOLD","1","2",null,null,null,null,null]',
        '["O","1-1",5,"FILLED","h-1"]',
    ],
)
def test_text_that_was_not_packed_is_named_with_its_content(raw: str) -> None:
    with pytest.raises(BadInboxEntry) as caught:
        unpack(raw)
    assert caught.value.raw == raw
    assert repr(raw[:20])[1:-1] in str(caught.value)
