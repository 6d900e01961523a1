"""A server with the users of systemd/users.acl, and each of them as a program logs in."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harvest_tasks.connection import Client, connect
from harvest_tasks.processes.embedded import EmbeddedServer

SCRIPT = Path(__file__).parents[1] / "systemd" / "users.sh"
OWNER = "user default on nopass ~* &* +@all"
ROLES = ("producer", "harvest-proposal", "harvest-brain", "harvest-beat", "flower", "executor", "operator", "monitor")
DATABASES = {"REDIS_URL": 0, "BROKER_URL": 1}


@dataclass(frozen=True, slots=True)
class Users:
    """Their passwords, one to a file, and an ACL file in which the server's owner needs none."""

    directory: Path

    @classmethod
    def within(cls, directory: Path) -> "Users":
        users = cls(directory)
        shown = subprocess.run([SCRIPT, directory], capture_output=True, text=True, check=True)  # noqa: S603 - ours
        lines = [OWNER if line.startswith("user default ") else line for line in shown.stdout.splitlines()]
        users.acl_file.write_text("\n".join(lines) + "\n")
        return users

    @property
    def acl_file(self) -> Path:
        return self.directory / "users.acl"

    @property
    def options(self) -> list[str]:
        """Of the server's command line."""
        return ["--aclfile", str(self.acl_file)]

    def password(self, user: str) -> str:
        return (self.directory / user).read_text()

    def url(self, server: EmbeddedServer, user: str, db: int = 0) -> str:
        scheme, _, place = server.url(db).partition("://")
        return f"{scheme}://{user}:{self.password(user)}@{place}"

    def environ(self, server: EmbeddedServer, user: str) -> dict[str, str]:
        """As systemd gives it to a unit: URLs without a password, which is a file."""
        credentials = self.directory / f"credentials-{user}"
        credentials.mkdir(exist_ok=True)
        for name in ("redis-password", "broker-password"):
            (credentials / name).write_text(self.password(user) + "\n")
        urls = {name: _named(server.url(db), user) for name, db in DATABASES.items()}
        return {**urls, "CREDENTIALS_DIRECTORY": str(credentials)}

    def client(self, server: EmbeddedServer, user: str, db: int = 0) -> Client:
        return connect(self.url(server, user, db))


def _named(url: str, user: str) -> str:
    scheme, _, place = url.partition("://")
    return f"{scheme}://{user}@{place}"


@contextmanager
def guarded(executable: str, *options: str) -> Iterator[tuple[EmbeddedServer, Users]]:
    """A server of its own that knows the users."""
    with tempfile.TemporaryDirectory(prefix="harvest-users-") as directory:
        users = Users.within(Path(directory))
        with EmbeddedServer(executable, options=[*users.options, *options]) as server:
            yield server, users


def denied(owner: Client) -> list[tuple[str, str, str]]:
    """Who was refused what, by the server's own list. Clients introduce their library, are refused that, and go on."""
    log: list[Any] = owner.acl_log()
    refused = [(entry["username"], entry["context"], entry["object"]) for entry in log]
    return [each for each in refused if each[2] != "client|setinfo"]
