"""The state server: version, clock, memory, eviction policy, and persistence."""

from collections.abc import Iterator, Mapping
from time import time
from typing import Any

from prometheus_client.core import Metric

from harvest_tasks.metrics.families import gauge, gauges
from harvest_tasks.metrics.replies import Replies
from harvest_tasks.server.client import Command


def commands() -> dict[str, Command]:
    return {"info": ("INFO",)}


def families(replies: Replies, now_ms: int) -> Iterator[Metric]:
    yield gauge(
        "server_clock_ahead_seconds",
        "State server's clock minus this host's. All ages use the server's clock: check NTP on both hosts.",
        now_ms / 1000 - time(),
    )
    info: Mapping[str, Any] = replies.get("info")
    if info is None:
        return
    yield gauges("server_info", "Name and version of the state server.", ("name", "version"), {_identity(info): 1.0})
    yield gauge(
        "server_persists",
        "1 if the state server logs writes to disk. If 0, a crash loses all state: set appendonly yes.",
        float(info.get("aof_enabled", 0)),
    )
    yield gauge("server_memory_bytes", "Memory used by the state server.", info.get("used_memory", 0))
    yield gauge(
        "server_memory_limit_bytes",
        "Memory limit of the state server (maxmemory); 0: no limit.",
        info.get("maxmemory", 0),
    )
    yield gauge(
        "server_evicts",
        "1 if the state server deletes keys when memory is full: set maxmemory-policy noeviction.",
        float(info.get("maxmemory_policy", "noeviction") != "noeviction"),
    )
    saved = (
        info.get(name, "ok")
        for name in ("rdb_last_bgsave_status", "aof_last_bgrewrite_status", "aof_last_write_status")
    )
    yield gauge(
        "server_save_failed",
        "1 while the last write to disk failed: see the server's log. A crash loses what is not saved.",
        float(any(status != "ok" for status in saved)),
    )
    yield gauge("server_clients", "Connections to the state server.", info.get("connected_clients", 0))
    yield gauge("server_uptime_seconds", "Time since the state server started.", info.get("uptime_in_seconds", 0))


def _identity(info: Mapping[str, Any]) -> tuple[str, str]:
    """Name and version. Valkey also reports a compatible Redis version, so its own comes first."""
    if "valkey_version" in info:
        return "valkey", str(info["valkey_version"])
    return "redis", str(info.get("redis_version", ""))
