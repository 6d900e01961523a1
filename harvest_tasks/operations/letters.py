"""The dead letters, read back."""

from collections.abc import Mapping
from dataclasses import dataclass

from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.server.streams import newest_first, time_ms


@dataclass(frozen=True, slots=True)
class Letter:
    """`time_ms` is when it was written (unix ms); `source_id` is the refused entry's id in the input stream, empty
    for what never was an entry there.
    """

    letter_id: str
    time_ms: int
    reason: str
    source_id: str
    sha256: str
    size: int
    head: str


def newest(client: Client) -> list[Letter]:
    """All letters that are left, newest first."""
    return [_letter(letter_id, values) for letter_id, values in newest_first(client, keys.DEADLETTER)]


def _letter(letter_id: str, values: Mapping[str, str]) -> Letter:
    size = values.get("size", "")
    return Letter(
        letter_id=letter_id,
        time_ms=time_ms(letter_id),
        reason=values.get("reason", ""),
        source_id=values.get("source_id", ""),
        sha256=values.get("sha256", ""),
        size=int(size) if size.isdecimal() else 0,
        head=values.get("head", ""),
    )
