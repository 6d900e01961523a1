"""Why can an entry not be used? The closed list of reasons, and the error that carries one."""

from enum import StrEnum

_SHOWN = 40


class RefusalReason(StrEnum):
    """One word for dead letters and counters; the detail that goes with it names the field."""

    ENTRY_TOO_BIG = "entry_too_big"
    TOO_MANY_FIELDS = "too_many_fields"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    TOO_DEEP = "too_deep"
    DUPLICATE_KEY = "duplicate_key"
    MISSING = "missing"
    CONFLICTING = "conflicting"
    UNKNOWN_STATUS = "unknown_status"
    CUMULATIVE_QUANTITY = "cumulative_quantity"
    BAD_SYMBOL = "bad_symbol"
    BAD_SIDE = "bad_side"
    BAD_POSITION_SIDE = "bad_position_side"
    BAD_ID = "bad_id"
    BAD_ASSET = "bad_asset"
    NOT_A_NUMBER = "not_a_number"
    NOT_FINITE = "not_finite"
    NUMBER_TOO_LONG = "number_too_long"
    SIGNED = "signed"
    EXPONENT_OUT_OF_RANGE = "exponent_out_of_range"
    NOT_POSITIVE = "not_positive"
    TOO_LARGE = "too_large"
    NOT_A_TIME = "not_a_time"
    TIME_OUT_OF_RANGE = "time_out_of_range"


class InvalidInput(ValueError):
    """An entry, or a value in it, that cannot be used. `detail` is one short line of ASCII."""

    def __init__(self, reason: RefusalReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def shown_input(value: object) -> str:
    """Raw input as shown in a detail: ASCII, at most 40 characters."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _clipped(value)
    return "a list" if isinstance(value, list) else "an object"


def _clipped(text: str) -> str:
    escaped = ascii(text[:_SHOWN])[1:-1]
    return f"'{escaped[:_SHOWN]}...'" if len(text) > _SHOWN or len(escaped) > _SHOWN else f"'{escaped}'"
