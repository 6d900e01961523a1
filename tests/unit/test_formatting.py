"""How figures are written for people."""

from decimal import Decimal

import pytest

from harvest_tasks.commands import formatting


@pytest.mark.parametrize(
    ("value", "text"),
    [("60123.456789012345", "60123.45679"), ("0.000012345678912", "0.00001234567891"), ("1e5", "100000"), ("0", "0")],
)
def test_a_figure_has_ten_digits_and_no_exponent(value: str, text: str) -> None:
    assert formatting.figure(Decimal(value)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [("12.345", "+12.34"), ("-12.5", "-12.5"), ("0.0012345", "+0.001234"), ("0", "0"), ("-0.00", "0")],
)
def test_money_is_signed_and_in_cents_from_one_on(value: str, text: str) -> None:
    assert formatting.money(Decimal(value)) == text


def test_r_is_never_rounded_up() -> None:
    assert [formatting.r_text(Decimal(r)) for r in ("0.499", "-0.499", "1", "-0.001")] == [
        "0.49",
        "-0.49",
        "1.00",
        "0.00",
    ]


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0.0 s"), (119_949, "119.9 s"), (120_000, "2 min"), (7_200_000, "2 h"), (-2_500, "2.5 s ahead")],
)
def test_an_age_is_in_the_largest_unit_that_fills_twice(ms: int, text: str) -> None:
    assert formatting.age(ms) == text


def test_nothing_a_terminal_obeys_is_printed() -> None:
    assert formatting.printable("a\x1b[31m\r\n\udcff\u202eb") == "a\\x1b[31m\\r\\n\\udcff\\u202eb"
