"""Checks of what was published: each intent once, within the rate limit, remembered; and recent errors."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Self

from harvest_tasks.fills.loading import WINDOW_MS
from harvest_tasks.metrics.scrape import Scrape
from harvest_tasks.operations import diagnosis
from harvest_tasks.operations.diagnosis import listed
from harvest_tasks.operations.intents import PublishedIntent, newest_intents
from harvest_tasks.operations.kill_switch import read_kill_switch
from harvest_tasks.operations.proof.check import CheckResult, check_of, fails, from_findings, not_run, passes
from harvest_tasks.server import keys
from harvest_tasks.server.client import Client
from harvest_tasks.server.clock import server_ms
from harvest_tasks.server.streams import newest_first, time_ms
from harvest_tasks.settings.model import Settings
from harvest_tasks.wire.position import UnreadablePosition, read_position
from kernel.positions.ladder_state import HARVEST_ACTION
from kernel.positions.position import Position

LOOKED_AT: Final = 1_000
"""How many of the newest intents, and of the newest journal records, are checked."""
RECENT_MS: Final = 3_600_000
"""How long a dead-letter message counts as recent."""
FIND_WHO_DELETES: Final = (
    "find the program that deletes keys: ACL LOG; give each program its own user (docs/security.md)"
)
KILL_AND_EXPLAIN: Final = "harvest kill on, then harvest explain"


@dataclass(frozen=True, slots=True)
class PublishedRecord:
    """A published intent by its journal record: its dedup key, and the rungs that it spent."""

    book: str
    position_id: str
    action: str
    published_ms: int

    @property
    def dedup(self) -> str:
        return keys.dedup(self.position_id, self.action)

    @property
    def rungs(self) -> Sequence[str]:
        """Empty for a stop move."""
        if not self.action.startswith(HARVEST_ACTION):
            return ()
        return self.action.removeprefix(HARVEST_ACTION).partition(":")[0].split("+")

    @classmethod
    def of(cls, record_id: str, values: Mapping[str, str]) -> Self:
        return cls(values["book"], values["position_id"], values["action"], time_ms(record_id))


@check_of("output streams")
def check_output_streams(client: Client, settings: Settings, scrape: Scrape) -> CheckResult:
    """Whether the output streams hold what was published."""
    lengths = scrape.by("stream", "stream_entries")
    out = {name: lengths.get(name, 0) for name in (settings.stream_harvest_suggestions, settings.stream_trade_intent)}
    all_lengths = out | {keys.DECISIONS: lengths.get(keys.DECISIONS, 0)}
    if settings.enable_stream:
        all_lengths[settings.stream_name] = client.xlen(settings.stream_name)
    seen = ", ".join(f"{name} {length:.0f}" for name, length in all_lengths.items())
    count = scrape.value("intents_published_total")
    if not count:
        return not_run(f"no intent has been published yet: {seen}")
    if not any(out.values()) or not all_lengths[keys.DECISIONS]:
        return fails(f"{count:.0f} intents were published, but the streams hold none: {seen}", FIND_WHO_DELETES)
    return passes(f"{seen}; newest intent {_newest_age(client, settings)}")


@check_of("each intent once")
def check_each_once(client: Client, settings: Settings) -> CheckResult:
    """Whether no intent is in the streams twice."""
    found = newest_intents(client, settings, LOOKED_AT)
    twice = {intent_id for intent_id, n in Counter(intent.intent_id for intent in found).items() if n > 1}
    if twice:
        book = next(intent.book for intent in found if intent.intent_id in twice)
        return fails(f"published twice: {listed(sorted(twice))}", f"{KILL_AND_EXPLAIN} {book}")
    if not found:
        return not_run("no intent has been published yet")
    return passes(f"the {len(found)} newest intents have {len(found)} ids")


@check_of("dedup and rungs")
def check_dedup_and_rungs(client: Client, settings: Settings) -> CheckResult:
    """Whether every published rung is spent in its position, and recent intents still have their dedup key."""
    records = list(_records(client))
    if not records:
        return not_run("no intent has been published yet")
    forgotten = _forgotten(client, records)
    if forgotten:
        return fails(f"published but not spent: {listed(forgotten)}", f"{KILL_AND_EXPLAIN} {forgotten[0].split()[0]}")
    youngest_ms = server_ms(client) - settings.harvest_dedup_ttl_sec * 1000
    young = [record.dedup for record in records if record.published_ms > youngest_ms]
    gone = [name for name, there in zip(young, _exist(client, young), strict=True) if not there]
    if gone:
        return fails(f"dedup keys gone before HARVEST_DEDUP_TTL_SEC: {listed(gone)}", FIND_WHO_DELETES)
    spent = sum(len(record.rungs) for record in records)
    return passes(f"{len(young)} dedup keys of recent intents exist; {spent} rungs published, all spent")


@check_of("rate limit")
def check_rate_limit(client: Client, settings: Settings, since_ms: int) -> CheckResult:
    """Whether the intents published from a minute before `since_ms` on (unix ms) kept the limit."""
    limit = settings.harvest_max_actions_per_min
    times = [i.time_ms for i in newest_intents(client, settings, LOOKED_AT) if i.time_ms > since_ms - WINDOW_MS]
    most = max((sum(at - WINDOW_MS < other <= at for other in times) for at in times), default=0)
    if most > limit:
        return fails(f"{most} intents within 60 s, but HARVEST_MAX_ACTIONS_PER_MIN is {limit}", "harvest kill on")
    return passes(f"at most {most} intents within 60 s; {limit} are allowed")


@check_of("kill switch")
def check_kill_switch(client: Client, settings: Settings, scrape: Scrape) -> CheckResult:
    found = read_kill_switch(client, settings.harvest_kill_switch_key)
    state = "absent" if found.value is None else f"{found.value!r}"
    return from_findings([diagnosis.kill_switch_on(scrape)], f"off: {found.key} is {state}")


@check_of("recent errors")
def check_recent_errors(client: Client, before: Scrape, after: Scrape) -> CheckResult:
    """Whether the last hour had no dead-letter message, and no book failed while the proof watched."""
    dead = _recent_dead_letters(client)
    if dead:
        reasons = listed(f"{n} {reason}" for reason, n in Counter(dead).most_common())
        return fails(f"dead-letter messages within the last hour: {reasons}", "harvest deadletter list")
    failed = after.value("book_failures_total") - before.value("book_failures_total")
    if failed:
        unit = diagnosis.UNITS["fills"]
        return fails(f"books failed {failed:.0f} times during the proof", f"journalctl -u {unit}")
    return passes("no dead-letter message within the last hour; no book failed during the proof")


def _newest_age(client: Client, settings: Settings) -> str:
    found: Sequence[PublishedIntent] = newest_intents(client, settings, 1)
    return f"{(server_ms(client) - found[0].time_ms) / 1000:.0f} s ago" if found else "is not one of ours"


def _records(client: Client) -> Iterator[PublishedRecord]:
    for record_id, values in islice(newest_first(client, keys.DECISIONS), LOOKED_AT):
        if values.get("decision") == "published":
            yield PublishedRecord.of(record_id, values)


def _forgotten(client: Client, records: Iterable[PublishedRecord]) -> list[str]:
    """Published rungs of open lifecycles that are neither spent nor armed again after a failed attempt."""
    held = {book: _position(client, book) for book in {record.book for record in records}}
    forgotten = []
    for record in records:
        position = held[record.book]
        if position is not None and position.is_open and position.position_id == record.position_id:
            known = {*position.ladder_state.spent, *dict(position.ladder_state.failures)}
            forgotten += [f"{record.book} at {rung} R" for rung in record.rungs if rung not in known]
    return forgotten


def _position(client: Client, book: str) -> Position | None:
    """None for a record that Harvest did not write: the doctor names it."""
    fields: Any = client.hgetall(keys.position(book))
    try:
        return read_position(book, fields)
    except UnreadablePosition:
        return None


def _exist(client: Client, names: Sequence[str]) -> list[int]:
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.exists(name)
        found: list[int] = pipe.execute()
    return found


def _recent_dead_letters(client: Client) -> list[str]:
    """The reasons of the dead-letter messages of the last hour."""
    since = server_ms(client) - RECENT_MS
    found: Any = client.xrange(keys.DEADLETTER, min=str(since), count=LOOKED_AT)
    return [values.get("reason", "").partition(":")[0] for _, values in found]
