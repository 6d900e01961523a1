"""The input stream of a run: filled once, kept as a dump, and restored before each run.

So Harvest and every peer read the same bytes, and no run waits for a producer.
"""

from collections.abc import Iterable, Iterator
from itertools import chain, islice

import hiredis
import redis

from bench.traffic import Entry
from harvest_tasks.server.client import Client, connect

CHUNK = 2_000
PER_MS = 1_000
"""Entries per millisecond of stream ids."""


class Feed:
    """A backlog on a server. After `restore` the server holds the backlog and nothing else."""

    def __init__(self, url: str, stream: str) -> None:
        self.client: Client = connect(url)
        self._bytes = redis.Redis(connection_pool=connect(url).connection_pool)
        self._bytes.connection_pool.connection_kwargs["decode_responses"] = False
        self._stream = stream
        self._kept = b""
        self.entries = 0

    def fill(self, entries: Iterable[Entry], *, keep: bool = True) -> "Feed":
        """Make `entries` the backlog. Without `keep` it can be used only once."""
        self.client.flushdb()
        send(self.client, packed(self._stream, entries, int(self.client.time()[0]) * 1000))
        self.entries = int(self.client.xlen(self._stream))
        if keep:
            kept = self._bytes.dump(self._stream)
            assert isinstance(kept, bytes)
            self._kept = kept
        return self

    def restore(self) -> None:
        # The broker in the next database is left alone.
        self.client.flushdb()
        self._bytes.restore(self._stream, 0, self._kept)


def packed(stream: str, entries: Iterable[Entry], base_ms: int) -> Iterator[bytes]:
    """Packed XADD commands for `entries`, with ids from `base_ms`, in pieces."""
    adding = (
        hiredis.pack_command(
            ("XADD", stream, f"{base_ms + n // PER_MS}-{n % PER_MS + 1}", *chain.from_iterable(entry.items()))
        )
        for n, entry in enumerate(entries)
    )
    while piece := b"".join(islice(adding, CHUNK)):
        yield piece


def send(client: Client, pieces: Iterable[bytes]) -> None:
    """Send commands while the next ones are packed. Replies are switched off, so check the result afterwards."""
    connection = client.connection_pool.get_connection()
    try:
        connection.send_command("CLIENT", "REPLY", "OFF")
        for piece in pieces:
            connection.send_packed_command([piece])
        connection.send_command("CLIENT", "REPLY", "ON")
        assert connection.read_response() == "OK"
    except BaseException:
        connection.disconnect()
        raise
    finally:
        client.connection_pool.release(connection)
