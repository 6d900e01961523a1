"""What the environment may say, and the one clear line for each thing it may not."""

import os
from decimal import Decimal
from errno import EACCES
from pathlib import Path

import pytest
from pydantic import ValidationError

from harvest_tasks.settings.model import Mode, PositionSource, Settings, SettingsError, current_settings
from kernel.positions.ladder import Basis, Rung

DEFAULTS = {
    "REDIS_URL": "redis://localhost:6379/0",
    "BROKER_URL": "redis://localhost:6379/1",
    "RESULT_BACKEND": "redis://localhost:6379/1",
    "SYMBOLS": "BTCUSDT,ETHUSDT,SOLUSDT",
    "PUBLISH_INTERVAL_SEC": "10",
    "MAX_PUBLISH_AGE_SEC": "60",
    "CHANGE_EPS_PCT": "0.001",
    "FALLBACK_STOP_PCT": "0.02",
    "MARKETSTATE_PREFIX": "quantum:marketstate:",
    "RISKPROPOSAL_PREFIX": "quantum:risk:proposal:",
    "HARVEST_PREFIX": "quantum:harvest:proposal:",
    "ENABLE_STREAM": "false",
    "STREAM_NAME": "quantum:stream:harvest.proposal",
    "LOG_LEVEL": "INFO",
    "LOG_FORMAT": "text",
    "ADHOC_RATE_LIMIT": "120/m",
    "HARVEST_MODE": "shadow",
    "HARVEST_LIVE_CONFIRM": "no",
    "HARVEST_LIVE_STOPS": "false",
    "POSITION_SOURCE": "auto",
    "SYNTHETIC_FALLBACK": "true",
    "STREAM_EXECUTION_RESULT": "quantum:stream:execution.result",
    "STREAM_TRADE_INTENT": "quantum:stream:trade.intent",
    "STREAM_HARVEST_SUGGESTIONS": "quantum:stream:harvest.suggestions",
    "WATCH_SLICE_SEC": "5",
    "WATCH_ANSWERS_UP_TO": "128",
    "HARVEST_KILL_SWITCH_KEY": "quantum:kill",
    "HARVEST_LADDER": "0.5:0.25,1:0.25,1.5:0.25",
    "HARVEST_LADDER_BASIS": "original",
    "HARVEST_MIN_R": "0.5",
    "HARVEST_SET_BE_AT_R": "0.5",
    "HARVEST_TRAIL_ATR_MULT": "2",
    "HARVEST_MIN_NOTIONAL": "0",
    "HARVEST_COST_BPS": "0",
    "INSTRUMENTS_FILE": "none",
    "HARVEST_REDUCE_ONLY": "true",
    "HARVEST_REQUIRE_FRESH_SNAPSHOT_SEC": "30",
    "HARVEST_MAX_ACTIONS_PER_MIN": "30",
    "HARVEST_DEDUP_TTL_SEC": "900",
    "HARVEST_INTENT_TIMEOUT_SEC": "900",
    "HARVEST_LOCK_TTL_SEC": "1",
    "RECONCILE_INTERVAL_SEC": "60",
    "RECONCILE_TOLERANCE": "0.001",
}

EXCHANGE_INFO = str(Path(__file__).parents[1] / "data" / "exchange_info.json")
LIVE = {"HARVEST_MODE": "live", "HARVEST_LIVE_CONFIRM": "yes"}

RUNGS = "must list rungs as R:fraction in plain decimal numbers, such as 0.5:0.25,1.0:0.25"
SYMBOLS = "must list symbols such as BTCUSDT,ETHUSDT or be * for every symbol that ever had a fill"
RATE = "must be a rate such as 2/s or 120/m, and at least 6/m"
KEY = "must be a key name such as quantum:kill, without spaces, wildcards or a colon at either end"
PREFIX = "must be the start of a key name, ending in one colon, such as quantum:marketstate:"
HOST = "must be a host name or address, without port or user"
BLANK = "is blank; unset it, or give it a value"
SPACE = "has white space around it"
CRLF = "ends in a carriage return; save the file it comes from with LF line ends"
CONTROL = "holds a control character"
FILE = "must be the path of an existing file, or none"
FLAG = "must be true or false"
DATA_SCHEMES = "must begin with redis://, rediss://, unix://"
CELERY_SCHEMES = "must begin with redis://, rediss://, redis+socket://"
NETWORK_FORM = "must read like redis://user:password@host:6379/0; percent-encode special characters of the password"
PORT = "must have a port from 1 to 65535 after the host and a colon"


