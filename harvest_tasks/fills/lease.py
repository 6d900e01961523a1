"""The watcher's lease: at most one watcher reads the input at a time.

A lease only saves work. The order and the uniqueness of what reaches an inbox rest on route.lua, which checks the
token and the group's pending list itself.
"""

from typing import Final
from uuid import uuid4

from redis.exceptions import LockError
from redis.lock import Lock

from harvest_tasks.server import keys
from harvest_tasks.server.client import Client

LEASE_MS: Final = 1_000


class Lease:
    """One holder's claim, named by a token of its own."""

    def __init__(self, client: Client) -> None:
        self.token = uuid4().hex
        self._lock = Lock(client, keys.LEASE, timeout=LEASE_MS / 1000, blocking=False, thread_local=False)

    def acquire(self) -> bool:
        return bool(self._lock.acquire(token=self.token))

    def renew(self) -> bool:
        """Hold on for another `LEASE_MS`; False if it is another's by now."""
        try:
            return bool(self._lock.reacquire())
        except LockError:
            return False

    def release(self) -> None:
        """Let the next watcher in, unless the lease is another's already."""
        try:
            self._lock.release()
        except LockError:
            return
