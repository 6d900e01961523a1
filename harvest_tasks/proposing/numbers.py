"""Numbers in the hashes that other programs write: parsed once, refused with a reason, never guessed."""

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import wraps
from typing import ParamSpec, TypeAlias, TypeVar

from redis.exceptions import ResponseError

from kernel.errors import KernelError

Fields: TypeAlias = Mapping[str, str]
HashReply: TypeAlias = Fields | ResponseError
"""A hash as it was read, or the error of reading a key of another type."""

P = ParamSpec("P")
T = TypeVar("T")

_is_number = re.compile(r"[+-]?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?").fullmatch
_LONGEST = 64


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
    """An input that no proposal can rest on. `detail` says in one line what a reason leaves open."""

    def __init__(self, reason: SkipReason, detail: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def hash_fields(reply: HashReply) -> Fields:
    """The hash itself; empty when there is none."""
    if isinstance(reply, ResponseError):
        raise NoProposal(SkipReason.WRONG_KEY_TYPE, str(reply))
    return reply


def required_number(found: Fields, name: str, *others: str) -> float:
    """The number under `name`, or else under the first of `others` that is present."""
    text = found.get(name) or next(filter(None, map(found.get, others)), None)
    if not text:
        raise NoProposal(SkipReason.MISSING_NUMBER, f"{'|'.join((name, *others))} is missing")
    if len(text) > _LONGEST or not _is_number(text):
        raise NoProposal(SkipReason.BAD_NUMBER, f"{name} is {text!a:.60}, not a number")
    return float(text)


def optional_number(found: Fields, name: str) -> float | None:
    """`number`, or None when the field is absent or empty."""
    return required_number(found, name) if found.get(name) else None


def in_range(read: Callable[P, T]) -> Callable[P, T]:
    """`read`, to which a value that the kernel refuses is an unusable input."""

    @wraps(read)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return read(*args, **kwargs)
        except KernelError as refusal:
            raise NoProposal(SkipReason.OUT_OF_RANGE, str(refusal)) from None

    return checked
