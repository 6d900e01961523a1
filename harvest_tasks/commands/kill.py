"""`harvest kill`."""

import click

from harvest_tasks.commands.formatting import printable
from harvest_tasks.commands.session import Failure, connected
from harvest_tasks.commands.tables import json_option, show_json
from harvest_tasks.operations.kill_switch import KillSwitch, NotASwitch, read_kill_switch, set_kill_switch


@click.group()
def kill() -> None:
    """Stop publishing intents, or allow it again. Positions are tracked either way."""


@kill.command()
def on() -> None:
    """Stop publishing intents."""
    _write(killed=True)


@kill.command()
def off() -> None:
    """Allow publishing again.

    Intents that are due are published within a second, if their price is still fresh.
    """
    _write(killed=False)


@kill.command()
@json_option
def status(as_json: bool) -> None:
    """Show whether publishing is allowed.

    Exit code 0 if it is, 1 if not.
    """
    with connected() as (settings, client):
        found = read_kill_switch(client, settings.harvest_kill_switch_key)
    if as_json:
        show_json({"key": found.key, "killed": found.is_killed, "value": found.value, "type": found.kind})
    else:
        click.echo(f"{found.key} is {_state(found)}: {_meaning(found.is_killed)}.")
    raise click.exceptions.Exit(int(found.is_killed))


def _write(*, killed: bool) -> None:
    with connected() as (settings, client):
        key = settings.harvest_kill_switch_key
        try:
            before = set_kill_switch(client, key, killed=killed)
        except NotASwitch as error:
            hint = "nothing is published meanwhile. Fix: set HARVEST_KILL_SWITCH_KEY to another key, or delete this one"
            raise Failure(f"{error}: {hint}") from error
    after = "on" if killed else "off"
    click.echo(f"{key} was {_state(before)}, is {after}: {_meaning(killed)}.")


def _state(found: KillSwitch) -> str:
    match found:
        case KillSwitch(kind="none"):
            return "off (absent)"
        case KillSwitch(kind="string", value="1"):
            return "on"
        case KillSwitch(kind="string", value="0"):
            return "off"
        case KillSwitch(kind="string", value=""):
            return "off (empty)"
        case KillSwitch(kind="string", value=str(value)):
            return f"on (holds {printable(repr(value[:40]))})"
    return f"on (is a {found.kind})"


def _meaning(killed: bool) -> str:
    return "no intent is published" if killed else "intents may be published"
