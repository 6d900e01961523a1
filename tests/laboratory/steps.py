"""Actors that move one round trip at a time: real code in threads that wait, before each command, to be let on.

There is one socket and one actor moves at a time, so that a schedule can be played again exactly. Whoever moves the
actors may have a probe travel along with each command: its replies tell of the state right after it.
"""

import logging
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import Any, Final
from unittest.mock import patch

import hiredis
import redis
from redis.connection import DefaultParser
from redis.exceptions import InvalidResponse

from harvest_tasks.fills import lease, stream, watcher
from harvest_tasks.server import script
from harvest_tasks.server.client import Client, checked, connect

READ_BYTES: Final = 1 << 20
LONG_MS: Final = 3_600_000
"""Instead of the lease's time: here keys expire when the explorer says so, not because a machine is slow."""

Command = Sequence[Any]
Travel = Callable[[Sequence[bytes], Sequence[Command]], list[Any]]
"""Sends packed commands in one go; their replies, errors among them."""

_here = threading.local()


class Crashed(BaseException):
    """The actor's process is gone: no line of it runs any more."""


class Wire:
    """One socket to a server. `probe` travels along with the commands of actors."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._packer = hiredis.pack_command
        to_error = DefaultParser(READ_BYTES).parse_error
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse, replyError=to_error, encoding="utf-8", errors="surrogateescape"
        )

    def exchange(self, packed: bytes, count: int) -> list[Any]:
        """The next `count` replies after `packed` was sent."""
        self._socket.sendall(packed)
        replies: list[Any] = []
        while len(replies) < count:
            reply = self._reader.gets()
            if reply is False:
                received = self._socket.recv(READ_BYTES)
                if not received:
                    raise redis.ConnectionError("the server is gone")
                self._reader.feed(received)
            else:
                replies.append(reply)
        return replies

    def say(self, *commands: tuple[Any, ...]) -> list[Any]:
        """For whoever directs the play."""
        return self.exchange(pack(*commands), len(commands))

    def close(self) -> None:
        self._socket.close()


def pack(*commands: tuple[Any, ...]) -> bytes:
    return b"".join(hiredis.pack_command(command) for command in commands)


class SteppedConnection(redis.UnixDomainSocketConnection):
    """A connection of redis-py whose round trips go another way: the one place where actors are held up."""

    def __init__(self, travel: Travel, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._travel = travel
        self._replies: deque[Any] = deque()

    def connect(self) -> None:
        """It always is."""

    def disconnect(self, *_: Any, **__: Any) -> None:
        self._replies.clear()

    def can_read(self, timeout: float = 0) -> bool:
        return False

    def pack_commands(self, commands: Any) -> Any:
        told = [_without_block(command) for command in commands]
        return super().pack_commands(told), told

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        packed, told = command
        self._replies.extend(self._travel(packed, told))

    def send_command(self, *args: Any, **_: Any) -> None:
        self._replies.extend(self._travel(self.pack_command(*args), [args]))

    def read_response(self, *_: Any, **__: Any) -> Any:
        return checked(self._replies.popleft())


def stepped(travel: Travel) -> Client:
    """A client as the product makes it, on such connections."""
    client = connect("unix:///nowhere")
    made: Any = SteppedConnection
    client.connection_pool.connection_class = partial(made, travel)
    return client


class Actor:
    """Code with a client of its own, in a thread that only moves when `step` says so.

    `ahead` is what it is about to send (None: it has come to its end), `error` what it ended with, if it should not.
    """

    def __init__(self, name: str, travel: Travel) -> None:
        self.name = name
        self.ahead: Sequence[Command] | None = None
        self.error: BaseException | None = None
        self._dead = False
        self._travel = travel
        self._client = stepped(self._held_up)
        self._work: Callable[[Client], None] | None = None
        self._may_go, self._has_stopped = threading.Lock(), threading.Lock()
        self._may_go.acquire()
        self._has_stopped.acquire()
        self._thread = threading.Thread(target=self._live, name=name, daemon=True)
        self._thread.start()

    def begin(self, work: Callable[[Client], None]) -> None:
        """Run `work` up to its first command; what it did before ends here."""
        if self.ahead is not None:
            self.crash()
        self._work, self._dead, self.error = work, False, None
        self._let_on()

    def step(self) -> None:
        """Send what is ahead, and run up to the next command."""
        self._let_on()

    def crash(self) -> None:
        """What it was about to send is never sent; the reply to what it sent before reached nobody."""
        self._dead = True
        self._let_on()

    def close(self) -> None:
        if self.ahead is not None:
            self.crash()
        self._work = None
        self._may_go.release()
        self._thread.join()

    def _let_on(self) -> None:
        self._may_go.release()
        self._has_stopped.acquire()

    def _live(self) -> None:
        while True:
            self._may_go.acquire()
            if self._work is None:
                return
            self._act(self._work)
            self.ahead = None
            self._has_stopped.release()

    def _act(self, work: Callable[[Client], None]) -> None:
        start_clock()
        try:
            work(self._client)
        except Crashed:
            return
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the finding
            self.error = error

    def _held_up(self, packed: Sequence[bytes], commands: Sequence[Command]) -> list[Any]:
        if self._dead:
            # What a language runs on the way out, no killed process runs.
            raise Crashed
        self.ahead = commands
        self._has_stopped.release()
        self._may_go.acquire()
        if self._dead:
            raise Crashed
        return self._travel(packed, commands)


def start_clock() -> None:
    """Begin to count, in this thread, the reads of its watcher."""
    _here.reads = 0


def tick(commands: Sequence[Command]) -> None:
    """`commands` were sent by this thread."""
    if any(command[0] == "XREADGROUP" for command in commands):
        _here.reads += 1


@contextmanager
def stretched() -> Iterator[None]:
    """While it lasts, a watcher reads one entry at a time and waits for none, its slice is as many reads as it has
    seconds, its lease runs out by no clock, and nothing is logged: leases are lost thousands of times.
    """
    with (
        _quiet(logging.getLogger("harvest_tasks")),
        patch.object(watcher, "monotonic", _reads),
        patch.object(watcher, "BLOCK_MS", 1),
        patch.object(watcher, "LEASE_MS", LONG_MS),
        patch.object(stream, "READ_BATCH", 1),
        patch.object(lease, "LEASE_MS", LONG_MS),
    ):
        yield


@contextmanager
def _quiet(log: logging.Logger) -> Iterator[None]:
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(before)


def _reads() -> float:
    return float(getattr(_here, "reads", monotonic()))


def _without_block(command: Command) -> Command:
    """A wait that ends at once: whatever comes meanwhile, another actor brings."""
    if command[0] != "XREAD" or "BLOCK" not in command:
        return command
    at = command.index("BLOCK")
    return *command[:at], *command[at + 2 :]


def told(commands: Sequence[Command]) -> str:
    """What one round trip says, for people."""
    if len(commands) == 1:
        return _told(commands[0])
    return f"{len(commands)} commands: {' '.join(_told(command, 0) for command in commands)}"


def _told(command: Command, args: int = 4) -> str:
    name, *rest = (part.decode(errors="replace") if isinstance(part, bytes) else str(part) for part in command)
    if name != "EVALSHA":
        return " ".join([name, *(_short(arg) for arg in rest[:args])])
    sha, n_keys, *rest = rest
    return " ".join([_scripts().get(sha, "a script of redis-py"), *(_short(key) for key in rest[: int(n_keys)][:1])])


def _scripts() -> dict[str, str]:
    return {script.load(name).sha: f"{name}.lua" for name in ("route", "commit", "publish")}


def _short(arg: str) -> str:
    return arg if len(arg) <= 60 else f"{arg[:57]}..."
