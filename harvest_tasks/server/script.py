"""Lua scripts. Each is beside the module that calls it, runs by its digest, and is reloaded if the server lost it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha1
from importlib.resources import files
from typing import Any, Final

from redis.exceptions import NoScriptError

from harvest_tasks.server.client import Client, Command, checked, round_trip, round_trip_of_batches

Value = str | int

PACKAGES: Final = {"route": "fills", "commit": "fills", "publish": "proposing"}
"""The package of each script, by the script's name."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the digest by which the server knows it."""

    name: str
    text: str
    sha: str


@dataclass(frozen=True, slots=True)
class Call:
    """One invocation of a script."""

    script: Script
    keys: Sequence[str]
    args: Sequence[Value]


@lru_cache
def load(name: str) -> Script:
    """The script `<package>/<name>.lua`."""
    text = files("harvest_tasks").joinpath(PACKAGES[name], f"{name}.lua").read_text(encoding="utf-8")
    # SHA-1 is how EVALSHA names a script; nothing is secured by it.
    return Script(name, text, sha1(text.encode(), usedforsecurity=False).hexdigest())


def run(client: Client, call: Call) -> Any:
    """The reply of one call. Raises redis-py's errors."""
    (reply,) = run_all(client, [call])
    return checked(reply)


def run_all(client: Client, calls: Sequence[Call], commands: Sequence[Command] = ()) -> list[Any]:
    """The replies to `calls`, then to `commands`, in order, in one round trip; an error is a reply like any other."""
    return _with_unknown_scripts_run(client, calls, round_trip(client, [*map(_command, calls), *commands]))


def run_batches(client: Client, batches: Iterable[Sequence[Call]]) -> list[Any]:
    """The replies to the calls of all `batches`, in order; each batch is sent as soon as it is made."""
    made: list[Call] = []

    def commands() -> Iterator[list[Command]]:
        for calls in batches:
            made.extend(calls)
            yield list(map(_command, calls))

    return _with_unknown_scripts_run(client, made, round_trip_of_batches(client, commands()))


def _with_unknown_scripts_run(client: Client, calls: Sequence[Call], replies: list[Any]) -> list[Any]:
    """`replies`, whose first ones are to `calls`. Calls of a script that the server did not know are repeated."""
    unknown = [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
    if unknown:
        for script in {calls[index].script for index in unknown}:
            client.script_load(script.text)
        again = round_trip(client, [_command(calls[index]) for index in unknown])
        for index, reply in zip(unknown, again, strict=True):
            replies[index] = reply
    return replies


def _command(call: Call) -> Command:
    return "EVALSHA", call.script.sha, len(call.keys), *call.keys, *call.args
