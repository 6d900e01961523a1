"""One step of the path at a time, on an emptied server, with a clock of its own: what trials of scripts work with."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from redis.exceptions import NoPermissionError

from harvest_tasks.fills import commit as commits
from harvest_tasks.fills.commit import CommitOutcome
from harvest_tasks.fills.ledger import Ledger
from harvest_tasks.fills.loading import LoadedBook
from harvest_tasks.fills.plan import Plan, make_plan
from harvest_tasks.fills.router import LOAD_NO_BOOKS, Moved, RouteInstruction, Router
from harvest_tasks.fills.stream import InputStream
from harvest_tasks.server import keys, script
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings
from laboratory.scenarios import BOOK

NOW: Final = 1_700_000_000_000
"""The clock of trials, in unix ms."""
HOLDER: Final = "mine"
LEASE_MS: Final = 60_000
LIMITED: Final = "limited"
"""A user who may not do all."""
SNAPSHOT: Final = """
local found = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local lasts = redis.call('PTTL', key) == -1 and 'stays ' or 'goes '
  found[#found + 1] = lasts .. key .. ' ' .. redis.sha1hex(redis.call('DUMP', key))
end
table.sort(found)
return found
"""

Fields = Mapping[str, str]


class Rig:
    """The server behind `client`, emptied; entries are fed from a millisecond after `start_ms` on."""

    def __init__(self, client: Client, **environ: str) -> None:
        client.flushall()
        self.client = client
        self.settings = Settings.from_env({"HARVEST_MAX_ACTIONS_PER_MIN": "1000", **environ})
        self.source = self.settings.stream_execution_result
        self._stream = InputStream(client, self.settings)
        self._router = Router(client, self.settings)
        self.start_ms = NOW
        self._fed = 0
        self._all_names: Sequence[str] = ()

    def feed(self, *entries: Fields, gap_ms: int = 1) -> list[str]:
        """Their ids."""
        ids = []
        for entry in entries:
            self._fed += gap_ms
            fields: dict[Any, Any] = dict(entry)
            ids.append(self.client.xadd(self.source, fields, id=f"{self.start_ms + self._fed}-0"))
        return ids

    def know(self, names: Sequence[str]) -> None:
        """Every key that a script is told of: what `without` leaves to the user."""
        self._all_names = names

    def take_lease(self, token: str = HOLDER, lease_ms: int = LEASE_MS) -> None:
        self.client.set(keys.LEASE, token, px=lease_ms)
        self._stream.ensure_group()

    def route(self, *entries: Fields, gap_ms: int = 1) -> Moved:
        """Feed and move them, as one batch."""
        self.feed(*entries, gap_ms=gap_ms)
        self.take_lease()
        read, standing = self._stream.read()
        moved = self._router.move(HOLDER, LEASE_MS, read, standing.read_after(len(read)))
        assert isinstance(moved, Moved), moved
        return moved

    def read(self, count: int) -> list[str]:
        """Feed so many entries and have the group read them; their ids."""
        ids = self.feed(*[{"n": str(n)} for n in range(count)])
        self.take_lease()
        self._stream.read()
        return ids

    def tell(
        self,
        told: Mapping[str, RouteInstruction],
        read: int | None = None,
        lease_ms: int = LEASE_MS,
        loading: Sequence[str | int] = LOAD_NO_BOOKS,
    ) -> list[Any]:
        """The bare reply of route.lua."""
        (reply,) = self._router._run(HOLDER, lease_ms, told, read, loading)
        found: list[Any] = reply
        return found

    def load(self, now_ms: int = NOW) -> LoadedBook:
        _, (loaded,), _ = Ledger(self.client, self.settings, now_ms).load([BOOK])
        assert isinstance(loaded, LoadedBook), loaded
        return loaded

    def plan(self, now_ms: int = NOW, loaded: LoadedBook | None = None) -> tuple[LoadedBook, Plan]:
        """For all that waits, or for what was `loaded`; the book's lock is free afterwards."""
        self.client.delete(keys.lock(BOOK))
        guards, (found,), rules = Ledger(self.client, self.settings, now_ms).load([BOOK])
        self.client.delete(keys.lock(BOOK))
        found = loaded or found
        assert isinstance(found, LoadedBook), found
        return found, make_plan(found.position, found.waiting, rules[found.position.symbol], guards, found.terms, {})

    def say(self, loaded: LoadedBook, made: Plan, now_ms: int | None = NOW) -> Any:
        """The bare reply of commit.lua."""
        return script.run(self.client, commits.commit_call(loaded, made, self.settings, HOLDER, now_ms))

    def commit(self, loaded: LoadedBook, made: Plan, now_ms: int | None = NOW) -> CommitOutcome:
        reply = self.say(loaded, made, now_ms)
        assert reply[0] != "revise" or reply[2] in (0, 1), reply
        return commits.commit_outcome(loaded, made, reply)

    def bring(self, *entries: Fields, now_ms: int = NOW) -> Plan:
        """Route, plan and commit them, if nothing objects."""
        self.route(*entries)
        loaded, made = self.plan(now_ms)
        outcome = self.commit(loaded, made, now_ms)
        assert isinstance(outcome, commits.Committed), outcome
        return made

    @contextmanager
    def without(self, command: str, key: str) -> Iterator[None]:
        """While it lasts, the user may not run this command on this key, and anything else."""
        others = [f"~{name}" for name in self._all_names if name != key]
        rights = ("~*", "&*", "+@all", f"-{command}", f"(+{command} {' '.join(others)})")
        self.client.execute_command("ACL", "SETUSER", LIMITED, "reset", "on", "nopass", *rights)
        self.client.execute_command("AUTH", LIMITED, "any")
        try:
            yield
        finally:
            self.client.execute_command("AUTH", "default", "any")
            self.client.execute_command("ACL", "DELUSER", LIMITED)

    def snapshot(self) -> Sequence[str]:
        """All there is, as a digest of each key."""
        found: list[str] = self.client.eval(SNAPSHOT, 0)
        return found

    def counts(self) -> dict[str, int]:
        return {name: int(n) for name, n in self.client.hgetall(keys.COUNTS).items()}

    def inbox(self, book: str) -> list[str]:
        """What waits there, packed."""
        return [fields["e"] for _, fields in self.client.xrange(keys.inbox(book))]


def said(error: BaseException) -> str:
    """What a script or the server said, before redis-py put its own words to it."""
    cause = error.__cause__ or error
    return f"NOPERM {cause}" if isinstance(cause, NoPermissionError) else str(cause)
