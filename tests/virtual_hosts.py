"""Virtual hosts on this machine: how programs get there, and where they see the server.

`loopback` gives each an address of its own for the same server. `linked` gives each a network namespace and a link to
the server's, which can be cut. By the address that a client came to, the server knows where it is.
"""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

LINK: Final = "store"
"""A host's device; what it leads to."""


class NoNamespaces(Exception):
    """This machine lets us make none."""


@dataclass(frozen=True, slots=True)
class VirtualHost:
    """`enter` goes before a command line; `address` is the server's, as seen from here."""

    enter: tuple[str, ...]
    address: str

    def cut(self) -> None:
        """Take the link down. Open connections stay open, and get no more replies."""
        _run(*self.enter, "ip", "link", "set", LINK, "down")

    def reconnect(self) -> None:
        _run(*self.enter, "ip", "link", "set", LINK, "up")


@dataclass(frozen=True, slots=True)
class VirtualHosts:
    """`server` is how the server gets where it listens at the address of each host."""

    server: tuple[str, ...]
    hosts: tuple[VirtualHost, ...]

    @property
    def addresses(self) -> list[str]:
        return [place.address for place in self.hosts]


def loopback(count: int) -> VirtualHosts:
    return VirtualHosts((), tuple(VirtualHost((), f"127.0.0.{number}") for number in range(2, count + 2)))


@contextmanager
def linked(mark: str, names: Sequence[str]) -> Iterator[VirtualHosts]:
    """Namespaces named `mark`-..., gone at the end. Raises `NoNamespaces`."""
    store, *hosts = spaces = [f"{mark}-{name}" for name in (LINK, *names)]
    try:
        for space in spaces:
            _run("ip", "netns", "add", space)
        for number, space in enumerate(hosts, start=1):
            _link(store, space, f"10.0.{number}")
        yield VirtualHosts(
            _inside(store), tuple(VirtualHost(_inside(s), f"10.0.{n}.1") for n, s in enumerate(hosts, start=1))
        )
    finally:
        for space in spaces:
            with suppress(NoNamespaces):
                _run("ip", "netns", "delete", space)


def _link(store: str, host: str, net: str) -> None:
    """The server has .1 of `net`, the host .2, and there is no way from one host to the other."""
    _run("ip", "link", "add", LINK, "netns", host, "type", "veth", "peer", "name", net, "netns", store)
    for space, device, address in ((store, net, f"{net}.1/24"), (host, LINK, f"{net}.2/24")):
        _run(*_inside(space), "ip", "address", "add", address, "dev", device)
        for each in ("lo", device):
            _run(*_inside(space), "ip", "link", "set", each, "up")


def _inside(space: str) -> tuple[str, ...]:
    return ("ip", "netns", "exec", space)


def _run(*argv: str) -> None:
    if shutil.which("ip") is None:
        raise NoNamespaces("no `ip` command: install iproute2")
    done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if done.returncode:
        raise NoNamespaces(f"{' '.join(argv)}: {done.stderr.strip()}")
