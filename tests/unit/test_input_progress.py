"""Whether the input up to an entry has reached the inboxes."""

import pytest

from harvest_tasks.fills.group_position import InputProgress


@pytest.mark.parametrize(
    ("newest", "delivered", "pending", "is_taken"),
    [
        ("9-0", "5-0", None, True),
        ("9-0", "9-0", "5-1", True),
        ("9-0", "4-9", None, False),
        ("9-0", "9-0", "5-0", False),
        ("9-0", "9-0", "4-0", False),
        ("10-0", "10-0", "9-0", True),
    ],
)
def test_an_entry_is_taken_in_once_it_was_delivered_and_nothing_up_to_it_is_pending(
    newest: str, delivered: str, pending: str | None, is_taken: bool
) -> None:
    assert InputProgress(newest, delivered, pending).has_reached("5-0") is is_taken


def test_before_there_is_any_input_all_of_it_is_taken_in() -> None:
    assert InputProgress("0-0", "0-0", None).has_reached("0-0")


def test_a_stream_that_took_the_place_of_another_is_taken_in_as_far_as_it_goes() -> None:
    assert InputProgress("3-0", "3-0", None).has_reached("5-0")
    assert not InputProgress("3-0", "2-0", None).has_reached("5-0")
