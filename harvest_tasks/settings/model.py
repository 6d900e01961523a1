"""The settings: one frozen object, read once from the environment, and refused if any value is wrong.

`Settings.from_env` reads each field from the variable with its name in capitals. Nothing else makes a `Settings`.
"""

import os
from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from harvest_tasks.logs import LogFormat
from harvest_tasks.settings import contradictions, credentials, readers, redis_url, variables
from harvest_tasks.settings.exchange_info import ExchangeInfoError, Listings, read_exchange_info
from kernel.positions.ladder import Basis, Ladder, Rung

SERVER_PARTS: Final = ("redis_host", "redis_port", "redis_db")
"""Settings that together are another way to write `redis_url`; each is None if it is not given."""

NONE_TEXTS: Final = {"symbols": readers.EVER_FILLED, "instruments_file": readers.NO_FILE}
"""The text that stands for None, by setting."""

CELERY_VARIABLES: Final = {
    "CELERY_BROKER_URL": "broker_url",
    "CELERY_BROKER_READ_URL": "broker_url",
    "CELERY_BROKER_WRITE_URL": "broker_url",
    "CELERY_RESULT_BACKEND": "result_backend",
}
"""Variables that Celery prefers to its configuration, and the setting that each would silently replace."""


class SettingsError(Exception):
    """The environment cannot be used; the message has one line per wrong value."""


class Mode(StrEnum):
    SHADOW = "shadow"
    LIVE = "live"


class PositionSource(StrEnum):
    """Where proposals find a symbol's position."""

    AUTO = "auto"
    REDIS_HASH = "redis_hash"
    TRACKER = "tracker"
    REDIS_STREAM = "redis_stream"
    SYNTHETIC = "synthetic"


LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

Key = Annotated[str, BeforeValidator(readers.key_name)]
Prefix = Annotated[str, BeforeValidator(readers.key_prefix)]
Flag = Annotated[bool, BeforeValidator(readers.flag)]
DataUrl = Annotated[str, AfterValidator(redis_url.data_url)]
CeleryUrl = Annotated[str, AfterValidator(redis_url.celery_url)]


def _standard_ladder() -> tuple[Rung, ...]:
    return readers.ladder_rungs("0.5:0.25,1.0:0.25,1.5:0.25")


