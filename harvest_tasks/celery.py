"""The Celery app: `celery -A harvest_tasks`.

Give the queue `adhoc` a worker of its own. Celery holds calls above ADHOC_RATE_LIMIT inside the worker, where they
take up its prefetch slots: everything else that worker consumes waits for them.
"""

import os
import sys
from collections.abc import Mapping
from logging import Logger, getLogger
from typing import Any, Final

from celery import Celery
from celery.signals import after_setup_logger, after_setup_task_logger, celeryd_after_setup, worker_init, worker_ready
from redis.exceptions import RedisError

from harvest_tasks.logs import formatter
from harvest_tasks.messaging.configuration import configuration
from harvest_tasks.messaging.outage_log import OncePerOutage
from harvest_tasks.messaging.systemd import SystemdWatchdog
from harvest_tasks.messaging.transport import mark_as_worker
from harvest_tasks.server import liveness
from harvest_tasks.server.client import shared_client
from harvest_tasks.server.clock import server_ms
from harvest_tasks.settings.model import CELERY_VARIABLES, Settings, SettingsError, current_settings

TASK_MODULES: Final = ("harvest_tasks.tasks", "harvest_tasks.proposals")

NOISY_LOGGERS: Final = ("celery.worker.strategy", "celery.app.trace", "celery.beat")
"""Loggers with an INFO line for every message: several a second, which would bury the lines of tasks."""


def _settings_or_exit() -> Settings:
    """The settings. Wrong ones end the process here, because Celery would print a traceback around any other error."""
    try:
        return current_settings()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(os.EX_CONFIG) from None


def _configure_logger(logger: Logger, **_: Any) -> None:
    """Apply LOG_LEVEL and LOG_FORMAT, regardless of Celery's own options."""
    level = current_settings().log_level
    logger.setLevel(level)
    for handler in logger.handlers:
        handler.setFormatter(formatter(current_settings().log_format))
    for name in NOISY_LOGGERS:
        getLogger(name).setLevel("DEBUG" if level == "DEBUG" else "WARNING")


def _warn_of_shared_queue(sender: str, instance: Any, **_: Any) -> None:
    consumed: Mapping[str, object] = instance.app.amqp.queues.consume_from
    if "adhoc" in consumed and len(consumed) > 1:
        others = ", ".join(name for name in consumed if name != "adhoc")
        getLogger(__name__).warning("%s: calls held by ADHOC_RATE_LIMIT will delay %s", sender, others)


def _count_start(sender: Any, **_: Any) -> None:
    client = shared_client(current_settings().redis_url)
    try:
        liveness.record_start(client, sender.hostname, server_ms(client))
    except RedisError as error:
        getLogger(__name__).warning("cannot count the start of this worker: %s", error)


after_setup_logger.connect(_configure_logger)
after_setup_task_logger.connect(_configure_logger)
celeryd_after_setup.connect(_warn_of_shared_queue)
worker_init.connect(mark_as_worker)
worker_ready.connect(_count_start)

getLogger("celery.app.trace").addFilter(OncePerOutage())

app = Celery("harvest_tasks", include=TASK_MODULES)
app.conf.update(configuration(_settings_or_exit()))
for _name in CELERY_VARIABLES:
    # Celery would prefer these to its configuration. At best they are equal to it, but without the passwords of
    # credentials.
    os.environ.pop(_name, None)
app.steps["consumer"].add(SystemdWatchdog)
