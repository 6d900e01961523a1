"""How a command says that it did not succeed."""

from typing import IO, Any

import click


class Failure(click.ClickException):
    """One line on stderr that says what is wrong and what to do; exit code 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"harvest: {self.format_message()}", file=file, err=True)
