"""Processes that cannot outlive the one that started them, their own children included.

Each command leads its own session and process group. In the group a shell reads a pipe whose only writer is the owner;
when the owner ends, even by SIGKILL, the read returns and the shell kills the group. The shell keeps the output open,
so end of file on the output means that the group is gone.
PR_SET_PDEATHSIG would reach only the command, not what it forked, and fires as soon as the starting thread ends.
"""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

SCRIPT: Final = 'exec 3<&0 </dev/null; (read -r _ <&3; kill -s KILL -- "-$$") & exec 3<&-; exec "$@"'


class ProcessGroups:
    """The process groups of one owner. Closing it kills every group that still runs."""

    def __init__(self) -> None:
        self._far_end, self._own_end = os.pipe()
        self._closed = False

    def start(
        self, argv: Sequence[str], *, output: int, environ: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Runs `argv`, both its output streams going to the file descriptor `output`."""
        return subprocess.Popen(  # noqa: S603 - running its argument is its purpose; no shell parses `argv`
            ["/bin/sh", "-c", SCRIPT, argv[0], *argv],
            stdin=self._far_end,
            stdout=output,
            stderr=output,
            env=environ,
            start_new_session=True,
        )

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            os.close(self._own_end)
            os.close(self._far_end)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a command started by `ProcessGroups` and all it forked.

    Safe even after the command was waited for: the shell in its group keeps the group id in use.
    """
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
