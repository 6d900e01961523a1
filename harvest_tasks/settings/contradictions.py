"""Which settings contradict each other, although each alone is valid?"""

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from harvest_tasks.settings import keyspace, redis_url, variables

if TYPE_CHECKING:
    from harvest_tasks.settings.model import Settings


def contradiction_lines(settings: "Settings") -> Iterator[str]:
    """An error line for each setting that contradicts another one."""
    found = chain(_two_servers(settings), _live(settings), _without_effect(settings), _shared_keys(settings))
    return (
        variables.error_line(name.upper(), variables.setting_text(getattr(settings, name)), why) for name, why in found
    )


def _two_servers(settings: "Settings") -> Iterator[tuple[str, str]]:
    address = redis_url.parse_address(settings.redis_url)
    parts = {"redis_host": address.host, "redis_port": address.port, "redis_db": address.db}
    for name, part in parts.items():
        if getattr(settings, name) not in (None, part):
            yield name, f"contradicts REDIS_URL={variables.setting_text(settings.redis_url)!r}; set one of them"


def _live(settings: "Settings") -> Iterator[tuple[str, str]]:
    if not settings.is_live:
        return
    if settings.harvest_live_confirm != "yes":
        yield "harvest_mode", "also needs HARVEST_LIVE_CONFIRM=yes"
    if settings.position_source == "synthetic":
        yield "position_source", "is not allowed with HARVEST_MODE=live: it makes up positions; unset it"
    if settings.synthetic_fallback:
        yield "synthetic_fallback", "is not allowed with HARVEST_MODE=live: it makes up positions; unset it"


def _without_effect(settings: "Settings") -> Iterator[tuple[str, str]]:
    if not settings.ladder.rungs:
        yield "harvest_min_r", "is above every rung of HARVEST_LADDER, so nothing would be harvested; lower it"
    if settings.publish_interval_sec >= 3 * settings.max_publish_age_sec:
        yield "publish_interval_sec", "must be less than 3 x MAX_PUBLISH_AGE_SEC, after which proposals expire"


def _shared_keys(settings: "Settings") -> Iterator[tuple[str, str]]:
    fields = type(settings).model_fields
    names = {name: getattr(settings, name) for name in fields if name.startswith("stream_") or name.endswith("_key")}
    prefixes = {name: getattr(settings, name) for name in fields if name.endswith("_prefix")}
    return keyspace.clashes(names, prefixes)
