"""The log lines of many children on one stream: whole lines, each with its child's name, never blocking a child."""

import asyncio
import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

MAX_LINE_BYTES: Final = 65_536
"""Bytes of one line; a longer one is cut."""


class LogRelay:
    """Writes named lines to a file descriptor from its own thread.

    If nobody reads them, lines are dropped and counted; children, signals and restarts go on.
    """

    def __init__(self, descriptor: int, *, name_width: int, held: int = 10_000) -> None:
        self._descriptor = descriptor
        self._width = name_width
        self._held: queue.Queue[bytes | None] = queue.Queue(held)
        self._left_out = 0
        self._writer = threading.Thread(target=self._write_all, daemon=True)
        self._writer.start()

    def line(self, name: str, text: bytes) -> None:
        if self._left_out and self._hold(name, b"%d log lines dropped: nobody read them" % self._left_out):
            self._left_out = 0
        if not self._hold(name, text):
            self._left_out += 1

    def close(self, within: float = 1.0) -> None:
        """Wait up to `within` seconds for held lines to be read."""
        with suppress(queue.Full):
            self._held.put(None, timeout=within)
        self._writer.join(within)

    def _hold(self, name: str, text: bytes) -> bool:
        try:
            self._held.put_nowait(b"%s | %s\n" % (name.ljust(self._width).encode(), text))
        except queue.Full:
            return False
        return True

    def _write_all(self) -> None:
        # os.write, not a file object: its lock, held by a blocked thread, would stop the interpreter from exiting.
        with suppress(BrokenPipeError):
            for line in iter(self._held.get, None):
                rest = line
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]


class LineSplitter(asyncio.Protocol):
    """Splits the output of a pipe into lines."""

    def __init__(self, each: Callable[[bytes], None]) -> None:
        self._each = each
        self._rest = b""
        self.ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._each(line)
        if len(self._rest) > MAX_LINE_BYTES:
            self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._flush()
        self.ended.set()

    def _flush(self) -> None:
        if self._rest:
            self._each(self._rest)
            self._rest = b""
