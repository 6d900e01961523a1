"""Where do passwords come from? From files of systemd's `LoadCredential=`, which keeps them out of the environment."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from harvest_tasks.settings import redis_url, variables

DIRECTORY: Final = "CREDENTIALS_DIRECTORY"
"""The variable in which systemd names their directory."""
FILES: Final = {"REDIS_URL": "redis-password", "BROKER_URL": "broker-password", "RESULT_BACKEND": "broker-password"}
"""The file with the password, for each variable whose URL may name a user without a password."""


def completed(given: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """`given` with the passwords of the credentials in its URLs. Skips unreadable ones, which `unusable` reports."""
    return {
        **given,
        **{name: redis_url.with_password(given[name], read_secret(path)) for name, path in _used(given, environ)},
    }


def unusable(given: Mapping[str, str], environ: Mapping[str, str]) -> Iterator[str]:
    """An error line for each URL whose password cannot be read."""
    for name, path in _files(given, environ):
        try:
            problem = "" if read_secret(path) else "is empty"
        except OSError as error:
            problem = f"cannot be read: {error.strerror}"
        if problem:
            yield variables.error_line(name, given[name], f"its password, the credential {path.name}, {problem}")


def read_secret(path: Path) -> bytes:
    """The secret in a file, without the end of its line. Raises OSError."""
    return path.read_bytes().rstrip(b"\r\n")


def _used(given: Mapping[str, str], environ: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    refused = {line.partition("=")[0] for line in unusable(given, environ)}
    return ((name, path) for name, path in _files(given, environ) if name not in refused)


def _files(given: Mapping[str, str], environ: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    """Each variable that a credential completes, and the file of the credential."""
    if DIRECTORY not in environ:
        return
    for name, file in FILES.items():
        path = Path(environ[DIRECTORY], file)
        if name in given and redis_url.lacks_password(given[name]) and path.exists():
            yield name, path
