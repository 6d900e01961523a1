"""The address of a Redis server, in the two spellings that redis-py and Celery use.

redis-py takes `redis://`, `rediss://` and `unix:///path?db=1`. Kombu and Celery's result backend take `redis://`,
`rediss://` and `redis+socket:///path?virtual_host=1`, and read `rediss://` without `ssl_cert_reqs` as "verify nothing".
"""

import re
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

DATA_FORMS: Final = {"redis": (), "rediss": (), "unix": ("db",)}
"""Schemes of redis-py, and the names allowed after the question mark besides TLS files."""
CELERY_FORMS: Final = {"redis": (), "rediss": (), "redis+socket": ("virtual_host",)}

_TLS: Final = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_DATABASE: Final = re.compile(r"\A(0|[1-9][0-9]{0,3})\Z")
_PLACE: Final = re.compile(r"\A([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::(.*))?\Z")
_DIGITS: Final = re.compile(r"\A[0-9]{1,9}\Z")
_BARE_ADDRESS: Final = re.compile(r"\A[A-Za-z0-9_.-]+:[0-9]{1,5}\Z")
_DEFAULT_PORT: Final = 6379


class RedisUrl(str):
    """A URL that may contain a password, which its repr leaves out."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(redacted_url(self))


@dataclass(frozen=True, slots=True)
class Address:
    """The parts of a server's URL. `login` is percent-encoded and ends in its `@`, or is empty. A socket has a `path`,
    any other server a `host`; the other one is empty.
    """

    scheme: str
    login: str
    host: str
    port: int
    path: str
    db: int
    tls: tuple[tuple[str, str], ...] = ()

    @property
    def is_socket(self) -> bool:
        return bool(self.path)

    def masked(self) -> "Address":
        return replace(self, login="***@" if self.login else "")

    def for_redis(self) -> RedisUrl:
        return self._url("unix", "db")

    def for_celery(self) -> RedisUrl:
        """The URL in Celery's spelling. It verifies the server's certificate, as redis-py does by default."""
        if self.scheme == "rediss" and "ssl_cert_reqs" not in dict(self.tls):
            return replace(self, tls=(("ssl_cert_reqs", "required"), *self.tls)).for_celery()
        return self._url("redis+socket", "virtual_host")

    def _url(self, socket_scheme: str, socket_db: str) -> RedisUrl:
        # Kombu takes a semicolon for the start of another server's URL.
        login, path = self.login.replace(";", "%3B"), self.path.replace(";", "%3B")
        if self.is_socket:
            return RedisUrl(f"{socket_scheme}://{login}{path}?{socket_db}={self.db}")
        query = f"?{urlencode(self.tls)}" if self.tls else ""
        return RedisUrl(f"{self.scheme}://{login}{self.host}:{self.port}/{self.db}{query}")


def data_url(text: str) -> RedisUrl:
    """`text`, if redis-py would understand all of it. Raises ValueError."""
    parse_address(text, DATA_FORMS)
    return RedisUrl(text)


def celery_url(text: str) -> RedisUrl:
    """`text`, if Celery would understand all of it. Raises ValueError."""
    address = parse_address(text, CELERY_FORMS)
    if ";" in text:
        raise ValueError("must name one server; write a semicolon as %3B")
    if address.scheme == "rediss" and "ssl_cert_reqs" not in dict(address.tls):
        raise ValueError("must end in ?ssl_cert_reqs=required, or Celery would not verify the server's certificate")
    return RedisUrl(text)


def next_database(url: str) -> RedisUrl:
    """Celery's URL of the database that follows the one of redis-py's `url`, on the same server."""
    address = parse_address(url, DATA_FORMS)
    return replace(address, db=address.db + 1).for_celery()


def lacks_password(text: str) -> bool:
    """Whether `text` is a URL that names a user and no password."""
    login = _login(text)
    return bool(login) and ":" not in login


def with_password(text: str, password: bytes) -> str:
    """`text`, which names a user, with the password of that user."""
    login = _login(text)
    return text.replace(f"//{login}@", f"//{login}:{quote(password, safe='')}@", 1)


def parse_address(text: str, forms: dict[str, tuple[str, ...]] = DATA_FORMS) -> Address:
    """The parts of the URL `text`. Raises ValueError, whose message contains no more of `text` than a host."""
    scheme, found, _ = text.partition("://")
    if not found or scheme not in forms:
        raise ValueError(f"must begin with {', '.join(f'{form}://' for form in forms)}")
    parts = _split(text)
    query = _query(parts, (*forms[scheme], *(_TLS if scheme == "rediss" else ())))
    if forms[scheme]:
        return _socket(scheme, parts, query.get(forms[scheme][0], "0"))
    return _network(scheme, parts, query)


def redacted_url(text: str) -> str:
    """`text` without its user and password; only the scheme of a URL that cannot be parsed."""
    for forms, spell in ((DATA_FORMS, Address.for_redis), (CELERY_FORMS, Address.for_celery)):
        try:
            return str(spell(parse_address(text, forms).masked()))
        except ValueError:
            continue
    scheme, found, _ = text.partition("://")
    if found and scheme.replace("+", "").isalnum():
        return f"{scheme}://***"
    return text if _BARE_ADDRESS.match(text) else "***"


def _split(text: str) -> SplitResult:
    if not text.isascii():
        raise ValueError("must be ASCII; percent-encode everything else")
    try:
        return urlsplit(text)
    except ValueError:
        raise ValueError("must name a host, or an IPv6 address in brackets") from None


def _login(text: str) -> str:
    """User and password, the part before the @; empty if `text` is not a URL."""
    try:
        return _split(text).netloc.rpartition("@")[0]
    except ValueError:
        return ""


def _query(parts: SplitResult, allowed: tuple[str, ...]) -> dict[str, str]:
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    if parts.fragment or any(name not in allowed for name, _ in pairs) or len(dict(pairs)) < len(pairs):
        # Anything else would override how our connections are made: retries, time limits, decoding.
        end = (
            f"with nothing but {', '.join(allowed)} after a question mark"
            if allowed
            else "with the number of the database"
        )
        raise ValueError(f"must end {end}")
    return dict(pairs)


def _socket(scheme: str, parts: SplitResult, database: str) -> Address:
    login, at, host = parts.netloc.rpartition("@")
    if host or not parts.path.strip("/") or not _DATABASE.match(database):
        raise ValueError(f"must read like {scheme}:///path/to/socket, with a number as its database")
    return Address(scheme, login + at, "", 0, parts.path, int(database))


def _network(scheme: str, parts: SplitResult, tls: dict[str, str]) -> Address:
    login, at, place = parts.netloc.rpartition("@")
    found = _PLACE.match(place)
    database = parts.path.removeprefix("/") or "0"
    if not found or not _DATABASE.match(database):
        raise ValueError(
            f"must read like {scheme}://user:password@host:6379/0; percent-encode special characters of the password"
        )
    return Address(scheme, login + at, found[1], _port(found[1], found[2]), "", int(database), tuple(tls.items()))


def _port(host: str, text: str | None) -> int:
    """The port after `host`; the default one if `text` is None."""
    if text is None:
        return _DEFAULT_PORT
    if not _DIGITS.match(text):
        # It may be the password of a URL that lacks its host.
        raise ValueError("must have a port from 1 to 65535 after the host and a colon")
    if not 0 < int(text) < 65_536:
        raise ValueError(f"must have a port from 1 to 65535 after {host}:")
    return int(text)
