"""A client as the product makes it, of which each round trip is counted, so that things can be done between two."""

from collections.abc import Callable
from functools import partial
from typing import Any

import redis

from harvest_tasks.server.client import Client, connect
from laboratory.steps import tick

Act = Callable[[], object]


class Trips:
    """`client` runs on real connections of its own; what `before` was given is done right before those round trips.

    Greetings of new connections do not count.
    """

    def __init__(self, url: str) -> None:
        self.client: Client = connect(url)
        counted: Any = _Counted
        self.client.connection_pool.connection_class = partial(counted, self._ahead)
        self.count = 0
        self._acts: dict[int, Act] = {}

    def begin(self, acts: dict[int, Act]) -> None:
        """Count from 0 again; `acts` by the number of the round trip that they come before."""
        self.count, self._acts = 0, dict(acts)

    def after(self, trips: int, act: Act) -> None:
        """Do `act` before the round trip that comes so many after this one, if none is due then."""
        self._acts.setdefault(self.count + trips, act)

    def catch_up(self) -> None:
        """Do what was not due yet."""
        acts, self._acts = self._acts, {}
        for number in sorted(acts):
            acts[number]()
        self._acts.clear()

    def close(self) -> None:
        self.client.close()

    def _ahead(self, packed: Any) -> None:
        act = self._acts.pop(self.count, None)
        self.count += 1
        if act is not None:
            act()
        if any(b"XREADGROUP" in part for part in ([packed] if isinstance(packed, bytes) else packed)):
            tick([("XREADGROUP",)])


class _Counted(redis.UnixDomainSocketConnection):
    def __init__(self, ahead: Callable[[Any], None], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._ahead = ahead
        self._greets = False

    def on_connect(self) -> None:
        self._greets = True
        try:
            super().on_connect()
        finally:
            self._greets = False

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        if not self._greets:
            self._ahead(command)
        super().send_packed_command(command, check_health)
