"""`python -m harvest_tasks`: the `harvest` command."""

from harvest_tasks.cli import main

main(prog_name="harvest")
