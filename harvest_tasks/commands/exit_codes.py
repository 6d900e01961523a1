"""Exit codes of the `harvest` command beyond 0 (done), 1 (did not succeed) and 2 (wrong setting or usage)."""

from typing import Final

UNREACHABLE: Final = 3
"""The server does not answer."""
FORCED: Final = 4
"""Stopped, but something had to be killed."""
INTERRUPTED: Final = 130
"""Ended by Ctrl-C or SIGTERM before there was a result, as a shell reports it."""
