"""Something seen once, kept as text until a second look finds it still so.

Records of the exchange come through another service and lag behind fills, so what one look finds is no reason to act.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from harvest_tasks.reconciling.audit import Audit
from kernel.positions.position import parse_id

SECOND_LOOK_MS: Final = 5_000


@dataclass(frozen=True, slots=True)
class Observation:
    """`what` was so at every look since `since_ms` (unix ms), when the newest input entry was `newest_id`."""

    since_ms: int
    newest_id: str
    what: str

    def has_lasted(self, audit: Audit, at_least_ms: int = SECOND_LOOK_MS) -> bool:
        """Whether `audit` is a look that late, and on positions that know all that was in the input at the first."""
        return audit.now_ms - self.since_ms >= at_least_ms and audit.input.has_taken(self.newest_id)

    def to_text(self) -> str:
        """As text; `sighted` reads it back."""
        return f"{self.since_ms} {self.newest_id} {self.what}"


def observed(notes: Mapping[str, str], book: str, what: str, audit: Audit) -> Observation:
    """The sighting noted for `book` if it was of the same, else a first one; so, too, after the clock was set back."""
    before = _read(notes.get(book, ""))
    if before is not None and before.what == what and before.since_ms <= audit.now_ms:
        return before
    return Observation(audit.now_ms, audit.input.newest_id, what)


def _read(text: str) -> Observation | None:
    since_ms, _, rest = text.partition(" ")
    newest_id, _, what = rest.partition(" ")
    try:
        parse_id(newest_id)
        return Observation(int(since_ms), newest_id, what)
    except ValueError:
        return None
