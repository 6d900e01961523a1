"""The guards that apply to all books: the kill switch and the rate limit."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from harvest_tasks.fills.loading import SWITCH_OFF, published_in_window
from harvest_tasks.metrics.families import gauge, parse_number
from harvest_tasks.metrics.replies import Replies
from harvest_tasks.server import keys
from harvest_tasks.server.client import Command
from harvest_tasks.settings.model import Settings


def commands(settings: Settings) -> dict[str, Command]:
    return {
        "switch": ("GET", settings.harvest_kill_switch_key),
        "window": ("LRANGE", keys.WINDOW, 0, settings.harvest_max_actions_per_min - 1),
    }


def families(replies: Replies, settings: Settings, now_ms: int) -> Iterator[Metric]:
    # Workers treat an unreadable switch as on, so the metric does, too.
    killed = "switch" in replies.refused or replies.get("switch") not in SWITCH_OFF
    yield gauge(
        "kill_switch", "1 while the kill switch is on and nothing is published: see harvest kill status.", float(killed)
    )
    yield gauge(
        "intents_last_minute",
        "Intents published by all workers in the last 60 s.",
        published_in_window(map(parse_number, replies.get("window", ())), now_ms),
    )
    yield gauge(
        "intents_per_minute_limit",
        "Limit for harvest_intents_last_minute: HARVEST_MAX_ACTIONS_PER_MIN in the exporter's settings.",
        settings.harvest_max_actions_per_min,
    )
