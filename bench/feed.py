"""The input stream of a run: filled once, kept as the server writes it down, and put back before each run.

So ours and every peer read the very same bytes, and no run waits for a producer.
"""

from collections.abc import Iterable, Sequence
from itertools import islice

import hiredis
import redis

from bench.traffic import Entry
from harvest_tasks.connection import Client, connect

CHUNK = 2_000
PER_MS = 1_000
"""Entries that share a millisecond of stream ids."""


class Feed:
    """A backlog on a server of its own: `restore` makes the server hold it and nothing else."""

    def __init__(self, url: str, stream: str) -> None:
        self.client: Client = connect(url)
        self._bytes = redis.Redis(connection_pool=connect(url).connection_pool)
        self._bytes.connection_pool.connection_kwargs["decode_responses"] = False
        self._stream = stream
        self._kept = b""
        self.entries = 0

    def fill(self, entries: Iterable[Entry], *, keep: bool = True) -> "Feed":
        """Make `entries` the backlog. One that is not kept can be worked off once."""
        self.client.flushdb()
        self.entries, rest = 0, iter(entries)
        base_ms = int(self.client.time()[0]) * 1000
        while chunk := list(islice(rest, CHUNK)):
            send(self.client, self._stream, chunk, base_ms, self.entries)
            self.entries += len(chunk)
        if keep:
            kept = self._bytes.dump(self._stream)
            assert isinstance(kept, bytes)
            self._kept = kept
        return self

    def restore(self) -> None:
        # A broker in the next database keeps what it has.
        self.client.flushdb()
        self._bytes.restore(self._stream, 0, self._kept)


def send(client: Client, stream: str, entries: Sequence[Entry], base_ms: int, first: int) -> None:
    """Add `entries`, the `first`-th and following, with ids that follow from `base_ms`; one round trip."""
    packed = b"".join(
        hiredis.pack_command(("XADD", stream, f"{base_ms + n // PER_MS}-{n % PER_MS + 1}", *_flat(entry)))
        for n, entry in enumerate(entries, first)
    )
    connection = client.connection_pool.get_connection()
    try:
        connection.send_packed_command([packed])
        for _ in entries:
            connection.read_response()
    finally:
        client.connection_pool.release(connection)


def _flat(entry: Entry) -> list[str]:
    return [text for pair in entry.items() for text in pair]
