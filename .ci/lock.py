"""Writes requirements.lock: each dependency with its version and hashes, in three parts that add to each other.

uv resolves once, for everything, and then says which of those pins an installation with fewer extras needs.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

LOCK: Final = Path("requirements.lock")
UV: Final = Path(sys.executable).with_name("uv")
RESOLVED_FOR: Final = ("--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url")
HEAD: Final = "# `make lock` writes this file: one lock in three parts, each adding to the one before it.\n"
# The line that begins each part, and the extras that it takes.
RUN: Final = "# What a server installs"
SETUP: Final = "# What `make setup` adds"
DEV: Final = "# What `make setup-dev` adds"
PARTS: Final = {RUN: (), SETUP: ("--extra", "embedded", "--extra", "build"), DEV: ("--all-extras",)}
# A package can have two pins, for different versions of Python.
PIN: Final = re.compile(r"^([a-z0-9-]+)==.*\n(?:[ ].*\n)*", re.MULTILINE)


def pins(lock: str) -> list[tuple[str, str]]:
    """Each name in a lock (its text) with the lines that pin it."""
    return [(match[1], match[0]) for match in PIN.finditer(lock)]


def names(lock: str) -> set[str]:
    """The packages that a lock (its text) pins."""
    return {name for name, _ in pins(lock)}


def up_to(part: str, lock: str) -> str:
    """A lock (its text) without the parts after `part`."""
    lines = list(PARTS)
    after = lines[lines.index(part) + 1 :]
    return lock.partition(f"\n{after[0]}\n")[0] + "\n" if after else lock


def compose(resolved: str, needed: list[set[str]]) -> str:
    """The lock: each pin of `resolved` in the first part that needs its package."""
    text, done = HEAD, set[str]()
    for line, wanted in zip(PARTS, needed, strict=True):
        text += f"\n{line}\n" + "".join(pin for name, pin in pins(resolved) if name in wanted - done)
        done |= wanted
    return text


def main() -> None:
    resolved = _resolve("--all-extras", "--upgrade")
    LOCK.write_text(compose(resolved, [names(_resolve(*extras, constraints=resolved)) for extras in PARTS.values()]))


def _resolve(*options: str, constraints: str = "") -> str:
    argv = [str(UV), "pip", "compile", "--quiet", *RESOLVED_FOR, *options, "--constraints", "-", "pyproject.toml"]
    done = subprocess.run(argv, input=constraints, stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout if done.returncode == 0 else sys.exit("lock: uv could not resolve the dependencies")


if __name__ == "__main__":
    main()
