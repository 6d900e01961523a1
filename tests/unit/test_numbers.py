"""Numbers in the hashes that proposals are computed from; entries and settings have their own tests."""

import pytest

from harvest_tasks.wire.numbers import optional_float, required_float
from harvest_tasks.wire.refusal import InvalidInput, RefusalReason


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0.0), ("-0.12", -0.12), ("+3", 3.0), ("8.7e-06", 8.7e-06), ("0.30000000000000004", 0.30000000000000004)],
)
def test_what_producers_write_as_numbers_is_read(text: str, value: float) -> None:
    assert required_float({"x": text}, "x") == value


@pytest.mark.parametrize(
    "text",
    ["nan", "inf", "-Infinity", "1_000", " 1", "1 ", "0x10", "1,5", ".5", "5.", "\u0661", "1e", "1e9999", "9" * 41],
)
def test_text_that_is_no_plain_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        required_float({"x": text}, "x")
    assert refused.value.reason is RefusalReason.NOT_A_NUMBER
    assert refused.value.detail.startswith("x is '")


@pytest.mark.parametrize("found", [{}, {"x": ""}])
def test_a_missing_number_is_an_error_and_never_zero(found: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="x is missing") as refused:
        required_float(found, "x")
    assert refused.value.reason is RefusalReason.MISSING


def test_an_alias_is_read_when_the_first_name_is_absent() -> None:
    assert required_float({"quantity": "3"}, "qty", "quantity") == 3.0
    assert required_float({"qty": "2", "quantity": "3"}, "qty", "quantity") == 2.0


def test_an_optional_number_may_be_absent_but_not_garbled() -> None:
    assert optional_float({"current_sl": ""}, "current_sl") is None
    with pytest.raises(InvalidInput):
        optional_float({"current_sl": "soon"}, "current_sl")