class Settings(BaseModel):
    """`*_sec` are seconds, `*_pct` ratios (0.02 is 2 %), `*_r` R multiples, prefixes end in a colon."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    redis_host: Annotated[str | None, BeforeValidator(readers.host)] = None
    redis_port: Annotated[int | None, readers.whole_number(1, 65_535)] = None
    redis_db: Annotated[int | None, readers.whole_number(0, 9_999)] = None
    redis_url: DataUrl = Field(default_factory=lambda data: _url_of_parts(data))
    broker_url: CeleryUrl = Field(default_factory=lambda data: redis_url.next_database(data["redis_url"]))
    result_backend: CeleryUrl = Field(default_factory=lambda data: data["broker_url"])

    symbols: Annotated[tuple[str, ...] | None, BeforeValidator(readers.symbol_list)] = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    """None is written `*`: every symbol that ever had a fill."""
    publish_interval_sec: Annotated[float, readers.decimal_number("0.1", "3600")] = 10.0
    max_publish_age_sec: Annotated[int, readers.whole_number(1, 86_400)] = 60
    change_eps_pct: Annotated[Decimal, readers.decimal_number("0", "1")] = Decimal("0.001")
    fallback_stop_pct: Annotated[Decimal, readers.decimal_number("0.0001", "0.9")] = Decimal("0.02")
    marketstate_prefix: Prefix = "quantum:marketstate:"
    riskproposal_prefix: Prefix = "quantum:risk:proposal:"
    harvest_prefix: Prefix = "quantum:harvest:proposal:"
    enable_stream: Flag = False
    stream_name: Key = "quantum:stream:harvest.proposal"
    log_level: Annotated[str, readers.choice(LOG_LEVELS)] = "INFO"
    log_format: Annotated[LogFormat, readers.choice(LogFormat)] = LogFormat.TEXT
    adhoc_rate_limit: Annotated[str, readers.rate_limit(slowest_per_minute=6)] = "120/m"
    """How many calls one worker starts. A call that waited longer than Celery's visibility timeout would run twice."""

    harvest_mode: Annotated[Mode, readers.choice(Mode)] = Mode.SHADOW
    harvest_live_confirm: Annotated[str, readers.choice(("yes", "no"))] = "no"
    harvest_live_stops: Flag = False
    position_source: Annotated[PositionSource, readers.choice(PositionSource)] = PositionSource.AUTO
    synthetic_fallback: Flag = Field(default_factory=lambda data: data["harvest_mode"] is Mode.SHADOW)
    """Always false in live mode, where setting it to true is refused."""

    stream_execution_result: Key = "quantum:stream:execution.result"
    stream_trade_intent: Key = "quantum:stream:trade.intent"
    stream_harvest_suggestions: Key = "quantum:stream:harvest.suggestions"
    watch_slice_sec: Annotated[float, readers.decimal_number("0.5", "30")] = 5.0
    watch_answers_up_to: Annotated[int, readers.whole_number(0, 500)] = 128
    """Entries of one read that the watcher processes itself, at once; for more it wakes the workers. 0: never."""
    harvest_kill_switch_key: Key = "quantum:kill"
    harvest_ladder: Annotated[tuple[Rung, ...], BeforeValidator(readers.ladder_rungs)] = Field(
        default_factory=_standard_ladder
    )
    harvest_ladder_basis: Annotated[Basis, readers.choice(Basis)] = Basis.ORIGINAL
    harvest_min_r: Annotated[Decimal, readers.decimal_number("0", "100")] = Decimal("0.5")
    harvest_set_be_at_r: Annotated[Decimal, readers.decimal_number("0.01", "100")] = Decimal("0.5")
    harvest_trail_atr_mult: Annotated[Decimal, readers.decimal_number("0.01", "100")] = Decimal("2.0")
    harvest_min_notional: Annotated[Decimal, readers.decimal_number("0", "1000000000")] = Decimal(0)
    harvest_cost_bps: Annotated[Decimal, readers.decimal_number("0", "10000")] = Decimal(0)
    """Cost of opening and closing, in 1/10000 of the entry price; it is subtracted from R."""
    instruments_file: Annotated[str | None, BeforeValidator(readers.readable_file)] = None
    """A saved exchangeInfo. None: quantities and prices are exact, and `harvest_min_notional` alone bounds an order."""
    harvest_reduce_only: Annotated[bool, BeforeValidator(readers.always_true)] = True
    harvest_require_fresh_snapshot_sec: Annotated[int, readers.whole_number(1, 3_600)] = 30
    harvest_max_actions_per_min: Annotated[int, readers.whole_number(1, 10_000)] = 30
    harvest_dedup_ttl_sec: Annotated[int, readers.whole_number(1, 604_800)] = 900
    harvest_intent_timeout_sec: Annotated[int, readers.whole_number(1, 86_400)] = 900
    harvest_lock_ttl_sec: Annotated[int, readers.whole_number(1, 300)] = 1
    """How long a book stays locked by a worker that was killed. Processing a book takes milliseconds."""
    reconcile_interval_sec: Annotated[float, readers.decimal_number("1", "86400")] = 60.0
    reconcile_tolerance: Annotated[Decimal, readers.decimal_number("0", "1")] = Decimal("0.001")
    """How far tracked and reported quantity may be apart, as a ratio of the larger one."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """The settings that `environ` gives. Raises SettingsError, with a line for each problem."""
        known = {field.upper() for field in cls.model_fields}
        given = {name: environ[name] for name in sorted(known & set(environ))}
        damaged = variables.damaged_lines(given)
        lines = [*variables.unknown_lines(environ, known), *damaged.values(), *credentials.unusable(given, environ)]
        whole = credentials.completed(given, environ)
        try:
            settings = cls.model_validate({n.lower(): text for n, text in whole.items() if n not in damaged})
        except ValidationError as error:
            # Contradictions are only reported when every value could be read.
            raise SettingsError("\n".join([*lines, *_lines(error, given, contradictions=not lines)])) from None
        lines += [*_shadowed_by_celery(settings, environ), *_unusable_file(settings)]
        if lines:
            raise SettingsError("\n".join(lines))
        return settings

    @property
    def is_live(self) -> bool:
        return self.harvest_mode is Mode.LIVE

    @cached_property
    def ladder(self) -> Ladder:
        """The ladder without the rungs under `harvest_min_r`; never empty."""
        return Ladder(self.harvest_ladder, self.harvest_ladder_basis).at_least(self.harvest_min_r)

    @cached_property
    def instruments(self) -> Listings:
        """What `instruments_file` lists, read once; empty without a file. Raises ExchangeInfoError."""
        return Listings() if self.instruments_file is None else read_exchange_info(self.instruments_file)

    def describe(self) -> list[tuple[str, str, str]]:
        """(variable, value as text without passwords, `environment` or `default`) for each setting."""
        return [(name.upper(), self._text(name), self._origin(name)) for name in self._shown()]

    def _shown(self) -> Iterator[str]:
        return (name for name in type(self).model_fields if name not in SERVER_PARTS)

    def _text(self, name: str) -> str:
        value = getattr(self, name)
        return NONE_TEXTS[name] if value is None else variables.setting_text(value)

    def _origin(self, name: str) -> str:
        sources = {name, *SERVER_PARTS} if name == "redis_url" else {name}
        return "environment" if sources & self.model_fields_set else "default"

    @model_validator(mode="after")
    def _agree(self) -> Self:
        lines = list(contradictions.contradiction_lines(self))
        if lines:
            raise ValueError("\n".join(lines))
        return self


@lru_cache(maxsize=1)
def current_settings() -> Settings:
    """The settings of this process, read at the first call. Raises SettingsError."""
    return Settings.from_env(os.environ)


def _url_of_parts(data: dict[str, Any]) -> redis_url.RedisUrl:
    host, port, db = (data[name] for name in SERVER_PARTS)
    return redis_url.RedisUrl(f"redis://{host or 'localhost'}:{port or 6379}/{db or 0}")


def _lines(error: ValidationError, given: Mapping[str, str], *, contradictions: bool) -> Iterator[str]:
    for detail in error.errors(include_url=False):
        if detail["loc"]:
            yield from _field_lines(detail, given)
        elif contradictions:
            yield str(detail["ctx"]["error"])


def _field_lines(detail: ErrorDetails, given: Mapping[str, str]) -> Iterator[str]:
    name = str(detail["loc"][0]).upper()
    # A default that could not be derived from a wrong value is not a second mistake.
    if name in given:
        yield variables.error_line(name, given[name], str(detail["ctx"]["error"]))


def _shadowed_by_celery(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    for name, field in CELERY_VARIABLES.items():
        # Without the password of a credential it is equal, too: Celery's command copies BROKER_URL there.
        if name in environ and environ[name] not in (getattr(settings, field), environ.get(field.upper())):
            yield variables.error_line(name, environ[name], f"Celery would use it instead of {field.upper()}; unset it")


def _unusable_file(settings: Settings) -> Iterator[str]:
    try:
        _ = settings.instruments
    except ExchangeInfoError as error:
        yield variables.error_line("INSTRUMENTS_FILE", settings.instruments_file or "", error.problem)
