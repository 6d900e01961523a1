"""A wall clock that can be set while processes run by it, servers or workers: a library preloaded into them."""

import os
import shlex
import shutil
import struct
import subprocess
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

LIBRARY: Final = "settable_clock"


class NoCompiler(RuntimeError):
    """There is no C compiler on this machine, and no library without one."""


class SettableClock:
    """One clock; processes started with its `environ` go by it. It begins right."""

    def __init__(self, directory: Path, name: str) -> None:
        self._file = directory / f"{name}.ahead_ms"
        self._library = _library(directory)
        self.ahead_ms = 0
        self._write()

    @property
    def environ(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self._library), "CLOCK_AHEAD_MS": str(self._file)}

    def step(self, ms: int) -> None:
        """Set it forward by `ms`, or back."""
        self.ahead_ms += ms
        self._write()

    def executable(self, program: str) -> str:
        """A program that runs `program` by this clock."""
        script = self._file.with_suffix(".sh")
        names = " ".join(f"{name}={shlex.quote(value)}" for name, value in self.environ.items())
        script.write_text(f'#!/bin/sh\n{names} exec {shlex.quote(program)} "$@"\n')
        script.chmod(0o755)
        return str(script)

    def _write(self) -> None:
        """In place: others have it mapped."""
        file = os.open(self._file, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.pwrite(file, struct.pack("=q", self.ahead_ms), 0)
        finally:
            os.close(file)


def compiler() -> str | None:
    """The C compiler of this machine."""
    return next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)


def _library(directory: Path) -> Path:
    """Built once a directory."""
    library = directory / f"{LIBRARY}.so"
    if not library.exists():
        found = compiler()
        if found is None:
            raise NoCompiler("no C compiler (cc, gcc or clang) on this machine: clocks cannot be set")
        with as_file(files("laboratory").joinpath(f"{LIBRARY}.c")) as source:
            argv = [found, "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", str(library), str(source)]
            subprocess.run(argv, check=True, capture_output=True)  # noqa: S603 - our own source
    return library