def between(low: str, high: str) -> str:
    return f"must be a plain decimal number from {low} to {high}"


def whole(low: int, high: int) -> str:
    return f"must be a whole number from {low} to {high}"


WRONG = [
    # name, value, what the line says after the quoted value
    ("REDIS_HOST", "", BLANK),
    ("REDIS_HOST", "cache:6379", HOST),
    ("REDIS_PORT", "0", whole(1, 65_535)),
    ("REDIS_PORT", "65536", whole(1, 65_535)),
    ("REDIS_DB", "-1", whole(0, 9_999)),
    ("SYMBOLS", "", BLANK),
    ("SYMBOLS", "   ", BLANK),
    ("SYMBOLS", "btcusdt", SYMBOLS),
    ("SYMBOLS", "BTC-USDT", SYMBOLS),
    ("SYMBOLS", "BTCUSDT,", SYMBOLS),
    ("SYMBOLS", "BTCUSDT,*", SYMBOLS),
    ("SYMBOLS", "B", SYMBOLS),
    ("SYMBOLS", "BTCUSDT_26", SYMBOLS),
    ("SYMBOLS", "ВТСUSDT", SYMBOLS),  # noqa: RUF001 - Cyrillic on purpose
    ("SYMBOLS", "BTCUSDT,ETHUSDT,BTCUSDT", "must not list a symbol twice"),
    ("PUBLISH_INTERVAL_SEC", "0", between("0.1", "3600")),
    ("PUBLISH_INTERVAL_SEC", "-10", between("0.1", "3600")),
    ("PUBLISH_INTERVAL_SEC", "nan", between("0.1", "3600")),
    ("PUBLISH_INTERVAL_SEC", "inf", between("0.1", "3600")),
    ("PUBLISH_INTERVAL_SEC", "1_0", between("0.1", "3600")),
    ("PUBLISH_INTERVAL_SEC", "1e1", between("0.1", "3600")),
    ("PUBLISH_INTERVAL_SEC", "\u0661\u0660", between("0.1", "3600")),
    ("PUBLISH_INTERVAL_SEC", "10s", between("0.1", "3600")),
    ("PUBLISH_INTERVAL_SEC", "180", "must be less than 3 x MAX_PUBLISH_AGE_SEC, after which proposals expire"),
    ("MAX_PUBLISH_AGE_SEC", "0", whole(1, 86_400)),
    ("MAX_PUBLISH_AGE_SEC", "60.5", whole(1, 86_400)),
    ("CHANGE_EPS_PCT", "1.1", between("0", "1")),
    ("CHANGE_EPS_PCT", ".1", between("0", "1")),
    ("FALLBACK_STOP_PCT", "0", between("0.0001", "0.9")),
    ("FALLBACK_STOP_PCT", "2", between("0.0001", "0.9")),
    ("MARKETSTATE_PREFIX", "quantum:marketstate", PREFIX),
    ("MARKETSTATE_PREFIX", "quantum:marketstate::", PREFIX),
    ("RISKPROPOSAL_PREFIX", ":", PREFIX),
    ("RISKPROPOSAL_PREFIX", "quantum:marketstate:", "overlaps 'quantum:marketstate:', MARKETSTATE_PREFIX"),
    ("HARVEST_PREFIX", "quantum:*:", PREFIX),
    (
        "HARVEST_PREFIX",
        "quantum:harvest:",
        "overlaps 'quantum:harvest:position:', a prefix of keys whose names are fixed",
    ),
    ("ENABLE_STREAM", "1", FLAG),
    ("ENABLE_STREAM", "yes", FLAG),
    ("STREAM_NAME", "quantum stream", KEY),
    ("STREAM_NAME", "quantum:stream:", KEY),
    ("STREAM_NAME", "quantum:stream:harvest.decisions", "is already a key of Harvest's own"),
    ("STREAM_TRADE_INTENT", "quantum:stream:*", KEY),
    ("STREAM_HARVEST_SUGGESTIONS", "quantum:stream:trade.intent", "is already STREAM_TRADE_INTENT"),
    ("STREAM_EXECUTION_RESULT", "quantum:stream:harvest.proposal", "is already STREAM_NAME"),
    ("HARVEST_KILL_SWITCH_KEY", "quantum:harvest:books", "is already a key of Harvest's own"),
    ("LOG_FORMAT", "xml", "must be text or json"),
    ("LOG_LEVEL", "info", "must be DEBUG, INFO, WARNING, ERROR or CRITICAL"),
    ("LOG_LEVEL", "20", "must be DEBUG, INFO, WARNING, ERROR or CRITICAL"),
    ("ADHOC_RATE_LIMIT", "120", RATE),
    ("ADHOC_RATE_LIMIT", "0/m", RATE),
    ("ADHOC_RATE_LIMIT", "5/m", RATE),
    ("ADHOC_RATE_LIMIT", "359/h", RATE),
    ("ADHOC_RATE_LIMIT", "2/d", RATE),
    ("HARVEST_MODE", "LIVE", "must be shadow or live"),
    ("HARVEST_MODE", "live", "also needs HARVEST_LIVE_CONFIRM=yes"),
    ("HARVEST_MODE", "shadow\r", CRLF),
    ("HARVEST_MODE", " shadow", SPACE),
    ("HARVEST_MODE", "sha\x00dow", CONTROL),
    ("HARVEST_LIVE_CONFIRM", "true", "must be yes or no"),
    ("HARVEST_LIVE_STOPS", "on", FLAG),
    ("POSITION_SOURCE", "hash", "must be auto, redis_hash, tracker, redis_stream or synthetic"),
    ("SYNTHETIC_FALLBACK", "", BLANK),
    ("WATCH_SLICE_SEC", "0", between("0.5", "30")),
    ("WATCH_SLICE_SEC", "31", between("0.5", "30")),
    ("WATCH_ANSWERS_UP_TO", "501", whole(0, 500)),
    ("HARVEST_LADDER", "0.5", RUNGS),
    ("HARVEST_LADDER", "0.5:0.25,", RUNGS),
    ("HARVEST_LADDER", "0.5:25%", RUNGS),
    ("HARVEST_LADDER", "0.5:NaN", RUNGS),
    ("HARVEST_LADDER", "0.5:-0.25", RUNGS),
    ("HARVEST_LADDER", "0:0.25", "every rung needs a positive R"),
    ("HARVEST_LADDER", "1:0.25,0.5:0.25", "rungs must ascend in R"),
    ("HARVEST_LADDER", "1:0.25,1.0:0.25", "rungs must ascend in R"),
    ("HARVEST_LADDER", "1:0", "every fraction must be above 0 and at most 1"),
    ("HARVEST_LADDER", "1:1.5", "every fraction must be above 0 and at most 1"),
    ("HARVEST_LADDER", "1:0.75,2:0.5", "the fractions sum to 1.25, more than the position"),
    ("HARVEST_LADDER_BASIS", "initial", "must be original or remaining"),
    ("HARVEST_MIN_R", "-0.5", between("0", "100")),
    ("HARVEST_MIN_R", "1.6", "is above every rung of HARVEST_LADDER, so nothing would be harvested; lower it"),
    ("HARVEST_SET_BE_AT_R", "0", between("0.01", "100")),
    ("HARVEST_TRAIL_ATR_MULT", "0", between("0.01", "100")),
    ("HARVEST_MIN_NOTIONAL", "-1", between("0", "1000000000")),
    ("HARVEST_COST_BPS", "-1", between("0", "10000")),
    ("HARVEST_COST_BPS", "10000.1", between("0", "10000")),
    ("INSTRUMENTS_FILE", "", BLANK),
    ("INSTRUMENTS_FILE", "/nowhere/exchange_info.json", FILE),
    ("INSTRUMENTS_FILE", "/", FILE),
    ("INSTRUMENTS_FILE", "/dev/null", FILE),
    ("INSTRUMENTS_FILE", "None", FILE),
    ("HARVEST_REDUCE_ONLY", "false", "must be true: Harvest only ever reduces positions"),
    ("HARVEST_REDUCE_ONLY", "maybe", FLAG),
    ("HARVEST_REQUIRE_FRESH_SNAPSHOT_SEC", "0", whole(1, 3_600)),
    ("HARVEST_MAX_ACTIONS_PER_MIN", "0", whole(1, 10_000)),
    ("HARVEST_MAX_ACTIONS_PER_MIN", "007", whole(1, 10_000)),
    ("HARVEST_DEDUP_TTL_SEC", "0", whole(1, 604_800)),
    ("HARVEST_INTENT_TIMEOUT_SEC", "0", whole(1, 86_400)),
    ("HARVEST_LOCK_TTL_SEC", "0", whole(1, 300)),
    ("RECONCILE_INTERVAL_SEC", "0.9", between("1", "86400")),
    ("RECONCILE_INTERVAL_SEC", "86401", between("1", "86400")),
    ("RECONCILE_TOLERANCE", "-0.1", between("0", "1")),
    ("RECONCILE_TOLERANCE", "1.1", between("0", "1")),
]

