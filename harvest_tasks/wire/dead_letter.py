"""What is kept of an entry that could not be used? The reason, its source, and enough of it to recognise it."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

HEAD_BYTES: Final = 256
DEADLETTER_MAXLEN: Final = 10_000
"""Entries that the stream of dead letters keeps, about."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """`sha256` and `size` (bytes) describe the whole raw content, `head` its first 256 bytes."""

    reason: str
    source_id: str
    sha256: str
    size: int
    head: str

    @classmethod
    def of(cls, reason: str, source_id: str, raw: str) -> "DeadLetter":
        """The dead-letter message for `raw`, whose surrogate escapes stand for bytes that are not UTF-8."""
        content = raw.encode("utf-8", "surrogateescape")
        head = content[:HEAD_BYTES].decode("utf-8", "backslashreplace")
        return cls(reason, source_id, sha256(content).hexdigest(), len(content), head)


def raw_text(fields: Iterable[tuple[str, str]]) -> str:
    """An entry's fields as one text, a line each, for `DeadLetter.of`."""
    return "\n".join(f"{name}={value}" for name, value in fields)
