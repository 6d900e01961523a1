"""Passwords that arrive as files complete the URLs that name a user and none, and are shown nowhere."""

from pathlib import Path

import pytest
from redis.connection import parse_url

from harvest_tasks.messaging.configuration import configuration
from harvest_tasks.settings.model import Settings, SettingsError

SECRET = "s3 cr/t;@:%ü"  # noqa: S105 - all that a URL would trip over


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "redis-password").write_text(f"{SECRET}\n")
    (tmp_path / "broker-password").write_text("another")
    return {"CREDENTIALS_DIRECTORY": str(tmp_path)}


def password(url: str) -> str | None:
    password: str | None = parse_url(url).get("password")
    return password


@pytest.mark.parametrize(
    "url", ["redis://brain@cache:7000/3", "rediss://brain@cache/3", "unix://brain@/run/s.sock?db=3"]
)
def test_a_user_without_a_password_gets_the_one_of_the_file(environ: dict[str, str], url: str) -> None:
    settings = Settings.from_env({**environ, "REDIS_URL": url})
    assert password(settings.redis_url) == SECRET
    assert settings.redis_url.replace(settings.redis_url.split("brain")[1].split("@")[0], "") == url


def test_the_broker_beside_the_state_has_the_same_user_and_password(environ: dict[str, str]) -> None:
    settings = Settings.from_env({**environ, "REDIS_URL": "redis://brain@cache/3"})
    assert password(settings.broker_url) == password(settings.result_backend) == SECRET


def test_a_broker_of_its_own_has_a_password_of_its_own(environ: dict[str, str]) -> None:
    urls = {"REDIS_URL": "redis://brain@cache/3", "BROKER_URL": "redis://brain@cache/4"}
    settings = Settings.from_env({**environ, **urls})
    assert (password(settings.redis_url), password(settings.broker_url)) == (SECRET, "another")
    assert password(settings.result_backend) == "another"


@pytest.mark.parametrize("url", ["redis://cache/3", "redis://brain:given@cache/3", "redis://:given@cache/3"])
def test_a_url_without_a_user_or_with_a_password_stays_as_it_is(environ: dict[str, str], url: str) -> None:
    assert Settings.from_env({**environ, "REDIS_URL": url}).redis_url == url


def test_without_the_file_a_user_has_no_password(tmp_path: Path) -> None:
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "REDIS_URL": "redis://brain@cache/3"}
    assert Settings.from_env(environ).redis_url == environ["REDIS_URL"]


def test_an_empty_or_unreadable_password_is_one_line(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "redis-password").write_text("\n")
    (tmp_path / "broker-password").unlink()
    (tmp_path / "broker-password").mkdir()
    urls = {"REDIS_URL": "redis://brain@cache/3", "BROKER_URL": "redis://brain@cache/4"}
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({**environ, **urls})
    assert str(refused.value).splitlines() == [
        "REDIS_URL='redis://***@cache:6379/3': its password, the credential redis-password, is empty",
        "BROKER_URL='redis://***@cache:6379/4': its password, the credential broker-password, cannot be read: "
        "Is a directory",
    ]


def test_what_celerys_command_copies_from_the_broker_is_not_a_contradiction(environ: dict[str, str]) -> None:
    urls = {"REDIS_URL": "redis://brain@cache/3", "BROKER_URL": "redis://brain@cache/4"}
    assert Settings.from_env({**environ, **urls, "CELERY_BROKER_URL": urls["BROKER_URL"]})
    with pytest.raises(SettingsError, match="CELERY_BROKER_URL"):
        Settings.from_env({**environ, **urls, "CELERY_BROKER_URL": "redis://brain@elsewhere/4"})


def test_neither_reprs_nor_listings_nor_errors_show_a_password(environ: dict[str, str]) -> None:
    urls = {"REDIS_URL": "redis://brain@cache/3", "BROKER_URL": "redis://brain@cache/4"}
    settings = Settings.from_env({**environ, **urls})
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({**environ, **urls, "REDIS_PORT": "1", "HARVEST_MODE": "on"})
    shown = [
        repr(settings),
        str(settings),
        repr(settings.describe()),
        str(refused.value),
        repr(configuration(settings)),
    ]
    for text in shown:
        assert "another" not in text
        assert "s3" not in text
