"""What is wrong with a deployment, causes before consequences, and how to fix it. Pure: it reads a scrape of metrics.

Each check finds at most one problem. Fix the first finding first: the ones after it may follow from it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Final

from harvest_tasks.metrics.scrape import Scrape
from harvest_tasks.server.liveness import oldest_sec

OLDEST_VERSIONS: Final = {"redis": (7, 0), "valkey": (7, 2)}
CLOCK_SEC: Final = 2.0
BACKLOG: Final = 200
WAIT_SEC: Final = 10.0
MARKET_STATE_SEC: Final = 180.0
PRICE_SEC: Final = 60.0
FULL: Final = 0.9
"""Share of its maxmemory from which the server is nearly full."""
FIX_REFUSED: Final = "load the ACL file again (redis-cli acl load), or delete the key of a wrong type"
_NAMED: Final = 3

UNITS: Final = {
    "proposals": "quantum-harvest-proposal",
    "adhoc": "quantum-harvest-adhoc",
    "fills": "quantum-harvest-brain",
    "watch": "quantum-harvest-brain",
    "control": "quantum-harvest-brain",
}
"""The systemd unit whose worker consumes a queue."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A subject of one or two words, what is wrong with it, and how to fix it."""

    subject: str
    problem: str
    remedy: str


Check = Callable[[Scrape], Finding | None]


def diagnose(scrape: Scrape) -> list[Finding]:
    """Everything that is wrong, causes first. While the server is unreachable, nothing else is known."""
    return list(_findings(scrape))


def _findings(scrape: Scrape) -> Iterator[Finding]:
    unreachable = server_unreachable(scrape)
    if unreachable is not None:
        yield unreachable
        return
    for check in CHECKS:
        found = check(scrape)
        if found is not None:
            yield found


def server_unreachable(scrape: Scrape) -> Finding | None:
    if scrape.value("up"):
        return None
    return Finding(
        "server", "the server of REDIS_URL does not answer", "start it, or correct REDIS_URL (harvest config)"
    )


def broker_unreachable(scrape: Scrape) -> Finding | None:
    if scrape.value("broker_up"):
        return None
    return Finding(
        "broker", "the server of BROKER_URL does not answer", "start it, or correct BROKER_URL (harvest config)"
    )


def commands_refused(scrape: Scrape) -> Finding | None:
    refused = scrape.value("scrape_refused_questions")
    if not refused:
        return None
    problem = f"the server refuses {refused:.0f} of the commands that the checks need"
    return Finding("rights", problem, f"{FIX_REFUSED}; the log line above names them")


def version_too_old(scrape: Scrape) -> Finding | None:
    for name, is_version in zip(scrape.by("name", "server_info"), scrape.by("version", "server_info"), strict=True):
        oldest = OLDEST_VERSIONS[name]
        if tuple(int(part) for part in is_version.split(".")[:2]) < oldest:
            wanted = ".".join(map(str, oldest))
            return Finding("version", f"the server is {name} {is_version}", f"install {name} {wanted} or later")
    return None


def keys_evicted(scrape: Scrape) -> Finding | None:
    if not scrape.value("server_evicts"):
        return None
    problem = "the server deletes keys when its memory is full"
    return Finding(
        "eviction", problem, "redis-cli config set maxmemory-policy noeviction, and the same in its configuration file"
    )


def writes_not_persisted(scrape: Scrape) -> Finding | None:
    if scrape.value("server_save_failed"):
        return Finding(
            "persistence", "the server could not write to disk", "free disk space (df), and read the server's log"
        )
    if scrape.value("server_persists"):
        return None
    problem = "the server does not persist its writes"
    return Finding(
        "persistence", problem, "redis-cli config set appendonly yes, and the same in its configuration file"
    )


def memory_full(scrape: Scrape) -> Finding | None:
    used, limit = scrape.value("server_memory_bytes"), scrape.value("server_memory_limit_bytes")
    if not limit or used < FULL * limit:
        return None
    problem = f"the server uses {used / limit:.0%} of its maxmemory; at 100% it refuses every write"
    return Finding(
        "memory",
        problem,
        "redis-cli config set maxmemory 0 (no limit), or a larger value; the same in its configuration file",
    )


def clocks_differ(scrape: Scrape) -> Finding | None:
    ahead = scrape.value("server_clock_ahead_seconds")
    if abs(ahead) <= CLOCK_SEC:
        return None
    problem = f"the server's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this host's"
    return Finding("clock", problem, "timedatectl set-ntp true, on the host whose clock is wrong")


def queues_not_consumed(scrape: Scrape) -> Finding | None:
    if scrape.consumed is None:
        return None
    missing = [queue for queue in UNITS if queue not in scrape.consumed]
    if not missing:
        return None
    units = " ".join(dict.fromkeys(UNITS[queue] for queue in missing))
    problem = f"no worker consumes {listed(missing)}"
    return Finding("workers", problem, f"systemctl restart {units} (or harvest up)")


def beat_late(scrape: Scrape) -> Finding | None:
    late = _late(scrape).get("beat")
    if late is None:
        return None
    return Finding("beat", late, "systemctl restart quantum-harvest-beat (or harvest up)")


def group_missing(scrape: Scrape) -> Finding | None:
    if scrape.value("input_has_group"):
        return None
    problem = "the input stream has no consumer group: nothing reads fills"
    return Finding(
        "group", problem, "systemctl restart quantum-harvest-brain (or harvest up): its watcher creates the group"
    )


def part_late(scrape: Scrape) -> Finding | None:
    late = {part: how for part, how in _late(scrape).items() if part != "beat"}
    if not late:
        return None
    part, how = next(iter(late.items()))
    unit = UNITS["proposals" if part == "proposals" else "control"]
    return Finding(part, how, f"systemctl restart {unit} (or harvest up); journalctl -u {unit}")


