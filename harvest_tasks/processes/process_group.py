"""Processes that cannot outlive the one that started them, their own children included.

A leashed command leads a session of its own. Beside it a shell does nothing but read a pipe whose only writer is the
owner; when the owner ends, however it ends, the read returns and the shell kills the whole process group. The shell
keeps the output open, so that its end of file tells that the group is gone.
PR_SET_PDEATHSIG would reach only the command, not what it forked, and fires already when the starting thread ends.
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
    """The owner's end. Closing it kills every group still on it."""

    def __init__(self) -> None:
        self._far_end, self._own_end = os.pipe()
        self._closed = False

    def start(
        self, argv: Sequence[str], *, output: int, environ: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Runs `argv`, both its output streams going to the file descriptor `output`."""
        return subprocess.Popen(  # noqa: S603 - to run what it is given is what it is for; no shell parses `argv`
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
    """Kills a leashed command and all it forked.

    Right even after the command itself was waited for: its reading shell is in the group and keeps the id taken.
    """
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
