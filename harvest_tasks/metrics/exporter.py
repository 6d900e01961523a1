"""What Prometheus scrapes: everything the other modules of this package tell, asked of Redis at each scrape."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from threading import Lock
from time import monotonic

from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as Unanswered

from harvest_tasks.metrics import counters, guards, input_stream, liveness, positions, proposals, server
from harvest_tasks.metrics import queues as queues_module
from harvest_tasks.metrics.events import Events
from harvest_tasks.metrics.families import gauge, gauges
from harvest_tasks.metrics.replies import Command, Replies, ask
from harvest_tasks.server.client import Client
from harvest_tasks.settings.model import Settings

SHOWN = 3
"""Refusals that a log line names."""
Question = Callable[[], Iterator[Metric]]

log = logging.getLogger(__name__)


class Exporter(Collector):
    """Of one deployment. A server that cannot be reached makes `harvest_up` 0 and leaves everything else out."""

    def __init__(self, client: Client, broker_client: Client, settings: Settings) -> None:
        self._client = client
        self._broker = broker_client
        self._settings = settings
        self._events = Events(settings)
        self._one_at_a_time = Lock()
        self._problems: dict[str, str] = {}
        self.is_up = True
        """Whether the state server answered the last scrape, and the broker."""
        self.has_broker = True

    def collect(self) -> Iterable[Metric]:
        with self._one_at_a_time:
            return self._scraped()

    def _scraped(self) -> list[Metric]:
        began = monotonic()
        state, queues = self._asked(self._state, "REDIS_URL"), self._asked(self._queues, "BROKER_URL")
        self.is_up, self.has_broker = bool(state), bool(queues)
        return [
            gauge("up", "1 if the state server answered this scrape: REDIS_URL.", float(bool(state))),
            gauge("broker_up", "1 if the broker answered this scrape: BROKER_URL.", float(bool(queues))),
            gauges("info", "What is watched.", ("version", "mode"), {_identity(self._settings): 1.0}),
            *state,
            *queues,
            gauge("scrape_seconds", "How long the exporter took to read all of this.", monotonic() - began),
        ]

    def _asked(self, question: Question, of: str) -> list[Metric]:
        """All that was told, or nothing: half a picture would look like one of a quiet system."""
        try:
            told = list(question())
        except (Disconnected, Unanswered, ResponseError) as error:
            self._say(f"the server of {of}", f"does not answer: {error}")
            return []
        self._say(f"the server of {of}", "")
        return told

    def _say(self, what: str, problem: str) -> None:
        """Once for each problem, not at each scrape."""
        before, self._problems[what] = self._problems.get(what, ""), problem
        if problem and problem != before:
            log.warning("%s %s", what, problem)
        elif before and not problem:
            log.warning("%s answers again", what)

    def _state(self) -> Iterator[Metric]:
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
        yield self._refusals({**replies.refused, **more.refused})

    def _refusals(self, refused: Mapping[str, Exception]) -> Metric:
        told = "; ".join(f"{name}: {error}" for name, error in list(refused.items())[:SHOWN])
        self._say("some of what is asked", f"is refused: {told}" if told else "")
        return gauge(
            "scrape_refused_questions",
            "What the server would not tell: keys of another type, or missing rights. The exporter logs which.",
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

    def _queues(self) -> Iterator[Metric]:
        yield from queues_module.families(ask(self._broker, queues_module.commands()))


def _identity(settings: Settings) -> tuple[str, str]:
    return version("harvest"), settings.harvest_mode.value
