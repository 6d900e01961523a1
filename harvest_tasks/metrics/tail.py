"""A stream followed from its end: what was added since the last look, counted as Prometheus counts."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from harvest_tasks.fills.group_position import NOWHERE
from harvest_tasks.metrics.replies import Command, Replies
from harvest_tasks.server.client import Client
from kernel.positions.position import parse_id

PAGE: Final = 1_000
PAGES: Final = 20
"""More than that waits for the next look, so that no scrape takes for ever."""

StreamEntry = tuple[str, Mapping[str, str]]


class Tail:
    """Remembers up to where a stream was read. The first look finds nothing: what was there before is old."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self._read: str | None = None

    def command(self) -> Command:
        """For where the stream ends; its reply has the name of the stream."""
        return "XINFO STREAM", self.stream

    def new(self, client: Client, replies: Replies) -> Iterator[StreamEntry]:
        """What was added since, oldest first."""
        info = replies.get(self.stream)
        end = info["last-generated-id"] if info else NOWHERE
        if self._read is None or parse_id(end) < parse_id(self._read):
            # The first look, or another stream under the same name: it began after the last look.
            self._read = end if self._read is None else NOWHERE
        for _ in range(PAGES):
            if parse_id(self._read) >= parse_id(end):
                return
            page: Any = client.xrange(self.stream, min=f"({self._read}", max=end, count=PAGE)
            self._read = page[-1][0] if len(page) == PAGE else end
            yield from page

    @staticmethod
    def length(replies: Replies, stream: str) -> int:
        info = replies.get(stream)
        return info["length"] if info else 0
