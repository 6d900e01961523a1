"""Celery's settings. Each one that differs from Celery's default prevents a loss of fills, worker slots or results.

Celery carries wake-ups: a lost, doubled, late or reordered message costs latency only. So tasks are acknowledged late
and redelivered, there is no retry, countdown or ETA (they would outlive the visibility timeout), and the next wake-up
repeats what an earlier one missed.
"""

from typing import Any, Final

from kombu.entity import Exchange, Queue
from kombu.transport import TRANSPORT_ALIASES

from harvest_tasks.messaging.clock_schedule import ClockSchedule
from harvest_tasks.settings.model import Settings
from schedules.beat import ScheduleEntry, beat_schedule

QUEUES: Final = ("proposals", "adhoc", "fills", "watch", "control")
ROUTES: Final = {
    "harvest_tasks.proposals.compute_proposal": "adhoc",
    "harvest_tasks.proposals.compute_proposals": "proposals",
    "harvest_tasks.brain.process_fills": "fills",
    "harvest_tasks.watcher.watch_fills": "watch",
    "harvest_tasks.sweep.evaluate_positions": "control",
    "harvest_tasks.reconciliation.reconcile_positions": "control",
    "harvest_tasks.health.heartbeat": "control",
}

VISIBILITY_TIMEOUT_SEC: Final = 60
TIME_LIMIT_SEC: Final = 50
"""Under the visibility timeout, so that a task is dead before its message is given to another worker."""
SOFT_TIME_LIMIT_SEC: Final = 40
BROKER_TIMEOUT_SEC: Final = 10
BROKER_CONNECT_TIMEOUT_SEC: Final = 5
RESULT_LIFETIME_SEC: Final = 300

# By its alias: Celery's `broker_transport` would not hold for redis+socket://, and would stand in every URL it shows.
TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), "harvest_tasks.messaging.transport:Transport"))


def configuration(settings: Settings) -> dict[str, Any]:
    """All of Celery's settings for `settings`."""
    return {
        **_messages(),
        **_broker(settings),
        **_results(settings),
        **_tasks(settings),
        **_worker(),
        **_beat(settings),
    }


def _messages() -> dict[str, Any]:
    return {
        "task_serializer": "json",
        "result_serializer": "json",
        "event_serializer": "json",
        "accept_content": ["json"],
        "timezone": "UTC",
        "enable_utc": True,
        "task_queues": [_queue(name) for name in QUEUES],
        "task_routes": {task: {"queue": queue} for task, queue in ROUTES.items()},
        "task_default_queue": "control",
        # A misspelled queue is an error, not a list without a reader.
        "task_create_missing_queues": False,
    }


def _queue(name: str) -> Queue:
    # Each with a routing key of its own: queues without one would all receive every message.
    exchange = Exchange("harvest", type="direct")  # type: ignore[no-untyped-call]  # untyped in kombu
    return Queue(name, exchange, routing_key=name)  # type: ignore[no-untyped-call]  # untyped in kombu


def _broker(settings: Settings) -> dict[str, Any]:
    return {
        "broker_url": settings.broker_url,
        "broker_connection_retry_on_startup": True,
        # Forever: a worker that gave up would be a live process that reads nothing.
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            "visibility_timeout": VISIBILITY_TIMEOUT_SEC,
            # Look for overdue messages every 2 s instead of every 100; if a worker dies during that, it keeps the
            # others from it for 10 s instead of 300.
            "unacked_restore_interval": 2,
            "unacked_restore_throttle": 1,
            "unacked_mutex_expire": 10,
            "socket_timeout": BROKER_TIMEOUT_SEC,
            "socket_connect_timeout": BROKER_CONNECT_TIMEOUT_SEC,
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
        # A repeated publish at worst wakes a worker twice.
        "task_publish_retry": True,
        "task_publish_retry_policy": {"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 1},
    }


def _results(settings: Settings) -> dict[str, Any]:
    return {
        "result_backend": settings.result_backend,
        "result_expires": RESULT_LIFETIME_SEC,
        # Writing one result again changes nothing; waiting 20 s for it, as Celery would, holds a slot.
        "result_backend_transport_options": {
            "retry_policy": {"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 1}
        },
        "redis_socket_timeout": BROKER_TIMEOUT_SEC,
        "redis_socket_connect_timeout": BROKER_CONNECT_TIMEOUT_SEC,
        "redis_backend_health_check_interval": 10,
        # redis-py's unix socket connection does not take it.
        "redis_socket_keepalive": not settings.result_backend.startswith("redis+socket:"),
    }


def _tasks(settings: Settings) -> dict[str, Any]:
    return {
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_time_limit": TIME_LIMIT_SEC,
        "task_soft_time_limit": SOFT_TIME_LIMIT_SEC,
        "task_ignore_result": True,
        # Celery limits a kind of task, not a queue: beat's proposals are another kind, `compute_proposals`.
        "task_annotations": {
            "harvest_tasks.proposals.compute_proposal": {
                "rate_limit": settings.adhoc_rate_limit,
                "ignore_result": False,
            }
        },
    }


def _worker() -> dict[str, Any]:
    return {
        "worker_prefetch_multiplier": 1,
        "worker_pool": "harvest_tasks.messaging.pool:TaskPool",
        # The slot of a killed child is free again after this, not after 10 s.
        "worker_lost_wait": 1.0,
        # Starting children may take a while on a small or busy machine; Celery would kill them after 4 s.
        "worker_proc_alive_timeout": 30.0,
        # A task that goes on without its broker ends by itself; its message is redelivered and finds the work done.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_hijack_root_logger": True,
    }


def _beat(settings: Settings) -> dict[str, Any]:
    entries = beat_schedule(settings.symbols, settings.publish_interval_sec, settings.reconcile_interval_sec)
    return {
        "beat_scheduler": "harvest_tasks.messaging.scheduler:BoundedScheduler",
        "beat_schedule": {name: _entry(entry) for name, entry in entries.items()},
    }


def _entry(entry: ScheduleEntry) -> dict[str, Any]:
    return {
        "task": entry["task"],
        "args": entry["args"],
        "schedule": ClockSchedule(entry["every"], entry["offset"]),
        "options": {"queue": entry["queue"], "expires": entry["expires"], "ignore_result": True},
    }
