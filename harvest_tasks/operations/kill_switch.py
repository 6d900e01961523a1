"""The kill switch: one key that stops all publishing."""

from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from harvest_tasks.fills.loading import SWITCH_OFF
from harvest_tasks.server.client import Client, checked


class NotASwitch(Exception):
    """The key holds something other than text, so it belongs to something else."""


@dataclass(frozen=True, slots=True)
class KillSwitch:
    """`value` is the key's text, None if it is absent; `kind` is its Redis type, `none` if it is absent."""

    key: str
    value: str | None
    kind: str

    @property
    def is_killed(self) -> bool:
        return self.kind not in ("string", "none") or self.value not in SWITCH_OFF


def read_kill_switch(client: Client, key: str) -> KillSwitch:
    """The switch as it is now, whatever type of key it is."""
    with client.pipeline(transaction=True) as pipe:
        pipe.type(key)
        pipe.get(key)
        kind, value = pipe.execute(raise_on_error=False)
    return KillSwitch(key, None if isinstance(value, Exception) else value, checked(kind))


def set_kill_switch(client: Client, key: str, *, killed: bool) -> KillSwitch:
    """Set the switch and return what it was before. Raises `NotASwitch`, with nothing written."""
    try:
        # Off is written, not deleted, so that it shows as a decision. SET also removes a time to live.
        before: Any = client.set(key, "1" if killed else "0", get=True)
    except ResponseError as error:
        if "WRONGTYPE" not in str(error):
            raise
        raise NotASwitch(f"{key} is a {read_kill_switch(client, key).kind}, not a switch") from error
    return KillSwitch(key, before, "none" if before is None else "string")
