"""A proxy on loopback before a server that passes everything on, but can keep from subscribers what they wait for."""

import socket
import threading
from contextlib import suppress
from typing import Final

READ_BYTES: Final = 1 << 16


class Mute:
    """`port` leads to the server at `far_port`. While `is_silent`, connections that subscribed hear nothing, and learn
    nothing of that; what they missed is gone. `kept` counts what they were not told.
    """

    def __init__(self, far_port: int) -> None:
        self.is_silent = False
        self.kept = 0
        self._far_port = far_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def close(self) -> None:
        # A thread that waits for callers, or for bytes, is only woken by a shutdown.
        for each in (self._listener, *self._open):
            _end(each)
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._far_port))
            except OSError:
                return
            self._open += [near, far]
            subscribed = threading.Event()
            threading.Thread(target=self._ask, args=(near, far, subscribed), daemon=True).start()
            threading.Thread(target=self._answer, args=(far, near, subscribed), daemon=True).start()

    def _ask(self, near: socket.socket, far: socket.socket, subscribed: threading.Event) -> None:
        with suppress(OSError):
            while data := near.recv(READ_BYTES):
                if b"SUBSCRIBE" in data:
                    subscribed.set()
                far.sendall(data)
        _end(far)

    def _answer(self, far: socket.socket, near: socket.socket, subscribed: threading.Event) -> None:
        with suppress(OSError):
            while data := far.recv(READ_BYTES):
                if self.is_silent and subscribed.is_set():
                    self.kept += data.count(b"$7\r\nmessage\r\n")
                else:
                    near.sendall(data)
        _end(near)


def _end(line: socket.socket) -> None:
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
