"""`harvest config`."""

import os

import click

from harvest_tasks.commands.tables import Column, json_option, show, show_json
from harvest_tasks.settings.model import Settings

FROM = {"environment": "env", "default": "default"}
COLUMNS = (Column("Setting"), Column("Value", wraps=True), Column("From"))


@click.command()
@json_option
def config(as_json: bool) -> None:
    """Show every setting, its value and where it comes from, without passwords.

    If settings are wrong: a line for each, and exit code 2.
    """
    rows = Settings.from_env(os.environ).describe()
    if as_json:
        show_json({name: {"value": value, "from": origin} for name, value, origin in rows})
    else:
        show(COLUMNS, [(name, value, FROM[origin]) for name, value, origin in rows])