def queues_backed_up(scrape: Scrape) -> Finding | None:
    long = [queue for queue, waiting in scrape.by("queue", "queue_messages").items() if waiting > BACKLOG]
    if not long:
        return None
    units = " ".join(dict.fromkeys(UNITS[queue] for queue in long))
    return Finding("queues", f"over {BACKLOG} messages wait in {listed(long)}", f"systemctl restart {units}")


def input_unread(scrape: Scrape) -> Finding | None:
    waited = max(scrape.value("input_oldest_unread_seconds"), scrape.value("input_oldest_pending_seconds"))
    if waited <= WAIT_SEC:
        return None
    lag = scrape.value("input_lag_entries")
    problem = f"an input entry has waited for {waited:.0f} s; {lag:.0f} are unread"
    return Finding("input", problem, "systemctl restart quantum-harvest-brain; journalctl -u quantum-harvest-brain")


def inboxes_not_applied(scrape: Scrape) -> Finding | None:
    waited = scrape.value("inbox_oldest_seconds")
    if waited <= WAIT_SEC:
        return None
    problem = f"{scrape.value('inbox_entries'):.0f} entries wait in inboxes, the oldest for {waited:.0f} s"
    return Finding("inboxes", problem, "journalctl -u quantum-harvest-brain; harvest positions --all shows the books")


def input_lost(scrape: Scrape) -> Finding | None:
    if not scrape.value("input_lost"):
        return None
    problem = "input entries were lost before they were read, so every book is frozen"
    return Finding("lost input", problem, "harvest reconcile --adopt, then harvest release --all")


def records_unreadable(scrape: Scrape) -> Finding | None:
    count = scrape.value("books", state="unreadable")
    if not count:
        return None
    problem = f"position records that Harvest did not write: {count:.0f}"
    return Finding("records", problem, "harvest positions --all names them; restore them from a backup")


def positions_differ(scrape: Scrape) -> Finding | None:
    differ = scrape.value("reconciled_books", result="differ")
    if not differ:
        return None
    problem = f"positions that differ from the exchange's: {differ:.0f}"
    return Finding(
        "positions", problem, "harvest reconcile shows them; harvest reconcile --adopt adopts the exchange's"
    )


def books_frozen(scrape: Scrape) -> Finding | None:
    causes = scrape.by("book", "book_frozen")
    if not causes:
        return None
    first = next(iter(causes))
    problem = f"nothing is published for {listed(list(causes))}"
    return Finding(
        "frozen books", problem, f"harvest explain {first}; once its position is right, harvest release {first}"
    )


def market_states_missing(scrape: Scrape) -> Finding | None:
    missing = scrape.value("market_states", state="missing")
    old = [name for name, age in scrape.by("symbol", "market_state_age_seconds").items() if age > MARKET_STATE_SEC]
    if not missing and not old:
        return None
    problem = f"symbols without one: {missing:.0f}" if missing else f"too old: {listed(old)}"
    return Finding(
        "market state", problem, "start the service that writes them; harvest propose --once names the symbols"
    )


def positions_synthetic(scrape: Scrape) -> Finding | None:
    count = scrape.value("proposals_held_synthetic")
    if not count:
        return None
    problem = f"proposals for synthetic positions: {count:.0f}"
    return Finding("synthetic positions", problem, "set SYNTHETIC_FALLBACK=false, and restart the workers")


def prices_old(scrape: Scrape) -> Finding | None:
    old = [book for book, age in scrape.by("book", "position_mark_age_seconds").items() if age > PRICE_SEC]
    if not old:
        return None
    return Finding(
        "prices", f"nothing is published for {listed(old)}: the last price is too old", "start the price feed"
    )


def replies_missing(scrape: Scrape) -> Finding | None:
    count = scrape.value("intents_unanswered")
    if not count:
        return None
    return Finding("intents", f"intents without a reply: {count:.0f}", "start the executor; harvest intents names them")


def kill_switch_on(scrape: Scrape) -> Finding | None:
    if not scrape.value("kill_switch"):
        return None
    return Finding("kill switch", "it is on: nothing is published", "harvest kill off, if intents should be published")


CHECKS: Final[tuple[Check, ...]] = (
    broker_unreachable,
    commands_refused,
    version_too_old,
    keys_evicted,
    writes_not_persisted,
    memory_full,
    clocks_differ,
    queues_not_consumed,
    beat_late,
    group_missing,
    part_late,
    queues_backed_up,
    input_lost,
    input_unread,
    inboxes_not_applied,
    records_unreadable,
    positions_differ,
    books_frozen,
    market_states_missing,
    positions_synthetic,
    prices_old,
    replies_missing,
    kill_switch_on,
)


def _late(scrape: Scrape) -> dict[str, str]:
    """The parts that ran too long ago, and how long that is."""
    allowed = {of: oldest_sec(interval) for of, interval in scrape.by("of", "heartbeat_interval_seconds").items()}
    since_start = scrape.now - min(scrape.by("worker", "worker_started_timestamp_seconds").values(), default=-inf)
    late = {}
    for of, age in scrape.by("of", "heartbeat_age_seconds").items():
        # A part that has never run may only just have started.
        if (since_start if age == inf else age) > allowed[of]:
            late[of] = "has never run" if age == inf else f"last ran {age:.0f} s ago"
    return late


def listed(texts: Iterable[str], mark: str = ", ") -> str:
    """The first three, and how many more there are."""
    all_texts = list(texts)
    more = f" and {len(all_texts) - _NAMED} more" if len(all_texts) > _NAMED else ""
    return mark.join(all_texts[:_NAMED]) + more
