"""The state server: its version and clock, room, what it would throw away, and what it could not save."""

from collections.abc import Iterator, Mapping
from time import time
from typing import Any

from prometheus_client.core import Metric

from harvest_tasks.metrics.families import gauge, gauges
from harvest_tasks.metrics.replies import Command, Replies


def commands() -> dict[str, Command]:
    return {"info": ("INFO",)}


def families(replies: Replies, now_ms: int) -> Iterator[Metric]:
    yield gauge(
        "server_clock_ahead_seconds",
        "Its clock less that of the exporter's host. All ages are by its clock: does ntp run on both?",
        now_ms / 1000 - time(),
    )
    info: Mapping[str, Any] = replies.get("info")
    if info is None:
        return
    yield gauges("server_info", "What it is.", ("name", "version"), {_identity(info): 1.0})
    yield gauge(
        "server_persists",
        "1 if it logs each write to disk; what it does not is gone with it: set appendonly yes.",
        float(info.get("aof_enabled", 0)),
    )
    yield gauge("server_memory_bytes", "Memory that the state server uses.", info.get("used_memory", 0))
    yield gauge("server_memory_limit_bytes", "What it may use at most; 0: no limit.", info.get("maxmemory", 0))
    yield gauge(
        "server_evicts",
        "1 if it deletes keys when it is full: set maxmemory-policy noeviction.",
        float(info.get("maxmemory_policy", "noeviction") != "noeviction"),
    )
    saved = (
        info.get(name, "ok")
        for name in ("rdb_last_bgsave_status", "aof_last_bgrewrite_status", "aof_last_write_status")
    )
    yield gauge(
        "server_save_failed",
        "1 while its newest write to disk failed: see its log. What is not saved is gone with the server.",
        float(any(status != "ok" for status in saved)),
    )
    yield gauge("server_clients", "Connections to it.", info.get("connected_clients", 0))
    yield gauge("server_uptime_seconds", "Time since it started.", info.get("uptime_in_seconds", 0))


def _identity(info: Mapping[str, Any]) -> tuple[str, str]:
    """Valkey says which Redis it is like, too."""
    if "valkey_version" in info:
        return "valkey", str(info["valkey_version"])
    return "redis", str(info.get("redis_version", ""))
