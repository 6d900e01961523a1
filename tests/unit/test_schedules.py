"""When beat sends what: the entries as data, and the rhythm they make."""

import pickle
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from celery import Celery
from celery.beat import Scheduler

from harvest_tasks.celery import app
from harvest_tasks.messaging.clock_schedule import ClockSchedule
from harvest_tasks.messaging.configuration import QUEUES, ROUTES
from schedules.beat import MOST_ENTRIES, ScheduleEntry, beat_schedule

NOT_PROPOSALS = {"watch_fills", "evaluate_positions", "heartbeat", "reconcile_positions"}
START = datetime(2026, 1, 1, 12, 0, 3, 456_789, tzinfo=UTC)


def symbols(count: int) -> list[str]:
    return [f"COIN{number}USDT" for number in range(count)]


def proposals(wanted: Sequence[str] | None, interval: float = 10.0) -> list[ScheduleEntry]:
    return [entry for name, entry in beat_schedule(wanted, interval, 60.0).items() if name not in NOT_PROPOSALS]


@pytest.mark.parametrize("count", [1, 3, 100])
def test_up_to_a_hundred_symbols_have_an_entry_each(count: int) -> None:
    assert [entry["args"] for entry in proposals(symbols(count))] == [([symbol],) for symbol in symbols(count)]


@pytest.mark.parametrize("count", [101, 250, 1_000, 12_345])
def test_more_symbols_share_entries(count: int) -> None:
    entries = proposals(symbols(count))
    assert len(entries) <= MOST_ENTRIES
    assert [symbol for entry in entries for symbol in entry["args"][0]] == symbols(count)


def test_open_positions_are_one_entry() -> None:
    (entry,) = proposals(None)
    assert entry["args"] == (["*"],)


@pytest.mark.parametrize("count", [1, 7, 100, 101, 5_000])
def test_proposals_are_spread_evenly_over_the_interval(count: int) -> None:
    entries = proposals(symbols(count), 10.0)
    assert [entry["offset"] for entry in entries] == [
        pytest.approx(10.0 * place / len(entries)) for place in range(len(entries))
    ]


@pytest.mark.parametrize("interval", [0.1, 1.0, 10.0, 3_600.0])
def test_a_proposal_expires_before_the_next_one_comes_and_other_messages_within_seconds(interval: float) -> None:
    for name, entry in beat_schedule(symbols(3), interval, 60.0).items():
        assert 0 < entry["expires"] < (6 if name in NOT_PROPOSALS else entry["every"])


def test_the_periodic_tasks_have_their_rhythm_and_queue() -> None:
    entries = beat_schedule(None, 10.0, 30.0)
    assert {name: (entries[name]["queue"], entries[name]["every"]) for name in NOT_PROPOSALS} == {
        "watch_fills": ("watch", 1.0),
        "evaluate_positions": ("control", 1.0),
        "heartbeat": ("control", 5.0),
        "reconcile_positions": ("control", 30.0),
    }


def test_every_entry_names_a_queue_of_the_app() -> None:
    assert {entry["queue"] for entry in beat_schedule(symbols(3), 10.0, 60.0).values()} <= set(QUEUES)


def test_beat_never_sends_the_task_whose_calls_are_rate_limited() -> None:
    tasks = {entry["task"] for entry in beat_schedule(symbols(3), 10.0, 60.0).values()}
    assert "harvest_tasks.proposals.compute_proposal" not in tasks


def test_every_scheduled_and_routed_task_is_registered() -> None:
    app.loader.import_default_modules()
    scheduled = {entry["task"] for entry in beat_schedule(symbols(3), 10.0, 60.0).values()}
    assert scheduled | set(ROUTES) <= set(app.tasks)


def test_every_task_of_ours_has_a_route() -> None:
    app.loader.import_default_modules()
    assert {name for name in app.tasks if name.startswith("harvest_tasks.")} == set(ROUTES)


class Clock:
    """Moves only when set."""

    def __init__(self, start: datetime) -> None:
        self.now = start

    def __call__(self) -> datetime:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=max(seconds, 0.0001))


class RecordingScheduler(Scheduler):
    """Celery's own loop, noting when each entry would be sent."""

    def __init__(self, clock: Clock, **kwargs: Any) -> None:
        self.clock = clock
        self.sent: defaultdict[str, list[float]] = defaultdict(list)
        super().__init__(**kwargs)

    producer = None

    def apply_entry(self, entry: Any, producer: object = None) -> None:
        self.sent[entry.name].append(self.clock.now.timestamp())

    def run(self, seconds: float) -> None:
        end = self.clock.now + timedelta(seconds=seconds)
        while self.clock.now < end:
            self.clock.sleep(min(self.tick(), (end - self.clock.now).total_seconds()))


def scheduler(entries: dict[str, ScheduleEntry], clock: Clock) -> RecordingScheduler:
    schedule = {
        name: {"task": entry["task"], "schedule": ClockSchedule(entry["every"], entry["offset"], nowfun=clock)}
        for name, entry in entries.items()
    }
    beat_app = Celery(set_as_current=False)
    beat_app.conf.update(timezone="UTC", beat_schedule=schedule, result_expires=None)
    return RecordingScheduler(clock, app=beat_app)


def test_celery_beat_sends_each_entry_once_a_slot_and_at_its_offset() -> None:
    entries = beat_schedule(symbols(20), 10.0, 60.0)
    beat = scheduler(entries, Clock(START))
    beat.run(60.0)
    for name, entry in entries.items():
        times = beat.sent[name]
        assert len(times) == pytest.approx(60 / entry["every"], abs=1)
        for time in times:
            assert (time - entry["offset"]) % entry["every"] == pytest.approx(0.0, abs=0.002)
        for earlier, later in pairwise(times):
            assert later - earlier == pytest.approx(entry["every"], abs=0.002)


def test_a_restarted_beat_keeps_the_rhythm_without_having_stored_it() -> None:
    entries = {"only": beat_schedule(["BTCUSDT"], 10.0, 60.0)["proposal of BTCUSDT"]}
    clock = Clock(START)
    first = scheduler(entries, clock)
    first.run(14.0)
    second = scheduler(entries, clock)
    second.run(20.0)
    times = first.sent["only"] + second.sent["only"]
    assert [later - earlier for earlier, later in pairwise(times)] == [pytest.approx(10.0, abs=0.002)] * 2


def test_a_beat_that_was_held_up_sends_once_and_not_once_a_missed_slot() -> None:
    clock = Clock(START)
    beat = scheduler({"only": beat_schedule(["BTCUSDT"], 1.0, 60.0)["proposal of BTCUSDT"]}, clock)
    beat.run(3.0)
    before = len(beat.sent["only"])
    clock.sleep(30.0)
    beat.run(0.01)
    assert len(beat.sent["only"]) == before + 1


def test_a_spread_schedule_survives_pickling_and_compares_by_value() -> None:
    one = ClockSchedule(10.0, 2.5)
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301 - our own bytes
    assert one == ClockSchedule(10.0, 2.5)
    assert hash(one) == hash(ClockSchedule(10.0, 2.5))
    assert one != ClockSchedule(10.0, 2.0)
    assert one != 10.0
