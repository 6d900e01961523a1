"""The watcher's lease: at most one watcher reads the input at a time.

A lease only saves work. It is route.lua that makes entries reach an inbox in order and once: it checks the token and
the group's pending list itself.
"""

from math import inf
from typing import Final
from uuid import uuid4

from redis.exceptions import LockError
from redis.lock import Lock

from harvest_tasks.server import keys
from harvest_tasks.server.client import Client

LEASE_MS: Final = 1_000


def since_renewal_sec(left_ms: int) -> float:
    """Seconds since the lease was renewed, from the milliseconds left of it; infinite if no watcher holds it."""
    return max(0, LEASE_MS - left_ms) / 1000 if left_ms > 0 else inf


class Lease:
    """A claim to the lease, with a token of its own."""

    def __init__(self, client: Client) -> None:
        self.token = uuid4().hex
        self._lock = Lock(client, keys.LEASE, timeout=LEASE_MS / 1000, blocking=False, thread_local=False)

    def acquire(self) -> bool:
        """Take the lease if it is free. Returns whether it was."""
        return bool(self._lock.acquire(token=self.token))

    def renew(self) -> bool:
        """Keep the lease for another `LEASE_MS`; False if another watcher has it by now."""
        try:
            return bool(self._lock.reacquire())
        except LockError:
            return False

    def release(self) -> None:
        """Give up the lease, unless another watcher has it already."""
        try:
            self._lock.release()
        except LockError:
            return
