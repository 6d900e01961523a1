"""Why is there no proposal? An input that cannot be used is refused with a reason; its value is never guessed."""

from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from typing import ParamSpec, TypeAlias, TypeVar

from redis.exceptions import ResponseError

from harvest_tasks.wire.fields import Fields
from harvest_tasks.wire.refusal import InvalidInput, RefusalReason
from kernel.errors import KernelError

HashReply: TypeAlias = Fields | ResponseError
"""A hash as it was read, or the error of reading a key of another type."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


class SkipReason(StrEnum):
    """Why a book has no fresh proposal."""

    NO_POSITION = "no_position"
    NO_MARKET_STATE = "no_market_state"
    MISSING_NUMBER = "missing_number"
    BAD_NUMBER = "bad_number"
    OUT_OF_RANGE = "out_of_range"
    BAD_SIDE = "bad_side"
    BAD_TIME = "bad_time"
    WRONG_KEY_TYPE = "wrong_key_type"


class NoProposal(Exception):
    """An input that cannot be used for a proposal. `detail` adds one line to the reason, or is empty."""

    def __init__(self, reason: SkipReason, detail: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def hash_fields(reply: HashReply) -> Fields:
    """The hash in `reply`, empty if the key does not exist. Raises `NoProposal` for a key of another type."""
    if isinstance(reply, ResponseError):
        raise NoProposal(SkipReason.WRONG_KEY_TYPE, str(reply))
    return reply


def needs_usable_input(read: Callable[_P, _T]) -> Callable[_P, _T]:
    """Make `read` raise `NoProposal` for a number that is missing or malformed, or that the kernel refuses."""

    @wraps(read)
    def checked(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return read(*args, **kwargs)
        except InvalidInput as error:
            is_missing = error.reason is RefusalReason.MISSING
            raise NoProposal(SkipReason.MISSING_NUMBER if is_missing else SkipReason.BAD_NUMBER, error.detail) from None
        except KernelError as error:
            raise NoProposal(SkipReason.OUT_OF_RANGE, str(error)) from None

    return checked
