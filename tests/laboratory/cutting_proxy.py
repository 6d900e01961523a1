"""A proxy on loopback between clients and a server, that passes on one command at a time and cuts the line at one of
them.
"""

import socket
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

READ_BYTES: Final = 1 << 16
NEVER_SEC: Final = 60.0
"""Longer than any client waits."""
RESET: Final = struct.pack("ii", 1, 0)
"""For SO_LINGER: closing sends RST."""

UNSENT = "reset before the server has it"
HALF_SENT = "half of the request is written"
UNHEARD = "the reply is lost"
HALF_HEARD = "half of the reply is written"
LATE = "the reply comes after the client gave up"
IDLE = "reset after the reply"
KINDS: Final = (UNSENT, HALF_SENT, UNHEARD, HALF_HEARD, LATE, IDLE)


@dataclass(frozen=True, slots=True)
class Cut:
    """At the command of this number, counted from 1."""

    number: int
    kind: str


class Proxy:
    """Stands before the server at the unix socket `path`. `seen` are the commands since `begin`, as text."""

    def __init__(self, path: str) -> None:
        self.seen: list[str] = []
        self.has_cut = False
        self._path = path
        self._cut: Cut | None = None
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        _, port = self._listener.getsockname()
        return f"redis://127.0.0.1:{port}/0"

    def begin(self, cut: Cut | None = None) -> None:
        """Count from here on, and cut there."""
        with self._lock:
            self.seen, self.has_cut, self._cut = [], False, cut

    def close(self) -> None:
        # A thread that waits for callers is only woken by a shutdown.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for each in self._open:
                each.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            far = socket.socket(socket.AF_UNIX)
            far.connect(self._path)
            with self._lock:
                self._open |= {near, far}
            threading.Thread(target=self._serve, args=(near, far), daemon=True).start()

    def _serve(self, near: socket.socket, far: socket.socket) -> None:
        heard, said = _Reader(near), _Reader(far)
        try:
            while (request := heard.take()) is not None:
                if not self._pass_on(request, near, far, said):
                    break
        except OSError:
            pass
        finally:
            with self._lock:
                self._open -= {near, far}
            near.close()
            far.close()

    def _pass_on(self, request: bytes, near: socket.socket, far: socket.socket, said: "_Reader") -> bool:
        """Whether the line still holds."""
        kind = self._kind(request)
        if kind == UNSENT:
            return _reset(near)
        if kind == HALF_SENT:
            far.sendall(request[: len(request) // 2])
            return False
        far.sendall(request)
        reply = said.take()
        if reply is None or kind == UNHEARD:
            return False
        if kind == HALF_HEARD:
            near.sendall(reply[: len(reply) // 2])
            return False
        if kind == LATE:
            _wait_for_end(near)
            near.sendall(reply)
            return False
        near.sendall(reply)
        return kind != IDLE or _reset(near)

    def _kind(self, request: bytes) -> str:
        with self._lock:
            self.seen.append(_named(request))
            if self._cut is None or self._cut.number != len(self.seen):
                return ""
            self.has_cut = True
            return self._cut.kind


class _Reader:
    """Takes what comes from a socket apart into requests or replies."""

    def __init__(self, from_: socket.socket) -> None:
        self._socket = from_
        self._buffer = b""

    def take(self) -> bytes | None:
        """The next one, whole; None at the end."""
        while (end := end_of(self._buffer, 0)) is None:
            more = self._socket.recv(READ_BYTES)
            if not more:
                return None
            self._buffer += more
        found, self._buffer = self._buffer[:end], self._buffer[end:]
        return found


def end_of(buffer: bytes, at: int) -> int | None:
    """Where the value of the protocol that begins at `at` ends; None if it is not all there."""
    line = buffer.find(b"\r\n", at)
    if line < 0:
        return None
    kind, number, after = buffer[at : at + 1], buffer[at + 1 : line], line + 2
    if kind == b"$":
        end = after + max(0, int(number) + 2) if int(number) >= 0 else after
        return end if end <= len(buffer) else None
    if kind == b"*":
        return _end_of_all(buffer, after, int(number))
    return after


def _end_of_all(buffer: bytes, at: int, count: int) -> int | None:
    for _ in range(count):
        end = end_of(buffer, at)
        if end is None:
            return None
        at = end
    return at


def _named(request: bytes) -> str:
    """The command and its first words."""
    words: Sequence[bytes] = request.split(b"\r\n")[2:10:2]
    return " ".join(word[:48].decode(errors="replace") for word in words)


def _reset(line: socket.socket) -> bool:
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    return False


def _wait_for_end(line: socket.socket) -> None:
    """Until the other side has closed it."""
    line.settimeout(NEVER_SEC)
    while line.recv(READ_BYTES):
        pass
