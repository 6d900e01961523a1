"""What the door refuses, each for its own reason, in time, and with the book whose position may be wrong now."""

from time import perf_counter

import pytest
from builders import ENTRY_ID, fill_fields
from malformed_entries import CASES, Case

from harvest_tasks.wire.execution_result import Refused, admit
from harvest_tasks.wire.refusal import RefusalReason as Reason

SLOWEST_MS = 5.0


def best_ms(fields: dict[str, str]) -> float:
    def once() -> float:
        begin = perf_counter()
        admit(ENTRY_ID, fields)
        return (perf_counter() - begin) * 1000

    return min(once() for _ in range(3))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_malformed_entry_is_refused_for_its_own_reason_and_in_time(case: Case) -> None:
    refused = admit(ENTRY_ID, case.fields)
    assert isinstance(refused, Refused), refused
    assert (refused.reason, refused.book) == (case.reason, case.book), refused.detail
    assert case.says in refused.detail
    assert best_ms(case.fields) < SLOWEST_MS


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_detail_is_one_short_line_of_printable_ASCII(case: Case) -> None:
    refused = admit(ENTRY_ID, case.fields)
    assert isinstance(refused, Refused)
    assert 0 < len(refused.detail) <= 200
    assert refused.detail.isascii()
    assert refused.detail.isprintable()
    assert not any(text[:41] in refused.detail for text in case.fields.values() if len(text) > 40)


def test_the_table_is_large_names_each_entry_once_and_leaves_no_reason_out() -> None:
    assert len(CASES) >= 170
    assert len({case.name for case in CASES}) == len(CASES)
    assert {case.reason for case in CASES} == set(Reason)


def test_an_entry_whose_stream_id_has_no_time_must_state_one() -> None:
    refused = admit("0-1", fill_fields())
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.TIME_OUT_OF_RANGE