WRONG_URLS = [
    # name, value, as shown, what the line says
    ("REDIS_URL", "localhost:6379", "localhost:6379", DATA_SCHEMES),
    ("REDIS_URL", "hunter2@localhost", "***", DATA_SCHEMES),
    ("REDIS_URL", "http://u:hunter2@h/", "http://***", DATA_SCHEMES),
    ("REDIS_URL", "redis+socket:///s.sock", "redis+socket:///s.sock?virtual_host=0", DATA_SCHEMES),
    ("REDIS_URL", "redis://:hunter2:6379", "redis://***", NETWORK_FORM),
    ("REDIS_URL", "redis://:hun/ter2@h:6379", "redis://***", NETWORK_FORM),
    ("REDIS_URL", "redis://h:6379/one", "redis://***", NETWORK_FORM),
    ("REDIS_URL", "redis://:hunter2@h:99999/0", "redis://***", "must have a port from 1 to 65535 after h:"),
    ("REDIS_URL", "redis://[::1]:0", "redis://***", "must have a port from 1 to 65535 after [::1]:"),
    ("REDIS_URL", "redis://h:", "redis://***", PORT),
    ("REDIS_URL", "redis://u:hunter2/0", "redis://***", PORT),
    ("REDIS_URL", "redis://h?retry_on_timeout=true", "redis://***", "must end with the number of the database"),
    ("REDIS_URL", "redis://h/0?password=hunter2", "redis://***", "must end with the number of the database"),
    ("REDIS_URL", "redis://:pässword@h", "redis://***", "must be ASCII; percent-encode everything else"),
    ("REDIS_URL", "redis://[h", "redis://***", "must name a host, or an IPv6 address in brackets"),
    ("REDIS_URL", "unix://", "unix://***", "must read like unix:///path/to/socket, with a number as its database"),
    ("REDIS_URL", "unix:///s?virtual_host=1", "unix://***", "must end with nothing but db after a question mark"),
    ("REDIS_URL", "unix:///s?db=1&db=2", "unix://***", "must end with nothing but db after a question mark"),
    ("REDIS_URL", "redis://u:hunter2@h/0\r", "redis://***@h:6379/0\\r", CRLF),
    ("BROKER_URL", "unix:///s.sock?db=1", "unix:///s.sock?db=1", CELERY_SCHEMES),
    ("BROKER_URL", "amqp://guest:hunter2@h//", "amqp://***", CELERY_SCHEMES),
    ("BROKER_URL", "redis://a/1;redis://b/1", "redis://***", NETWORK_FORM),
    ("BROKER_URL", "redis://:hunter;2@h/1", "redis://***@h:6379/1", "must name one server; write a semicolon as %3B"),
    (
        "RESULT_BACKEND",
        "rediss://:hunter2@h/1",
        "rediss://***@h:6379/1",
        "must end in ?ssl_cert_reqs=required, or Celery would not verify the server's certificate",
    ),
]


