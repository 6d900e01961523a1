"""How the app is set up: what Celery would do without each of these settings costs fills, slots or results."""

from logging import getLogger
from typing import Any

import pytest
from celery import Celery, Task
from celery.exceptions import QueueNotFound
from celery.signals import after_setup_logger, celeryd_after_setup
from kombu.transport.redis import Channel

from harvest_tasks.celery import NOISY_LOGGERS, app
from harvest_tasks.messaging.configuration import QUEUES, ROUTES, configuration
from harvest_tasks.settings.model import Settings
from schedules.beat import beat_schedule

AD_HOC = "harvest_tasks.proposals.compute_proposal"


def configured(**environ: str) -> Celery:
    other = Celery("harvest_tasks", set_as_current=False)
    other.conf.update(configuration(Settings.from_env(environ)))
    return other


@pytest.fixture
def tasks() -> dict[str, Task]:
    """Those of the service, as the app has set them up."""
    app.loader.import_default_modules()
    return {name: app.tasks[name] for name in ROUTES}


def routed(task: str, **options: Any) -> str:
    queue = app.amqp.router.route(dict(options), task)["queue"]
    return str(queue.name)


def test_the_queues_are_the_five_of_the_service() -> None:
    assert tuple(app.amqp.queues) == QUEUES == ("proposals", "adhoc", "fills", "watch", "control")


@pytest.mark.parametrize("name", QUEUES)
def test_a_queue_receives_only_its_own_messages(name: str) -> None:
    assert app.amqp.queues[name].routing_key == name


@pytest.mark.parametrize(
    ("task", "queue"),
    [
        (AD_HOC, "adhoc"),
        ("harvest_tasks.proposals.compute_proposals", "proposals"),
        ("harvest_tasks.brain.process_fills", "fills"),
        ("harvest_tasks.watcher.watch_fills", "watch"),
        ("harvest_tasks.sweep.evaluate_positions", "control"),
        ("harvest_tasks.reconciliation.reconcile_positions", "control"),
        ("harvest_tasks.health.heartbeat", "control"),
    ],
)
def test_a_task_goes_to_its_queue(task: str, queue: str) -> None:
    assert routed(task) == queue


def test_a_caller_may_choose_another_queue_and_no_unknown_one() -> None:
    assert routed(AD_HOC, queue="proposals") == "proposals"
    with pytest.raises(QueueNotFound):
        routed(AD_HOC, queue="proposal")
    with pytest.raises(KeyError):
        app.amqp.queues.select(["proposal"])


def test_messages_are_json_and_nothing_else_is_accepted() -> None:
    conf = app.conf
    assert (conf.task_serializer, conf.result_serializer, conf.event_serializer) == ("json", "json", "json")
    assert list(conf.accept_content) == ["json"]
    assert (conf.timezone, conf.enable_utc) == ("UTC", True)


def test_a_task_is_acknowledged_when_it_is_done_and_given_on_when_its_worker_dies() -> None:
    assert app.conf.task_acks_late
    assert app.conf.task_reject_on_worker_lost
    assert app.conf.worker_prefetch_multiplier == 1


def test_a_task_is_dead_before_its_message_comes_again() -> None:
    conf = app.conf
    visibility = conf.broker_transport_options["visibility_timeout"]
    assert visibility == 60
    assert conf.task_soft_time_limit < conf.task_time_limit < visibility


def test_the_longest_watch_slice_ends_before_the_soft_time_limit() -> None:
    longest = Settings.from_env({"WATCH_SLICE_SEC": "30"}).watch_slice_sec
    assert longest + 5 < app.conf.task_soft_time_limit


def test_the_transport_finds_lost_messages_within_seconds_and_never_hangs() -> None:
    options = app.conf.broker_transport_options
    assert options["unacked_restore_interval"] * options["unacked_restore_throttle"] == 2
    assert options["unacked_mutex_expire"] == 10
    assert (options["socket_timeout"], options["health_check_interval"]) == (10, 10)
    assert options["socket_keepalive"]


def test_every_transport_option_is_one_that_kombu_knows() -> None:
    assert set(app.conf.broker_transport_options) <= set(Channel.from_transport_options)


def test_no_key_of_the_transport_is_renamed() -> None:
    assert "global_keyprefix" not in app.conf.broker_transport_options
    assert "global_keyprefix" not in app.conf.result_backend_transport_options


def test_results_are_kept_for_ad_hoc_calls_only(tasks: dict[str, Task]) -> None:
    assert [name for name, task in tasks.items() if not task.ignore_result] == [AD_HOC]


def test_results_are_not_kept_for_long_and_writing_one_holds_no_slot_for_long() -> None:
    assert 0 < app.backend.expires <= 600
    assert app.backend.retry_policy["max_retries"] == 3


def test_only_ad_hoc_calls_are_rate_limited(tasks: dict[str, Task]) -> None:
    assert {name: task.rate_limit for name, task in tasks.items() if task.rate_limit} == {AD_HOC: "120/m"}
    assert configured(ADHOC_RATE_LIMIT="30/m").conf.task_annotations[AD_HOC]["rate_limit"] == "30/m"


def test_beat_sends_what_the_schedule_says() -> None:
    entries = beat_schedule(("BTCUSDT", "ETHUSDT"), 4.0, 30.0)
    conf = configured(SYMBOLS="BTCUSDT,ETHUSDT", PUBLISH_INTERVAL_SEC="4", RECONCILE_INTERVAL_SEC="30").conf
    assert set(conf.beat_schedule) == set(entries)
    for name, sent in conf.beat_schedule.items():
        entry = entries[name]
        assert (sent["task"], sent["args"]) == (entry["task"], entry["args"])
        assert (sent["schedule"].every, sent["schedule"].offset) == (entry["every"], entry["offset"])
        assert sent["options"] == {"queue": entry["queue"], "expires": entry["expires"], "ignore_result": True}


def test_beat_keeps_no_file() -> None:
    assert app.conf.beat_scheduler == "harvest_tasks.messaging.scheduler:BoundedScheduler"


def test_workers_wait_for_their_broker_for_ever() -> None:
    assert app.conf.broker_connection_retry_on_startup
    assert app.conf.broker_connection_max_retries is None


def test_log_level_decides_what_is_logged() -> None:
    logger = getLogger("test_log_level")
    after_setup_logger.send(sender=None, logger=logger, loglevel=50, logfile=None, format="", colorize=False)
    assert logger.getEffectiveLevel() == 20
    assert {getLogger(name).level for name in NOISY_LOGGERS} == {30}


@pytest.mark.parametrize(
    ("queues", "warned"), [(["proposals", "adhoc"], True), (["adhoc"], False), (["fills", "watch"], False)]
)
def test_a_worker_that_shares_the_ad_hoc_queue_is_warned(
    queues: list[str], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class Worker:
        app = configured()

    Worker.app.amqp.queues.select(queues)
    celeryd_after_setup.send(sender="worker@here", instance=Worker, conf=Worker.app.conf)
    assert bool(caplog.messages) is warned
