"""What the parser refuses, each for its own reason, in time, and with the book whose position may be wrong now."""

from time import thread_time

import pytest
from entries import ENTRY_ID, fill_fields
from malformed_entries import CASES, Case

from harvest_tasks.wire.execution_result import Refused, parse
from harvest_tasks.wire.refusal import RefusalReason as Reason

SLOWEST_MS = 5.0


def refused(case: Case) -> Refused:
    answer = parse(ENTRY_ID, case.fields)
    assert isinstance(answer, Refused), (case.name, answer)
    return answer


def best_ms(case: Case) -> float:
    """Processor time of the best of three."""

    def once() -> float:
        begin = thread_time()
        parse(ENTRY_ID, case.fields)
        return (thread_time() - begin) * 1000

    return min(once() for _ in range(3))


def is_one_short_line(detail: str) -> bool:
    return 0 < len(detail) <= 200 and detail.isascii() and detail.isprintable()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_malformed_entry_is_refused_for_its_own_reason(case: Case) -> None:
    found = refused(case)
    assert (found.reason, found.book, found.symbol) == (case.reason, case.book, case.symbol), found.detail
    assert case.says in found.detail


def test_no_malformed_entry_takes_long() -> None:
    assert {case.name: ms for case in CASES if (ms := best_ms(case)) >= SLOWEST_MS} == {}


def test_a_detail_is_one_short_line_of_printable_ASCII() -> None:
    details = {case.name: refused(case).detail for case in CASES}
    assert {name: detail for name, detail in details.items() if not is_one_short_line(detail)} == {}


def test_a_detail_does_not_repeat_a_long_value() -> None:
    long = [(case, text[:41]) for case in CASES for text in case.fields.values() if len(text) > 40]
    assert [case.name for case, start in long if start in refused(case).detail] == []


def test_the_table_is_large_names_each_entry_once_and_leaves_no_reason_out() -> None:
    assert len(CASES) >= 170
    assert len({case.name for case in CASES}) == len(CASES)
    assert {case.reason for case in CASES} == set(Reason)


def test_an_entry_whose_stream_id_has_no_time_must_state_one() -> None:
    found = parse("0-1", fill_fields())
    assert isinstance(found, Refused)
    assert found.reason is Reason.TIME_OUT_OF_RANGE