def refused(environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(environ)
    return str(caught.value).split("\n")


def test_every_setting_has_its_specified_default() -> None:
    described = Settings.from_env({}).describe()
    assert {name: text for name, text, _ in described} == DEFAULTS
    assert {origin for _, _, origin in described} == {"default"}


def test_defaults_carry_their_types() -> None:
    settings = Settings.from_env({})
    assert settings.symbols == ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    assert settings.harvest_min_r == Decimal("0.5")
    assert isinstance(settings.publish_interval_sec, float)
    assert settings.harvest_mode is Mode.SHADOW
    assert settings.position_source is PositionSource.AUTO
    assert settings.harvest_ladder_basis is Basis.ORIGINAL


@pytest.mark.parametrize(("name", "value", "problem"), WRONG)
def test_a_wrong_value_gets_one_clear_line(name: str, value: str, problem: str) -> None:
    assert refused({name: value}) == [f"{name}={value!r}: {problem}"]


@pytest.mark.parametrize(("name", "value", "shown", "problem"), WRONG_URLS)
def test_a_wrong_url_gets_one_clear_line_without_its_password(name: str, value: str, shown: str, problem: str) -> None:
    assert refused({name: value}) == [f"{name}='{shown}': {problem}"]


def test_every_setting_of_the_table_is_tried_with_a_wrong_value() -> None:
    tried = {name for name, *_ in (*WRONG, *WRONG_URLS)}
    assert set(DEFAULTS) <= tried


def test_all_wrong_values_are_reported_at_once() -> None:
    environ = {"SYMBOLS": "", "HARVEST_MIN_R": "x", "REDIS_URL": "x", "HARVEST_MODES": "live", "REDIS_PORT": "0"}
    assert sorted(line.partition("=")[0].partition(":")[0] for line in refused(environ)) == sorted(environ)


def test_a_long_value_is_cut_in_its_line() -> None:
    (line,) = refused({"SYMBOLS": "x" * 10_000})
    assert len(line) < 250


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("HARVEST_MOD", "HARVEST_MOD: is not a setting; did you mean HARVEST_MODE?"),
        ("HARVEST_MIN_RR", "HARVEST_MIN_RR: is not a setting; did you mean HARVEST_MIN_R?"),
        ("harvest_mode", "harvest_mode: is not a setting; did you mean HARVEST_MODE?"),
        ("HARVEST_MODE ", "HARVEST_MODE : is not a setting; did you mean HARVEST_MODE?"),
        ("HARVEST_MODE\n", "HARVEST_MODE\\n: is not a setting; did you mean HARVEST_MODE?"),
        ("HARVEST_SYMBOLS", "HARVEST_SYMBOLS: is not a setting; did you mean SYMBOLS?"),
        ("HARVEST_XYZZY", "HARVEST_XYZZY: is not a setting; unset it"),
    ],
)
def test_an_unknown_harvest_name_is_refused(name: str, line: str) -> None:
    assert refused({name: "live"}) == [line]


