"""A client on one line to a server, of which one round trip goes wrong: before it is sent, half way, or on the way
back; as if the process died there, or as if the connection broke.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import ConnectionError as Disconnected

from harvest_tasks.server import script
from harvest_tasks.server.client import Client
from laboratory.steps import Command, Crashed, Wire, pack, stepped

BEFORE, HALF, AFTER = "before it is sent", "half way", "before the reply is read"
MOMENTS: Final = (AFTER, BEFORE, HALF)


@dataclass(frozen=True, slots=True)
class Mishap:
    """At the round trip of this number, counted from 1."""

    trip: int
    moment: str
    is_crash: bool

    def __str__(self) -> str:
        return f"{'crashes' if self.is_crash else 'is cut off'} at its round trip {self.trip}, {self.moment}"


class Line:
    """To the server at the socket `path`. `commits` counts what commit.lua confirmed, by book, also where nobody heard
    it.
    """

    def __init__(self, path: str) -> None:
        self.client: Client = stepped(self._travel)
        self.commits: Counter[str] = Counter()
        self.has_happened = False
        self._path = path
        self._wire = Wire(path)
        self._mishap: Mishap | None = None
        self._trips = 0
        self._dead = False
        self._commit = ""

    def begin(self, mishap: Mishap | None = None) -> None:
        """Count round trips from here; the one that died before is somebody else now."""
        self._mishap, self._trips, self._dead, self.has_happened = mishap, 0, False, False
        self._commit = script.load("commit").sha

    def let_go(self) -> None:
        """The role is over: nothing more goes wrong."""
        self._mishap, self._dead = None, False

    def say(self, *commands: tuple[Any, ...]) -> list[Any]:
        """By nobody's hand; errors are replies."""
        return self._wire.say(*commands)

    def reconnect(self) -> None:
        self._wire.close()
        self._wire = Wire(self._path)

    def close(self) -> None:
        self._wire.close()

    def _travel(self, packed: Sequence[bytes], commands: Sequence[Command]) -> list[Any]:
        if self._dead:
            # What a language runs on the way out, no killed process runs.
            raise Crashed
        self._trips += 1
        mishap = self._mishap
        if mishap is None or mishap.trip != self._trips:
            return self._exchange(packed, commands)
        sent = {BEFORE: 0, HALF: len(commands) // 2, AFTER: len(commands)}[mishap.moment]
        self._exchange([pack(*commands[:sent])], commands[:sent])
        self.reconnect()
        self.has_happened, self._dead = True, mishap.is_crash
        raise Crashed if mishap.is_crash else Disconnected("cut")

    def _exchange(self, packed: Sequence[bytes], commands: Sequence[Command]) -> list[Any]:
        replies = self._wire.exchange(b"".join(packed), len(commands))
        for command, reply in zip(commands, replies, strict=True):
            if command[0] == "EVALSHA" and command[1] == self._commit and _is_confirmed(reply):
                self.commits[command[3 + command[2]]] += 1
        return replies


def _is_confirmed(reply: Any) -> bool:
    return isinstance(reply, list) and bool(reply) and reply[0] == "committed"
