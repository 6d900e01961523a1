"""A server with the users of systemd/users.acl, and each of them as a program logs in."""

import secrets
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from harvest_tasks.processes.embedded_server import EmbeddedServer
from harvest_tasks.server.client import Client, connect

SCRIPT = Path(__file__).parents[1] / "systemd" / "users.sh"
OWNER = "user default on nopass ~* &* +@all"
ROLES = ("producer", "harvest-proposal", "harvest-brain", "harvest-beat", "flower", "executor", "operator", "monitor")
ACL = "users.acl"
DATABASES = {"REDIS_URL": 0, "BROKER_URL": 1}
TOGETHER = "harvest"
PARTS = ("harvest-brain", "harvest-proposal", "harvest-beat", "flower")
"""`harvest up` gives all its processes one environment, so on a given server they are one user."""
NOTHING = " resetchannels -@all "
"""How the rules of a user begin."""


@dataclass(frozen=True, slots=True)
class Users:
    """Their passwords, one to a file, and an ACL file in which the server's owner needs none."""

    directory: Path

    @classmethod
    def within(cls, directory: Path) -> "Users":
        """Writes the files; makes the directory, if it is not there."""
        directory.mkdir(exist_ok=True)
        for name, content in _files().items():
            (directory / name).write_text(content)
        return cls(directory)

    @property
    def acl_file(self) -> Path:
        return self.directory / ACL

    @property
    def options(self) -> list[str]:
        """Of the server's command line."""
        return ["--aclfile", str(self.acl_file)]

    def join(self, name: str, parts: Sequence[str]) -> None:
        """One user more, who may do what `parts` may."""
        lines = self.acl_file.read_text().splitlines()
        rules = {line.split()[1]: line.partition(NOTHING)[2] for line in lines}
        (self.directory / name).write_text(secrets.token_hex())
        known = f"user {name} on #{sha256(self.password(name).encode()).hexdigest()}"
        self.acl_file.write_text("\n".join([*lines, known + NOTHING + " ".join(map(rules.__getitem__, parts)), ""]))

    def password(self, user: str) -> str:
        return (self.directory / user).read_text()

    def url(self, server: EmbeddedServer, user: str, db: int = 0) -> str:
        scheme, _, place = server.url(db).partition("://")
        return f"{scheme}://{user}:{self.password(user)}@{place}"

    def environ(self, server: EmbeddedServer, user: str) -> dict[str, str]:
        """As systemd gives it to a unit: URLs without a password, which is a file."""
        return self.environ_at({name: server.url(db) for name, db in DATABASES.items()}, user)

    def environ_at(self, urls: Mapping[str, str], user: str) -> dict[str, str]:
        """The same, with `urls` by the names of their variables."""
        credentials = self.directory / f"credentials-{user}"
        credentials.mkdir(exist_ok=True)
        for name in ("redis-password", "broker-password"):
            (credentials / name).write_text(self.password(user) + "\n")
        return {**{name: _named(url, user) for name, url in urls.items()}, "CREDENTIALS_DIRECTORY": str(credentials)}

    def client(self, server: EmbeddedServer, user: str, db: int = 0) -> Client:
        return connect(self.url(server, user, db))


@cache
def _files() -> dict[str, str]:
    """What users.sh makes, by name: once in a process, because it takes a tenth of a second."""
    with TemporaryDirectory(prefix="harvest-users-") as directory:
        shown = subprocess.run([SCRIPT, directory], capture_output=True, text=True, check=True)  # noqa: S603 - ours
        passwords = {user: Path(directory, user).read_text() for user in ROLES}
    lines = [OWNER if line.startswith("user default ") else line for line in shown.stdout.splitlines()]
    return {**passwords, ACL: "\n".join([*lines, ""])}


def _named(url: str, user: str) -> str:
    scheme, _, place = url.partition("://")
    return f"{scheme}://{user}@{place}"


class GuardedServer(EmbeddedServer):
    """Knows the users, whose passwords lie in its directory. Its `url` is the owner's, who needs none."""

    def __init__(self, executable: str | None = None, *, unix: bool = False, options: Sequence[str] = ()) -> None:
        super().__init__(executable, unix=unix, options=options)
        self.users = Users.within(self.directory / "users")

    @property
    def argv(self) -> list[str]:
        return [*super().argv, *self.users.options]

    def environ(self, user: str) -> dict[str, str]:
        """The environment of a program of this user."""
        return self.users.environ(self, user)


class Refusal(NamedTuple):
    """`where` is toplevel, multi or lua; `what` a command, a key or a channel."""

    user: str
    where: str
    what: str


@contextmanager
def for_up(server: GuardedServer) -> Iterator[GuardedServer]:
    """`server`, running, with one user for all that `harvest up` starts. Raises EmbeddedError."""
    server.users.join(TOGETHER, PARTS)
    with server, closing(connect(server.url())) as owner:
        yield server
        assert_nobody_is_denied(owner)


@contextmanager
def guarded(executable: str, *options: str) -> Iterator[tuple[EmbeddedServer, Users]]:
    """A server of its own that knows the users."""
    with GuardedServer(executable, options=options) as server:
        yield server, server.users


def worker_user(queues: str) -> str:
    """Who a worker of these queues is."""
    return "harvest-brain" if "fills" in queues else "harvest-proposal"


def logins(owner: Client) -> Counter[str]:
    """How many connections each user has."""
    return Counter(str(each["user"]) for each in owner.client_list())


def assert_nobody_is_denied(owner: Client) -> None:
    refusals = denied(owner)
    assert not refusals, f"not allowed: {refusals}"


def denied(owner: Client) -> list[Refusal]:
    """Who was refused what, by the server's own list. Clients introduce their library, are refused that, and go on."""
    log: list[Any] = owner.acl_log()
    refused = [Refusal(entry["username"], entry["context"], entry["object"]) for entry in log]
    return [each for each in refused if each.what != "client|setinfo"]