def test_names_that_are_not_ours_are_left_alone() -> None:
    assert Settings.from_env({"PATH": "", "HOME": "/\r", "SYMBOL": ""}) == Settings.from_env({})


def test_a_value_with_an_address_in_the_wrong_place_is_not_shown() -> None:
    (line,) = refused({"REDIS_HOST": "user:hunter2@cache"})
    assert line == f"REDIS_HOST='***': {HOST}"


@pytest.mark.parametrize("url", ["redis://u:hunter2@h/3", "rediss://:hunter2@h/3", "unix://:hunter2@/s.sock?db=3"])
def test_no_text_form_of_the_settings_shows_a_password(url: str) -> None:
    settings = Settings.from_env({"REDIS_URL": url})
    for text in (repr(settings), str(settings), repr(settings.describe())):
        assert "hunter2" not in text
    for held in (settings.redis_url, settings.broker_url, settings.result_backend):
        assert "hunter2" in held
        assert "hunter2" not in repr(held)


def test_symbols_may_follow_the_open_positions() -> None:
    assert Settings.from_env({"SYMBOLS": "*"}).symbols is None


def test_symbols_may_have_spaces_after_their_commas() -> None:
    assert Settings.from_env({"SYMBOLS": "BTCUSDT, BTCUSDT_260327"}).symbols == ("BTCUSDT", "BTCUSDT_260327")


