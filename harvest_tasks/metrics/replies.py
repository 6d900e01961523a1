"""Named commands to a server, sent in one round trip."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from harvest_tasks.server.client import Client, Command, checked

ABSENT: Final = ("no such key", "NOGROUP")
"""Texts of errors that mean: does not exist yet."""


@dataclass(frozen=True, slots=True)
class Replies:
    """Replies by the name of the command. `refused` has the errors of commands that the server refused; a command about
    something that does not exist is in neither.
    """

    given: Mapping[str, Any]
    refused: Mapping[str, Exception]

    def get(self, name: str, default: Any = None) -> Any:
        """The reply, or `default` if there is none."""
        return self.given.get(name, default)

    def demand(self, name: str) -> Any:
        """The reply. Raises the server's error if it refused the command."""
        return checked(self.refused.get(name) or self.given[name])


def ask(client: Client, commands: Mapping[str, Command]) -> Replies:
    """Send `commands` in one round trip. Raises redis-py's ConnectionError or TimeoutError."""
    if not commands:
        return Replies({}, {})
    with client.pipeline(transaction=False) as pipe:
        for command in commands.values():
            pipe.execute_command(*command)
        replies = dict(zip(commands, pipe.execute(raise_on_error=False), strict=True))
    errors = {name: reply for name, reply in replies.items() if isinstance(reply, Exception)}
    refused = {name: error for name, error in errors.items() if not any(text in str(error) for text in ABSENT)}
    return Replies({name: reply for name, reply in replies.items() if name not in errors}, refused)
