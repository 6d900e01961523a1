"""What the measurements feed: the same for everybody, plausible, and accepted by the parser."""

from collections import defaultdict
from decimal import Decimal
from itertools import islice

from bench import traffic
from harvest_tasks.wire.execution_result import Routed, parse
from kernel.positions.entry import Fill, Mark

ENTRIES = 4_000
BOOKS = 20


def test_the_same_seed_gives_the_same_entries() -> None:
    assert list(traffic.main(ENTRIES, BOOKS)) == list(traffic.main(ENTRIES, BOOKS))


def test_a_longer_backlog_begins_like_a_shorter_one() -> None:
    assert list(islice(traffic.main(ENTRIES, BOOKS), 100)) == list(traffic.main(100, BOOKS))


def test_the_parser_accepts_every_entry() -> None:
    for n, entry in enumerate(traffic.main(ENTRIES, BOOKS)):
        parsed = parse(f"1700000000000-{n}", entry)
        assert isinstance(parsed, Routed), (entry, parsed)


def test_each_book_begins_with_a_fill_so_that_no_price_is_ignored() -> None:
    firsts = list(traffic.main(BOOKS, BOOKS))
    assert {entry["status"] for entry in firsts} <= {"FILLED", "PARTIALLY_FILLED"}
    assert len({entry["symbol"] for entry in firsts}) == BOOKS


def test_most_entries_are_fills_and_some_are_prices() -> None:
    kinds = [type(parse("1-1", entry).entry) for entry in traffic.main(ENTRIES, BOOKS)]
    assert set(kinds) == {Fill, Mark}
    assert 0.75 < kinds.count(Fill) / ENTRIES < 0.95


def test_the_heavy_traffic_is_only_fills_and_the_parser_accepts_them() -> None:
    for n, entry in enumerate(traffic.heavy(300, BOOKS)):
        parsed = parse(f"1700000000000-{n}", entry)
        assert isinstance(parsed, Routed)
        assert isinstance(parsed.entry, Fill)


def test_no_exit_is_larger_than_what_is_held_and_positions_close() -> None:
    held: dict[str, Decimal] = defaultdict(Decimal)
    closed = 0
    for entry in traffic.main(ENTRIES, BOOKS):
        if "qty" in entry:
            before, sign = held[entry["symbol"]], 1 if entry["side"] == "BUY" else -1
            after = before + sign * Decimal(entry["qty"])
            assert before * after >= 0, entry
            held[entry["symbol"]] = after
            closed += not after
    assert closed > 0