def test_host_port_and_database_spell_the_url_out() -> None:
    settings = Settings.from_env({"REDIS_HOST": "cache", "REDIS_DB": "4"})
    assert settings.redis_url == "redis://cache:6379/4"
    assert settings.broker_url == settings.result_backend == "redis://cache:6379/5"
    assert ("REDIS_URL", "redis://cache:6379/4", "environment") in settings.describe()


def test_a_url_and_its_parts_may_agree() -> None:
    environ = {"REDIS_URL": "redis://cache/4", "REDIS_HOST": "cache", "REDIS_PORT": "6379", "REDIS_DB": "4"}
    assert Settings.from_env(environ).redis_url == "redis://cache/4"


@pytest.mark.parametrize(
    ("url", "part", "value"),
    [
        ("redis://:hunter2@cache/4", "REDIS_HOST", "other"),
        ("redis://cache/4", "REDIS_PORT", "6380"),
        ("redis://cache/4", "REDIS_DB", "0"),
        ("unix:///s.sock", "REDIS_HOST", "cache"),
    ],
)
def test_a_url_and_its_parts_may_not_contradict_each_other(url: str, part: str, value: str) -> None:
    (line,) = refused({"REDIS_URL": url, part: value})
    assert line.startswith(f"{part}='{value}': contradicts REDIS_URL='")
    assert "hunter2" not in line


@pytest.mark.parametrize(
    "name", ["CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL", "CELERY_RESULT_BACKEND"]
)
def test_celery_may_not_be_sent_elsewhere_behind_our_back(name: str) -> None:
    (line,) = refused({name: "redis://:hunter2@other/1"})
    setting = "RESULT_BACKEND" if name == "CELERY_RESULT_BACKEND" else "BROKER_URL"
    assert line == f"{name}='redis://***@other:6379/1': Celery would use it instead of {setting}; unset it"
    # Celery's command sets it itself when BROKER_URL is in the environment.
    assert Settings.from_env({name: "redis://other/1", setting: "redis://other/1"})


def test_live_mode_needs_two_keys() -> None:
    assert Settings.from_env(LIVE).is_live
    assert not Settings.from_env({"HARVEST_LIVE_CONFIRM": "yes"}).is_live
    assert refused({**LIVE, "HARVEST_LIVE_CONFIRM": "no"}) == [
        "HARVEST_MODE='live': also needs HARVEST_LIVE_CONFIRM=yes"
    ]


def test_live_mode_never_makes_up_positions() -> None:
    assert not Settings.from_env(LIVE).synthetic_fallback
    assert not Settings.from_env({**LIVE, "SYNTHETIC_FALLBACK": "false"}).synthetic_fallback
    assert refused({**LIVE, "SYNTHETIC_FALLBACK": "true"}) == [
        "SYNTHETIC_FALLBACK='true': is not allowed with HARVEST_MODE=live: it makes up positions; unset it"
    ]
    assert refused({**LIVE, "POSITION_SOURCE": "synthetic"}) == [
        "POSITION_SOURCE='synthetic': is not allowed with HARVEST_MODE=live: it makes up positions; unset it"
    ]


