"""The command line, run in this process."""

import os
from collections.abc import Callable, Mapping

from click.testing import CliRunner, Result

from harvest_tasks.cli import main

Harvest = Callable[..., Result]
"""Takes the arguments of `harvest` and, by name, more of its environment."""


def in_process(environ: Mapping[str, str], *command: str, columns: int = 200) -> Harvest:
    """Runs `command` with nothing but `environ` in its environment."""
    gone = dict.fromkeys(os.environ.keys() - environ.keys())

    def run(*arguments: str, **extra: str) -> Result:
        env = {**gone, **environ, "COLUMNS": str(columns), **extra}
        return CliRunner().invoke(main, [*command, *arguments], env=env)

    return run
