"""The collector that Prometheus scrapes: reads Redis at each scrape and combines the metrics of all subjects."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from threading import Lock
from time import monotonic
from typing import Final

from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from harvest_tasks.metrics import counters, guards, input_stream, liveness, positions, proposals, queues, server
from harvest_tasks.metrics.events import Events
from harvest_tasks.metrics.families import gauge, gauges
from harvest_tasks.metrics.replies import Replies, ask
from harvest_tasks.server.client import Client, Command
from harvest_tasks.settings.model import Settings

_MAX_ERRORS_IN_LOG: Final = 3
MetricReader = Callable[[], Iterator[Metric]]

log = logging.getLogger(__name__)


class Exporter(Collector):
    """The metrics of one deployment. While the state server is down, `harvest_up` is 0 and its metrics are left out."""

    def __init__(self, client: Client, broker_client: Client, settings: Settings) -> None:
        self._client = client
        self._broker = broker_client
        self._settings = settings
        self._events = Events(settings)
        self._lock = Lock()
        self._problems: dict[str, str] = {}
        self.is_up = True
        """Whether the state server answered the last scrape; `has_broker` says the same of the broker."""
        self.has_broker = True

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            return self._scrape()

    def _scrape(self) -> list[Metric]:
        began = monotonic()
        state = self._read_or_none(self._state_metrics, "REDIS_URL")
        broker = self._read_or_none(self._queue_metrics, "BROKER_URL")
        self.is_up, self.has_broker = bool(state), bool(broker)
        return [
            gauge("up", "1 if the state server (REDIS_URL) answered this scrape.", float(bool(state))),
            gauge("broker_up", "1 if the broker (BROKER_URL) answered this scrape.", float(bool(broker))),
            gauges(
                "info", "Version and mode of this deployment.", ("version", "mode"), {_identity(self._settings): 1.0}
            ),
            *state,
            *broker,
            gauge("scrape_seconds", "Duration of this scrape.", monotonic() - began),
        ]

    def _read_or_none(self, read: MetricReader, url_name: str) -> list[Metric]:
        """All metrics of a server, or none: a partial scrape would look like a quiet system."""
        try:
            metrics = list(read())
        except (RedisConnectionError, RedisTimeoutError, ResponseError) as error:
            self._log_change(f"the server of {url_name}", f"does not answer: {error}")
            return []
        self._log_change(f"the server of {url_name}", "")
        return metrics

    def _log_change(self, subject: str, problem: str) -> None:
        """Log a problem when it starts, changes or ends, not at each scrape."""
        before, self._problems[subject] = self._problems.get(subject, ""), problem
        if problem and problem != before:
            log.warning("%s %s", subject, problem)
        elif before and not problem:
            log.warning("%s answers again", subject)

    def _state_metrics(self) -> Iterator[Metric]:
        settings = self._settings
        replies = ask(self._client, self._first_commands())
        seconds, micros = replies.demand("time")
        now_ms = seconds * 1000 + micros // 1000
        more = ask(self._client, self._more_commands(replies))
        yield from input_stream.families(replies, more, now_ms)
        yield from liveness.families(replies, settings, now_ms)
        yield from counters.families(replies)
        yield from positions.families(replies, more, settings, now_ms)
        yield from guards.families(replies, settings, now_ms)
        yield from proposals.families(replies, more, settings, now_ms / 1000)
        yield from server.families(replies, now_ms)
        yield from self._events.families(self._client, replies)
        yield self._refused_commands({**replies.refused, **more.refused})

    def _refused_commands(self, refused: Mapping[str, Exception]) -> Metric:
        errors = "; ".join(f"{name}: {error}" for name, error in list(refused.items())[:_MAX_ERRORS_IN_LOG])
        self._log_change("the server", f"refuses commands of the exporter: {errors}" if errors else "")
        return gauge(
            "scrape_refused_questions",
            "Commands that the server refused: wrong key type or missing ACL rights. The exporter logs which.",
            len(refused),
        )

    def _first_commands(self) -> dict[str, Command]:
        return {
            "time": ("TIME",),
            **input_stream.commands(self._settings),
            **liveness.commands(),
            **counters.commands(),
            **positions.commands(),
            **guards.commands(self._settings),
            **server.commands(),
            **self._events.commands(),
        }

    def _more_commands(self, replies: Replies) -> dict[str, Command]:
        return {
            **input_stream.more_commands(self._settings, replies),
            **positions.more_commands(replies),
            **proposals.more_commands(self._settings, replies),
        }

    def _queue_metrics(self) -> Iterator[Metric]:
        yield from queues.families(ask(self._broker, queues.commands()))


def _identity(settings: Settings) -> tuple[str, str]:
    return version("harvest"), settings.harvest_mode.value