def test_the_ladder_leaves_out_rungs_under_the_smallest_r() -> None:
    settings = Settings.from_env({"HARVEST_MIN_R": "1", "HARVEST_LADDER_BASIS": "remaining"})
    assert settings.ladder.rungs == (Rung(Decimal("1.0"), Decimal("0.25")), Rung(Decimal("1.5"), Decimal("0.25")))
    assert settings.ladder.basis is Basis.REMAINING


def test_what_is_described_reads_back_as_the_same_settings() -> None:
    environ = {**LIVE, "REDIS_URL": "unix:///s.sock?db=2", "HARVEST_LADDER": "0.50:0.1, 2:0.9", "SYMBOLS": "*"}
    environ["PUBLISH_INTERVAL_SEC"] = "123.456789"
    environ["INSTRUMENTS_FILE"] = EXCHANGE_INFO
    settings = Settings.from_env(environ)
    described = settings.describe()
    again = Settings.from_env({name: text for name, text, _ in described})
    assert again.describe() == [(name, text, "environment") for name, text, _ in described]
    assert again.ladder == settings.ladder
    assert again.instruments == settings.instruments


def test_what_is_described_of_settings_that_were_left_out_reads_back_too() -> None:
    again = Settings.from_env({name: text for name, text, _ in Settings.from_env({"SYMBOLS": "*"}).describe()})
    assert (again.symbols, again.instruments_file, again.instruments) == (None, None, {})


def test_the_exchanges_rules_are_read_once(tmp_path: Path) -> None:
    file = tmp_path / "exchange_info.json"
    file.write_bytes(Path(EXCHANGE_INFO).read_bytes())
    settings = Settings.from_env({"INSTRUMENTS_FILE": str(file)})
    file.unlink()
    assert settings.instruments["BTCUSDT"].instrument.step == Decimal("0.001")
    assert settings.instruments is settings.instruments


def test_a_file_that_does_not_hold_the_exchanges_rules_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text('{"symbols": [{"symbol": "BTCUSDT", "status": "TRADING", "quoteAsset": "USDT", "filters": []}]}')
    (line,) = refused({"INSTRUMENTS_FILE": str(file)})
    assert line.startswith("INSTRUMENTS_FILE='")
    assert line.endswith("': BTCUSDT: LOT_SIZE is missing")


def test_a_pipe_is_no_file_of_rules(tmp_path: Path) -> None:
    """To open it would be to wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    (line,) = refused({"INSTRUMENTS_FILE": str(tmp_path / "pipe")})
    assert line.endswith(f": {FILE}")


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(EACCES, "Permission denied")

    file = tmp_path / "x.json"
    file.touch()
    monkeypatch.setattr(Path, "open", denied)  # root may open every file
    _, line = refused({"INSTRUMENTS_FILE": str(file), "HARVEST_MODE": "on"})
    assert line.endswith(": cannot be read: Permission denied")


def test_a_file_that_cannot_be_looked_for_is_refused() -> None:
    (line,) = refused({"INSTRUMENTS_FILE": "x" * 5000})
    assert line.endswith("xxx...': cannot be read: File name too long")


def test_describe_says_where_a_value_came_from() -> None:
    origins = {name: origin for name, _, origin in Settings.from_env({"SYMBOLS": "BTCUSDT"}).describe()}
    assert [name for name, origin in origins.items() if origin == "environment"] == ["SYMBOLS"]


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings.from_env({}).harvest_mode = Mode.LIVE


def test_the_environment_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    current_settings.cache_clear()
    monkeypatch.setenv("SYMBOLS", "BTCUSDT")
    first = current_settings()
    monkeypatch.setenv("SYMBOLS", "ETHUSDT")
    assert current_settings() is first
    current_settings.cache_clear()
