"""What observed workers noted of their messages."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

FILE: Final = "messages"


class Noted(NamedTuple):
    """`what` happened to a message: popped off its list (a bell for fills), taken by a main process (it was not
    expired), or begun by a pool process. Times are unix seconds; `expires` is None if it is always good.
    """

    what: str
    task: str
    id: str
    pid: int
    at: float
    expires: float | None


def note(directory: Path, noted: Noted) -> None:
    """Add a line; processes may do so at the same time."""
    descriptor = os.open(directory / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, (json.dumps(noted) + "\n").encode())
    finally:
        os.close(descriptor)


def read(directory: Path) -> Iterator[Noted]:
    """All that was noted, in order."""
    place = directory / FILE
    text = place.read_text() if place.exists() else ""
    # The last line may not be whole yet.
    for line in text.split("\n")[:-1]:
        yield Noted(*json.loads(line))
