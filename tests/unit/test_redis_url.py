"""One server, spelled for redis-py and for Celery: both libraries must find the same place."""

from typing import Any
from urllib.parse import quote

import pytest
from celery import Celery
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils.url import url_to_parts
from redis.connection import parse_url

from harvest_tasks.settings.redis_url import RedisUrl, celery_url, next_database, parse_address, redacted_url

PLACE = ("host", "port", "path", "username", "password")
PASSWORDS = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("data", "celery"),
    [
        ("redis://cache", "redis://cache:6379/1"),
        ("redis://cache/", "redis://cache:6379/1"),
        ("redis://cache:7000/3", "redis://cache:7000/4"),
        ("redis://[::1]:7000/3", "redis://[::1]:7000/4"),
        ("redis://user:p%40ss@cache/3", "redis://user:p%40ss@cache:6379/4"),
        ("redis://:a;b@cache/3", "redis://:a%3Bb@cache:6379/4"),
        ("unix:///run/s.sock", "redis+socket:///run/s.sock?virtual_host=1"),
        ("unix://:pw@/run/a%20b;c.sock?db=3", "redis+socket://:pw@/run/a%20b%3Bc.sock?virtual_host=4"),
        ("rediss://cache/3", "rediss://cache:6379/4?ssl_cert_reqs=required"),
        (
            "rediss://cache/3?ssl_ca_certs=/etc/ca.pem",
            "rediss://cache:6379/4?ssl_cert_reqs=required&ssl_ca_certs=%2Fetc%2Fca.pem",
        ),
        ("rediss://cache/3?ssl_cert_reqs=none", "rediss://cache:6379/4?ssl_cert_reqs=none"),
    ],
)
def test_the_broker_is_the_next_database_of_the_same_server(data: str, celery: str) -> None:
    assert next_database(data) == celery
    assert celery_url(celery) == celery


@given(password=PASSWORDS, db=st.integers(0, 9_998), socket=st.booleans())
def test_redis_py_kombu_and_the_result_backend_reach_the_same_place(password: str, db: int, socket: bool) -> None:
    login = f"user:{quote(password, safe='')}@"
    url = f"unix://{login}/run/s.sock?db={db}" if socket else f"redis://{login}cache:7000/{db}"
    data = parse_url(url)
    for celery in (_kombu_parameters(next_database(url)), _backend_parameters(next_database(url))):
        assert celery["db"] == db + 1
        assert {name: celery.get(name) for name in PLACE} == {name: data.get(name) for name in PLACE}


@given(password=PASSWORDS)
def test_nothing_shows_a_password_however_it_is_written(password: str) -> None:
    secret = f"Zq{password}Zq"
    for url in (f"redis://:{secret}@cache/1", f"redis://:{secret}:6379", f"unix://:{secret}@/s", secret):
        assert secret not in redacted_url(url)
        assert secret not in repr(RedisUrl(url))
        assert secret not in _problem(url)


def _problem(url: str) -> str:
    try:
        parse_address(url)
    except ValueError as error:
        return str(error)
    return ""


def _kombu_parameters(url: str) -> dict[str, Any]:
    """As kombu's transport reads them, which can only be asked itself while a server answers."""
    parts = url_to_parts(url.removeprefix("redis+"))
    place = {"host": parts.hostname, "port": parts.port, "username": parts.username, "password": parts.password}
    if parts.scheme == "socket":
        return {**place, "path": f"/{parts.path}", "db": int(parts.query["virtual_host"])}
    return {**place, "db": int(parts.path)}


def _backend_parameters(url: str) -> dict[str, Any]:
    parameters: dict[str, Any] = Celery(backend=url, set_as_current=False).backend.connparams
    return parameters
